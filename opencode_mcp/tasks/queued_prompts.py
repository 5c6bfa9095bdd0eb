"""Prompts to a busy session: kept below it until its turn has ended, then sent one after the other.

OpenCode itself takes a prompt while it works, but answers several with one reply, in the turn that runs (1.18.33). So
a bridge keeps it: a session below the busy one holds it in its metadata, where every bridge finds it, and is deleted
once the prompt is sent. The id of its message is derived from its request id, so that it is sent once.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress

import anyio
from pydantic import ValidationError

from opencode_mcp.exceptions import (
    APIError,
    LimitReached,
    OpenCodeError,
    ServerStartError,
    SessionBusy,
    TransportError,
    WorkflowError,
)
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import Session
from opencode_mcp.redaction import to_one_line

from .abort import stop_session
from .context import Context
from .external_activity import read_snapshot_across_processes
from .follow_up import INTERRUPTED, check_follow_up, send_follow_up, wait_until_visible
from .idempotency import is_same_prompt, make_prompt_id
from .metadata import (
    EndedTurn,
    QueuedPrompt,
    Rules,
    TaskMetadata,
    add_ended_turn,
    remove_ended_turn,
    task_metadata,
    with_task_metadata,
)
from .options import QueuedTask, StartTask
from .prompt import SentPrompt
from .queued_turns import find_ended, queued_prompt
from .rules import is_newest_turn, keeps_bounds
from .session_state import SessionSnapshot, read_snapshot

MAX_QUEUED = 10
"""How many prompts a session's queue holds."""

MAX_QUEUED_CHARS = 200_000
"""How long a queued prompt with its arguments may be: each read of its session's state reads it."""

SHOWN_CHARS = 60

log = logging.getLogger(__name__)


async def queue_prompt(context: Context, arguments: StartTask, session_id: str) -> SentPrompt:
    """Queue a prompt for a busy session, or interrupt its turn and send the prompt; the caller holds its lock.

    Raises:
        WorkflowError: the queue is full, the prompt too long, or what `check_follow_up` raises; nothing was queued. Or
            the turn was aborted and did not stop.
    """
    opencode = context.opencode
    snapshot, elsewhere = await read_snapshot_across_processes(opencode, session_id)
    if (repeated := find_request(snapshot, arguments)) is not None:
        note = f"request {arguments.request_id} is already queued"
        return SentPrompt(session_id=session_id, queued_id=repeated.prompt_id, note=note)
    if elsewhere is not None and arguments.when_busy == "interrupt":
        raise WorkflowError(
            f"session {session_id} cannot be interrupted here, nothing was sent. {elsewhere}", session_id
        )
    await check_follow_up(opencode, snapshot.session, arguments)
    queued = make_queued_prompt(context, snapshot, arguments)
    refuse_oversized(snapshot, queued)
    holder = await create_holder(opencode, snapshot.session, queued)
    note = None
    if queued.interrupts:
        try:
            was_busy, _ = await stop_session(context, session_id, reason=INTERRUPTED)
        except (OpenCodeError, anyio.get_cancelled_exc_class()):
            with anyio.CancelScope(shield=True), suppress(OpenCodeError):
                await delete_holder(opencode, holder)
            raise
        # Cancelled, the call withdraws its prompt; where OpenCode does not answer, a follower sends it.
        with anyio.CancelScope(shield=True), suppress(OpenCodeError):
            await send_first(context, await read_snapshot(opencode, session_id))
        note = "The running turn was interrupted: what it has done stays." if was_busy else None
    return SentPrompt(session_id=session_id, queued_id=queued.prompt_id, note=note)


def find_request(snapshot: SessionSnapshot, arguments: StartTask) -> QueuedPrompt | None:
    """Return the queued prompt of the same request, None for none.

    Raises:
        WorkflowError: it has another text.
    """
    queued = map(queued_prompt, snapshot.queued)
    same = next((prompt for prompt in queued if prompt.task["request_id"] == arguments.request_id), None)
    if same is not None and same.task["prompt"] != arguments.prompt:
        raise WorkflowError(
            f"request_id {arguments.request_id!r} is already queued in session {snapshot.session.id} with another "
            "prompt, so this prompt was not queued: give each prompt its own request_id",
            snapshot.session.id,
        )
    return same


def make_queued_prompt(context: Context, snapshot: SessionSnapshot, arguments: StartTask) -> QueuedPrompt:
    """Return the prompt as it is kept, within the bounds of this bridge whichever sends it."""
    policy, limits = context.opencode.prompt_policy, arguments.limits
    costs = [cost for cost in (limits.cost, policy.max_cost) if cost is not None]
    request_id = arguments.request_id or secrets.token_hex(16)
    changed = {"request_id": request_id, "limits": limits.model_copy(update={"cost": min(costs, default=None)})}
    kept = {*StartTask.model_fields} - {"when_busy"}
    task = arguments.model_copy(update=changed).model_dump(mode="json", include=kept, exclude_defaults=True)
    return QueuedPrompt(
        prompt_id=f"msg_{make_prompt_id(snapshot.session, snapshot.newest_message, request_id)}",
        task={**task, "models": policy.models},
        interrupts=arguments.when_busy == "interrupt",
    )


