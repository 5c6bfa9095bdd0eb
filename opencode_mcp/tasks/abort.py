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


async def stop_session(context: Context, session_id: str, prompt_id: str | None = None) -> tuple[bool, SessionSnapshot]:
    """Abort a session's family until none of it works, then clear its requests.

    `prompt_id` is that of a turn's rules: a prompt that has followed the turn is not aborted. Returns whether any of
    the family worked, or had a check left to run, and the snapshot in which none does, or another prompt has followed.
    """
    opencode = context.opencode
    snapshot = await read_snapshot(opencode, session_id)
    if has_followed(snapshot, prompt_id):
        return False, snapshot
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
            if has_followed(snapshot, prompt_id):
                return was_busy, snapshot
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


def has_followed(snapshot: SessionSnapshot, prompt_id: str | None) -> bool:
    """Whether another prompt has followed the turn whose rules have this `prompt_id`; never for None."""
    rules = rules_of(snapshot)
    return prompt_id is not None and (rules is None or rules.prompt_id != prompt_id)


async def save_stopped(opencode: OpenCodeClient, session_id: str, reason: str, prompt_id: str | None = None) -> bool:
    """Store in a session why its turn is stopped: its check is not run, and nothing is sent back.

    `prompt_id` is that of the turn's rules: False if another prompt, which `reason` is not about, has followed.
    """
    rules = task_metadata(await read_session(opencode, session_id)).rules
    if prompt_id is not None and (rules is None or rules.prompt_id != prompt_id):
        return False
    if rules is not None and rules.stopped is None:
        await save_task_metadata(opencode, session_id, rules=rules.model_copy(update={"stopped": reason}))
    return True
