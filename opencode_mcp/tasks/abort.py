"""Abort a task: the session and its subagents, and the requests that an abort leaves; then verify."""

from __future__ import annotations

from functools import partial

import anyio

from opencode_mcp.exceptions import APIError, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of

from .context import Context, Decision
from .metadata import save_task_metadata, task_metadata
from .queued_turns import was_followed
from .replies import send_reply
from .rules import has_work_left, rules_of
from .session_state import SessionSnapshot, read_session, read_snapshot, unless_deleted

STOP_SECONDS = 15.0


async def stop_session(
    context: Context, session_id: str, prompt_id: str | None = None, reason: str = "aborted"
) -> tuple[bool, SessionSnapshot]:
    """Abort a session's family until none of it works, then clear its requests.

    A queued prompt that a bridge sends meanwhile is not aborted; nor, with the `prompt_id` of a turn's rules, any that
    has followed that turn. `reason` is what reports of a turn with rules say. Returns whether any of the family worked,
    or had a check left to run, and the snapshot in which none does, or another prompt has followed.
    """
    opencode = context.opencode
    snapshot = await read_snapshot(opencode, session_id)
    if has_followed(snapshot, prompt_id):
        return False, snapshot
    was_busy = snapshot.busy or await has_work_left(opencode, snapshot)
    newest_id, rules = snapshot.prompt_id, rules_of(snapshot)
    if was_busy and rules is not None:
        await save_stopped(opencode, session_id, reason, rules.prompt_id)
        snapshot = await read_snapshot(opencode, session_id)
    with anyio.move_on_after(STOP_SECONDS):
        while snapshot.busy and not (was_followed(snapshot, newest_id) or has_followed(snapshot, prompt_id)):
            for member_id in snapshot.family:
                await unless_deleted(partial(engine_of(opencode).abort, member_id), None)
            await anyio.sleep(0.2)
            snapshot = await read_snapshot(opencode, session_id)
        # The request of an aborted tool call stays listed until it is answered.
        for request in await engine_of(opencode).list_requests(snapshot.session.directory):
            if request.session_id in snapshot.family and request.session_id not in snapshot.statuses:
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


async def save_stopped(opencode: OpenCodeClient, session_id: str, reason: str, prompt_id: str) -> bool:
    """Store in a session why its turn is stopped: its check is not run, and nothing is sent back.

    `prompt_id` is that of the turn's rules: False if another prompt, which `reason` is not about, has followed.
    """
    rules = task_metadata(await read_session(opencode, session_id)).rules
    if rules is None or rules.prompt_id != prompt_id:
        return False
    if rules.stopped is None:
        await save_task_metadata(opencode, session_id, rules=rules.model_copy(update={"stopped": reason}))
    return True
