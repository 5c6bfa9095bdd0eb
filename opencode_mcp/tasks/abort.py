"""Abort a task: the session and its subagents, and the requests that an abort leaves; then verify."""

from __future__ import annotations

import anyio

from opencode_mcp.exceptions import APIError, WorkflowError
from opencode_mcp.opencode import OpenCodeClient

from .context import Context, Decision
from .metadata import save_task_metadata, task_metadata
from .replies import list_requests, send_reply
from .rules import has_work_left, rules_of
from .session_state import SessionSnapshot, read_session, read_snapshot

STOP_SECONDS = 15.0


async def stop_session(context: Context, session_id: str) -> tuple[bool, SessionSnapshot]:
    """Abort a session's family until none of it works, then clear its requests.

    Returns whether any of it worked, or had a check left to run, and the snapshot in which none does.
    """
    opencode = context.opencode
    snapshot = await read_snapshot(opencode, session_id)
    was_busy = snapshot.busy or await has_work_left(opencode, snapshot)
    if was_busy and rules_of(snapshot) is not None:
        await save_stopped(opencode, session_id, "aborted")
        snapshot = await read_snapshot(opencode, session_id)
    with anyio.move_on_after(STOP_SECONDS):
        while snapshot.busy:
            for member_id in snapshot.family:
                await opencode.call("session_abort", sessionID=member_id)
            await anyio.sleep(0.2)
            snapshot = await read_snapshot(opencode, session_id)
        # The request of an aborted tool call stays listed until it is answered.
        for request in await list_requests(opencode, snapshot.session.directory):
            if request.session_id in snapshot.family:
                try:
                    await send_reply(opencode, snapshot.session.directory, request, Decision(reply="reject"))
                except APIError as error:
                    if error.status != 404:  # 404: it was answered meanwhile
                        raise
        return was_busy, snapshot
    raise WorkflowError(f"{session_id} was aborted but did not stop within {STOP_SECONDS:g} s", session_id)


async def save_stopped(opencode: OpenCodeClient, session_id: str, reason: str) -> None:
    """Store in a session why its turn is stopped: its check is not run, and nothing is sent back."""
    rules = task_metadata(await read_session(opencode, session_id)).rules
    if rules is not None and rules.stopped is None:
        await save_task_metadata(opencode, session_id, rules=rules.model_copy(update={"stopped": reason}))
