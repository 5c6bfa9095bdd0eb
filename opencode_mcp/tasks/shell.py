"""Run commands in OpenCode's shell, in a session of their own below a task's, which keeps their output."""

from __future__ import annotations

import anyio

from opencode_mcp.exceptions import TransportError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import Part, Session

from .metadata import TaskMetadata, save_task_metadata, with_task_metadata

POLL_SECONDS = 0.5
"""How often a script whose response was lost is read."""


async def create_shell_session(
    opencode: OpenCodeClient, session: Session, title: str, task: TaskMetadata | None = None
) -> Session:
    """Create a session below a task's, for commands in the task's directory."""
    metadata = with_task_metadata({}, task or TaskMetadata())
    return await engine_of(opencode).create_session(
        session.directory, metadata=metadata, title=title, parent_id=session.id
    )


async def run_script(opencode: OpenCodeClient, agent: str, shell_session: Session, script: str, seconds: float) -> None:
    """Run a script as a message of an agent; one that takes longer is aborted, and its session stores why.

    Raises:
        OpenCodeError: OpenCode refuses, or does not answer; the script may have run.
    """
    with anyio.move_on_after(seconds) as limit:
        try:
            await engine_of(opencode).run_shell(shell_session.id, agent, script)
        except TransportError:  # the response was lost; what the script did is stored
            await anyio.sleep(POLL_SECONDS)
            while await is_running(opencode, shell_session):
                await anyio.sleep(POLL_SECONDS)
    if limit.cancelled_caught:
        await end_script(opencode, shell_session, seconds)


async def end_script(opencode: OpenCodeClient, shell_session: Session, seconds: float) -> None:
    """Abort a script that takes longer than it may, and store why."""
    reason = f"the {shell_session.title.lower()} took longer than {seconds:g} s"
    await save_task_metadata(opencode, shell_session.id, stopped=reason)
    await engine_of(opencode).abort(shell_session.id)


async def is_running(opencode: OpenCodeClient, shell_session: Session) -> bool:
    """Whether a session's script runs now."""
    return shell_session.id in await engine_of(opencode).read_statuses(shell_session.directory)


async def read_script_call(opencode: OpenCodeClient, shell_session: Session) -> Part | None:
    """Return the tool call with a script's output, None before it runs: the first, as a user may write there too."""
    messages = await engine_of(opencode).list_messages(shell_session.id)
    return next((part for message in messages for part in message.parts if part.state is not None), None)
