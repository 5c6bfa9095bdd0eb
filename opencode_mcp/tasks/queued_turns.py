"""Which turn of a session a caller waits for, where prompts are queued: each caller gets the outcome of its own.

snapshot + prompt -> not sent yet | the newest turn | a turn that another prompt has followed
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import Message, Session

from .idempotency import is_same_prompt
from .json_answer import read_answer
from .metadata import EndedTurn, QueuedPrompt, task_metadata
from .rules import is_newest_turn
from .session_state import SessionSnapshot, TaskState, TaskStatus
from .turn_prompts import find_turn_prompts, read_messages_back_to


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a wait for one session ended, or stands. `is_own`: it shows the turn that is waited for, not one after it."""

    snapshot: SessionSnapshot
    status: TaskStatus
    is_own: bool = True

    @property
    def is_queued(self) -> bool:
        """Whether the prompt is not sent yet."""
        return self.snapshot.newest_message is None and bool(self.snapshot.queued)


def queued_prompt(holder: Session) -> QueuedPrompt:
    """Return the prompt that a session of `SessionSnapshot.queued` holds."""
    queued = task_metadata(holder).queued
    assert queued is not None
    return queued


def apply_queue(snapshot: SessionSnapshot, status: TaskStatus) -> TaskStatus:
    """Return a session's status, given that of its newest turn: it goes on while prompts are queued."""
    if not snapshot.queued or status.note is not None:
        return status
    if status.finished:
        return TaskStatus("running", due="queued")
    return status if status.stalled_reason is None else TaskStatus("running")


async def select_turn(
    opencode: OpenCodeClient,
    snapshot: SessionSnapshot,
    status: TaskStatus,
    prompt_id: str | None,
    was_seen: bool = False,
) -> Outcome:
    """Return the turn of a prompt, given the status of the newest turn; without a prompt, what the session does.

    Where another client's prompt has followed the turn, what the session does as well; also where the prompt is gone
    that `was_seen`.

    Raises:
        WorkflowError: the session has no such prompt, neither sent nor queued.
    """
    of_session = Outcome(snapshot, apply_queue(snapshot, status), is_own=prompt_id is None)
    if prompt_id is None:
        return of_session
    if is_newest_turn(snapshot, prompt_id):
        return Outcome(snapshot, status, is_own=True)
    if (unsent := select_queued(snapshot, status, prompt_id)) is not None:
        return unsent
    ended = find_ended(snapshot, [prompt_id])
    if ended is None:
        messages = await read_messages_back_to(opencode, snapshot.session.id, prompt_id, snapshot.recent)
        sent = next((message.info.id for message in messages if is_same_prompt(message.info.id, prompt_id)), None)
        if sent is None and not was_seen:
            raise WorkflowError(
                f"session {snapshot.session.id} no longer has the turn {prompt_id}", snapshot.session.id
            )
        prompt_ids = find_turn_prompts(messages, sent or prompt_id)
        if snapshot.newest_message is not None and snapshot.newest_message.user_message_id in prompt_ids:
            return Outcome(snapshot, status, is_own=True)
        ended = find_ended(snapshot, prompt_ids)
    return of_session if ended is None else await select_ended(opencode, snapshot, ended)


def select_queued(snapshot: SessionSnapshot, status: TaskStatus, prompt_id: str) -> Outcome | None:
    """Return the turn of a prompt that is still queued; it waits for the same requests as the turn that runs."""
    prompt_ids = [queued_prompt(holder).prompt_id for holder in snapshot.queued]
    position = next((index for index, queued_id in enumerate(prompt_ids) if is_same_prompt(queued_id, prompt_id)), None)
    if position is None:
        return None
    before = replace(
        snapshot, statuses={}, newest_message=None, continued_prompt_id=None, queued=snapshot.queued[: position + 1]
    )
    return Outcome(before, TaskStatus(status.state if snapshot.pending else "running"), is_own=True)


def find_ended(snapshot: SessionSnapshot, prompt_ids: Iterable[str]) -> EndedTurn | None:
    """Return how the turn of a prompt has ended, None where that is not stored."""
    own_ids = tuple(prompt_ids)
    for turn in reversed(task_metadata(snapshot.session).ended or []):
        if any(is_same_prompt(ended_id, own_id) for ended_id in turn.prompt_ids for own_id in own_ids):
            return turn
    return None


def was_followed(snapshot: SessionSnapshot, prompt_id: str) -> bool:
    """Whether the turn of a prompt is stored as ended; a prompt that was dropped can be sent again."""
    ended = find_ended(snapshot, [prompt_id])
    return ended is not None and bool(ended.message_id)


async def select_ended(opencode: OpenCodeClient, snapshot: SessionSnapshot, ended: EndedTurn) -> Outcome:
    """Return a turn that another prompt has followed, or a queued prompt that was not sent."""
    newest: Message | None = None
    if ended.message_id:
        newest = await engine_of(opencode).read_message(snapshot.session.id, ended.message_id)
    own = replace(snapshot, statuses={}, pending=(), newest_message=newest, continued_prompt_id=None, queued=())
    value = (await read_answer("{}", newest.text)).value if newest is not None and ended.has_json else None
    status = TaskStatus(cast("TaskState", ended.state), error=ended.error, check=ended.check, structured=value)
    return Outcome(own, status, is_own=True)


def describe_queue(snapshot: SessionSnapshot) -> str | None:
    """Say how many prompts are queued, or what the prompt of a snapshot waits for that shows no turn; None for none."""
    count = len(snapshot.queued)
    if count and snapshot.newest_message is None:
        others = f" and {count - 1} queued before it" if count > 1 else ""
        return f"queued: the prompt is sent after the running turn{others}"
    if count:
        return f"{count} prompt{'s' * (count > 1)} queued, sent one after the other when the turn has ended."
    ended = (task_metadata(snapshot.session).ended or [None])[-1]
    newest = snapshot.newest_message
    if ended is None or ended.message_id or ended.state != "failed" or newest is None:
        return None
    return f"A queued prompt was not sent: {ended.error}" if ended.ended > newest.info.time.created else None
