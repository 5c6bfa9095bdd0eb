"""Stop a task: abort the session and its subagents, reject the requests that an abort leaves, verify."""

from __future__ import annotations

from contextlib import suppress

import anyio
from pydantic import Field

from opencode_mcp.exceptions import APIError, OpenCodeError, WorkflowError

from .answer import requests_in, send
from .arguments import Arguments
from .context import Context, Decision
from .limits import ANSWER_SECONDS, time_limit
from .report import TaskReport, build_report
from .truth import Truth, Verdict, judge, look
from .wait import DOUBT_SECONDS, settle

STOP_SECONDS = 15.0
LATE_SECONDS = 2.0
"""How long a prompt may take to be seen after it was sent; 1.3 s were seen."""


class StopTask(Arguments):
    """Arguments of stop_task."""

    session_id: str = Field(pattern="^ses")


async def stop_task(context: Context, arguments: StopTask) -> TaskReport:
    """Abort a task and report, within 20 s. A task that was over already is reported as what it was.

    Raises:
        WorkflowError: it is not seen to have stopped after 15 s; or another OpenCode process may be running it.
        OpenCodeError: OpenCode does not answer.
    """
    with time_limit(ANSWER_SECONDS):
        return await stopped(context, arguments)


async def stopped(context: Context, arguments: StopTask) -> TaskReport:
    """Abort a task, or cancel a pending start, and report."""
    start = context.servers.pending_starts.get(arguments.session_id)
    if start is not None and (report := await start.stop(context)) is not None:
        return report
    worked, truth = await stop_session(context, arguments.session_id)
    if not worked:
        outcome = await settle(context, arguments.session_id, None, deadline=0)
        if outcome.verdict.note is not None:
            raise WorkflowError(
                f"{arguments.session_id} cannot be stopped here. {outcome.verdict.note} Stop it in the process that "
                "runs it; wait_for_tasks waits for its end.",
                arguments.session_id,
            )
        return await build_report(context, outcome.truth, outcome.verdict)
    verdict = judge(truth)
    if verdict.doubt is not None:  # between two steps an abort leaves no trace
        verdict = Verdict("stopped", error="aborted")
    return await build_report(context, truth, verdict)


async def stop_session(context: Context, session_id: str) -> tuple[bool, Truth]:
    """Abort a session's family until none of it works, then clear its requests.

    Returns whether any of it worked, and the truth that none does.
    """
    opencode = context.opencode
    truth = await look(opencode, session_id)
    worked = truth.busy
    with anyio.move_on_after(STOP_SECONDS):
        while truth.busy:
            for one in truth.family:
                await opencode.call("session_abort", sessionID=one)
            await anyio.sleep(0.2)
            truth = await look(opencode, session_id)
        # The request of an aborted tool call stays listed until it is answered.
        for request in await requests_in(opencode, truth.session.directory):
            if request.session_id in truth.family:
                try:
                    await send(opencode, truth.session.directory, request, Decision(reply="reject"))
                except APIError as error:
                    if error.status != 404:  # else it is gone by now
                        raise
        return worked, truth
    raise WorkflowError(f"{session_id} was aborted but did not stop within {STOP_SECONDS:g} s", session_id)


async def abandon(context: Context, session_id: str, after: str | None = None) -> None:
    """Stop a session whose caller is gone, including one whose prompt is not visible yet. Errors are suppressed: there
    is no caller to receive them.

    `after` is the user's message before the prompt, as far as that is known.
    """
    with anyio.CancelScope(shield=True), anyio.move_on_after(STOP_SECONDS), suppress(OpenCodeError):
        async with context.for_session(session_id) as there:
            began = anyio.current_time()
            while True:
                worked, truth = await stop_session(there, session_id)
                patience = LATE_SECONDS if judge(truth, after).doubt is None else DOUBT_SECONDS
                if worked or anyio.current_time() - began >= patience:
                    return
                await anyio.sleep(0.4)
