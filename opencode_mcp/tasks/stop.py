"""Stop a task, and report it."""

from __future__ import annotations

from contextlib import suppress

import anyio
from pydantic import Field

from opencode_mcp.exceptions import OpenCodeError, WorkflowError
from opencode_mcp.opencode.deadline import DEFAULT_LIMIT_SECONDS, time_limit

from .abort import STOP_SECONDS, stop_session
from .arguments import Arguments
from .context import Context
from .queued_prompts import describe_dropped, drop_queued
from .queued_turns import find_ended
from .report import TaskReport, build_report
from .rules import apply_rules, is_newest_turn
from .session_state import TaskStatus, classify, read_snapshot
from .wait import STALLED_SECONDS, wait_until_settled

PROMPT_LAG_SECONDS = 2.0
"""How long a prompt may take to be visible after it was sent; 1.3 s were measured (1.18.33)."""


class StopTask(Arguments):
    """Arguments of stop_task."""

    session_id: str = Field(pattern="^ses", description="From a report or session_list.")


async def stop_task(context: Context, arguments: StopTask) -> TaskReport:
    """Abort a task and report, within 20 s. A task that had finished is reported with its state.

    Raises:
        WorkflowError: it still runs after 15 s; or another OpenCode process may be running it.
        OpenCodeError: OpenCode does not answer.
    """
    with time_limit(DEFAULT_LIMIT_SECONDS):
        return await stop_and_report(context, arguments)


async def stop_and_report(context: Context, arguments: StopTask) -> TaskReport:
    """Abort a task, or cancel a pending start, and report."""
    start = context.servers.pending_starts.get(arguments.session_id)
    if start is not None and (report := await start.stop(context)) is not None:
        return report
    note = describe_dropped(await drop_queued(context.opencode, arguments.session_id))
    was_busy, snapshot = await stop_session(context, arguments.session_id)
    if not was_busy:
        outcome = await wait_until_settled(context, arguments.session_id, None, deadline=0)
        if outcome.status.note is not None:
            raise WorkflowError(
                f"{arguments.session_id} cannot be stopped here. {outcome.status.note} Stop it in the process that "
                "runs it; wait_for_tasks waits for its end.",
                arguments.session_id,
            )
        return await build_report(context, outcome.snapshot, outcome.status, note=note)
    status = await apply_rules(context.opencode, snapshot, classify(snapshot))
    if status.stalled_reason is not None:  # between two steps an abort leaves no trace
        status = TaskStatus("stopped", error="aborted")
    return await build_report(context, snapshot, status, note=note)


async def abandon(
    context: Context, session_id: str, previous_prompt_id: str | None = None, prompt_id: str | None = None
) -> None:
    """Stop a session whose caller is gone, even if its prompt is not visible yet.

    With `prompt_id` a prompt that is still queued is dropped, and the turn that runs goes on.

    Shielded from cancellation; errors are suppressed, as no caller can receive them. `previous_prompt_id` is the user's
    message before the prompt, None if unknown.
    """
    with anyio.CancelScope(shield=True), anyio.move_on_after(STOP_SECONDS), suppress(OpenCodeError):
        async with context.without_caller().for_session(session_id) as session_context:
            if prompt_id is not None and await withdraw(session_context, session_id, prompt_id):
                return
            started = anyio.current_time()
            while True:
                was_busy, snapshot = await stop_session(session_context, session_id)
                lag_seconds = (
                    PROMPT_LAG_SECONDS
                    if classify(snapshot, previous_prompt_id).stalled_reason is None
                    else STALLED_SECONDS
                )
                if was_busy or anyio.current_time() - started >= lag_seconds:
                    return
                await anyio.sleep(0.4)


async def withdraw(context: Context, session_id: str, prompt_id: str) -> bool:
    """Drop a queued prompt; whether nothing is left to stop, as it was not sent, or its turn has ended."""
    if await drop_queued(context.opencode, session_id, prompt_id):
        return True
    snapshot = await read_snapshot(context.opencode, session_id)
    return find_ended(snapshot, [prompt_id]) is not None and not is_newest_turn(snapshot, prompt_id)
