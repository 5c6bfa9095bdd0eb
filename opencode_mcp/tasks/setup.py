"""Set up a new task: its commands run in the task's directory before its prompt is sent.

They run as a check's do. A task whose setup fails is not started; the session that `setup` ran in is removed with it.
"""

from __future__ import annotations

from contextlib import suppress

import anyio

from opencode_mcp.exceptions import OpenCodeError, SetupFailed
from opencode_mcp.opencode.models import Session
from opencode_mcp.redaction import to_one_line

from .abort import stop_session
from .agent_rules import find_agent_name
from .check import CheckResult, check_script, read_check
from .context import Context
from .metadata import task_metadata
from .options import StartTask
from .session_state import read_session
from .shell import POLL_SECONDS, create_shell_session, is_running, read_script_call, run_script

SETUP_SECONDS = 600.0
"""How long a setup may take."""


async def set_up(context: Context, session: Session, arguments: StartTask) -> None:
    """Run the setup of a task; cancelled, it is stopped first.

    It may take as long as the task's `limits` allow, at most SETUP_SECONDS.

    Raises:
        SetupFailed: with its exit code and the end of its output, or why it did not end.
        OpenCodeError: OpenCode refuses to run it.
    """
    if not arguments.setup:
        return
    command = " && ".join(arguments.setup)
    await context.report_progress(f"setting up: {to_one_line(command)}")
    try:
        result, reason = await run_setup(context, session, arguments, command)
    except anyio.get_cancelled_exc_class():
        with anyio.CancelScope(shield=True), suppress(OpenCodeError):
            await stop_session(context, session.id)
        raise
    if result is not None and result.passed:
        return
    how = reason or (result.describe("setup") if result else "the setup did not begin, or its output was lost")
    left = "" if arguments.worktree else f"\nWhat it changed in {session.directory} is still there."
    output = f"\n{result.output}" if result and result.output else ""
    raise SetupFailed(f"{how}: {command}{output}{left}")


async def run_setup(
    context: Context, session: Session, arguments: StartTask, command: str
) -> tuple[CheckResult | None, str | None]:
    """Run the commands; return how they ended, None if that is unknown, and why a bridge has stopped them."""
    opencode = context.opencode
    minutes = arguments.limits.minutes
    seconds = SETUP_SECONDS if minutes is None else min(SETUP_SECONDS, minutes * 60)
    agent = await find_agent_name(opencode, session.directory, arguments.agent)
    shell_session = await create_shell_session(opencode, session, "Setup")
    await run_script(opencode, agent, shell_session, check_script(arguments.setup, shell_session.id), seconds)
    while await is_running(opencode, shell_session):  # it was aborted
        await anyio.sleep(POLL_SECONDS)
    call = await read_script_call(opencode, shell_session)
    result = read_check(call, shell_session.id, command, 1) if call is not None else None
    return result, task_metadata(await read_session(opencode, shell_session.id)).stopped