def refuse_oversized(snapshot: SessionSnapshot, queued: QueuedPrompt) -> None:
    """Refuse a prompt that a queue cannot take.

    Raises:
        WorkflowError: the queue is full, or the prompt too long.
    """
    session_id, chars = snapshot.session.id, len(queued.model_dump_json())
    if len(snapshot.queued) >= MAX_QUEUED:
        raise WorkflowError(
            f"session {session_id} has {MAX_QUEUED} queued prompts, the most that it can have: this prompt was not "
            "queued. wait_for_tasks waits for them",
            session_id,
        )
    if chars > MAX_QUEUED_CHARS:
        raise WorkflowError(
            f"the prompt has {chars} characters with its arguments, and was not queued: a queued prompt has "
            f"{MAX_QUEUED_CHARS} at most. Write its data to a file of the project, and name that",
            session_id,
        )


async def create_holder(opencode: OpenCodeClient, session: Session, queued: QueuedPrompt) -> Session:
    """Create the session that holds a queued prompt; a cancelled call must not leave it unknown."""
    metadata = with_task_metadata({}, TaskMetadata(queued=queued))
    holder = await engine_of(opencode).create_session(
        session.directory, metadata=metadata, title="Queued prompt", parent_id=session.id
    )
    if task_metadata(holder).queued is None:
        await delete_holder(opencode, holder)
        raise WorkflowError(
            f"{opencode.server.describe()} does not store session metadata, which when_busy needs: nothing was queued. "
            "Use OpenCode 1.15.13 or later",
            session.id,
        )
    return holder


async def delete_holder(opencode: OpenCodeClient, holder: Session) -> bool:
    """Delete the session that holds a queued prompt; False if it was deleted before."""
    try:
        await engine_of(opencode).delete_session(holder.id)
    except APIError as error:
        if error.status != 404:
            raise
        return False
    return True


async def send_queued(context: Context, session_id: str) -> None:
    """Send the first queued prompt of a session whose turn has ended; one that cannot be sent is dropped, and failed.

    Raises:
        TransportError, ServerStartError: OpenCode does not answer; the prompt stays queued.
    """
    async with context.opencode.session_lock(session_id):
        await send_first(context, await read_snapshot(context.opencode, session_id))


async def send_first(context: Context, snapshot: SessionSnapshot) -> None:
    """Send the first queued prompt as `send_queued` does; the caller holds the session's lock.

    One of a bridge with wider bounds than `--models` and `--max-cost` of this one is left to other bridges, as is one
    with arguments that this version does not know.
    """
    if not snapshot.queued:
        return
    opencode, session_id, holder = context.opencode, snapshot.session.id, snapshot.queued[0]
    queued = queued_prompt(holder)
    try:
        task = QueuedTask.model_validate(queued.task)
    except ValidationError:
        log.info("a queued prompt of %s is left to another version of this server", session_id)
        return
    if not keeps_bounds(opencode.prompt_policy, Rules(limits=task.limits, models=task.models)):
        return  # its own bridge, or another one, sends it
    try:
        sent = await send_follow_up(context, task, session_id, queued=queued)
        if sent.previous_prompt_id is not None and not await wait_until_visible(
            opencode, session_id, sent.previous_prompt_id
        ):
            return  # OpenCode lost it: it is sent again
    except (TransportError, ServerStartError):
        raise
    except (SessionBusy, LimitReached):
        return
    except OpenCodeError as error:
        await save_unsent(opencode, session_id, queued, "failed", f"the queued prompt was not sent: {error}")
    if not await delete_holder(opencode, holder) and await was_dropped(opencode, session_id, holder):
        await stop_session(context, session_id)


async def was_dropped(opencode: OpenCodeClient, session_id: str, holder: Session) -> bool:
    """Whether another bridge has dropped a queued prompt while this one was sending it, so that it runs."""
    prompt_id, snapshot = queued_prompt(holder).prompt_id, await read_snapshot(opencode, session_id)
    ended = find_ended(snapshot, [prompt_id])
    is_dropped = ended is not None and ended.state == "stopped" and ended.ended >= holder.time.created
    return is_dropped and is_newest_turn(snapshot, prompt_id)


async def save_unsent(
    opencode: OpenCodeClient, session_id: str, queued: QueuedPrompt, state: str, reason: str
) -> EndedTurn:
    """Store in a session that a queued prompt was not sent, and return what was stored."""
    unsent = EndedTurn(prompt_ids=(queued.prompt_id,), state=state, error=reason, ended=time.time() * 1000)
    await add_ended_turn(opencode, session_id, unsent)
    return unsent


async def drop_queued(opencode: OpenCodeClient, session_id: str, prompt_id: str | None = None) -> list[QueuedPrompt]:
    """Remove the queued prompts of a session, or one of them, and return those that were removed.

    One that another bridge has sent meanwhile is not among them; one that it is sending is stopped by that bridge.
    """
    if not (await read_snapshot(opencode, session_id)).queued:
        return []
    dropped: list[QueuedPrompt] = []
    async with opencode.session_lock(session_id):
        for holder in (await read_snapshot(opencode, session_id)).queued:
            queued = queued_prompt(holder)
            if prompt_id is None or is_same_prompt(queued.prompt_id, prompt_id):
                reason = "dropped from the queue; it was not sent"
                unsent = await save_unsent(opencode, session_id, queued, "stopped", reason)
                if await delete_holder(opencode, holder):
                    dropped.append(queued)
                else:
                    await remove_ended_turn(opencode, session_id, unsent)
    return dropped


def describe_dropped(dropped: Sequence[QueuedPrompt]) -> str | None:
    """Say which queued prompts were dropped; None for none."""
    if not dropped:
        return None
    texts = "; ".join(to_one_line(queued.task["prompt"], SHOWN_CHARS) for queued in dropped)
    return f"{len(dropped)} queued prompt{'s' * (len(dropped) > 1)} dropped, not sent: {texts}"
