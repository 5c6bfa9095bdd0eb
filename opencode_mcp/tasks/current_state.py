"""The state of a session as a list of sessions shows it, read with as few requests as possible.

newest messages of the family -> unfinished? -> status and requests of the directory, newest message again -> state

To read a directory's status makes OpenCode load the directory, for a second of processor time. So it is read only where
a session's work may be unfinished, and once for all sessions there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from math import inf

import anyio

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import Message

from .directory_state import DIRECTORY, read_directory
from .external_activity import PROMPT_SECONDS, describe_other_process
from .family import Family
from .metadata import readable_metadata
from .queued_turns import apply_queue
from .report import NO_ACTIVITY, describe_activity
from .rules import apply_rules
from .session_state import (
    SessionSnapshot,
    TaskStatus,
    classify,
    classify_reply,
    find_continued_prompt,
    read_newest_messages,
    unless_deleted,
)
from .turn import find_first_prompt_id, format_model
from .turn_prompts import RECENT_MESSAGES

OPEN_STATES = ("waiting_permission", "waiting_question", "running")
"""The states of a session that is not at rest, in the order in which they are shown."""

PROMPT = "prompt"
"""What the shared reads of this module are about."""


@dataclass(frozen=True, slots=True)
class CurrentState:
    """What a session does now. `note` is why another OpenCode process may be running it."""

    snapshot: SessionSnapshot
    status: TaskStatus
    note: str | None = None

    @property
    def state(self) -> str:
        """The state of a task, or `idle` without a prompt, and where nothing works on the newest one."""
        return "idle" if self.status.stalled_reason and self.note is None else self.status.state

    @property
    def is_open(self) -> bool:
        """Whether the session works or waits."""
        return self.state in OPEN_STATES

    @property
    def may_change(self) -> bool:
        """Whether its state may change without any change of its sessions: it works, or may be about to."""
        newest = self.snapshot.newest_message
        if self.is_open:
            return True
        is_new = newest is not None and time.time() - newest.written_at / 1000 < PROMPT_SECONDS
        return self.status.stalled_reason is not None and is_new

    @property
    def activity(self) -> str | None:
        """What a session that works or waits does; None for nothing."""
        activity = self.status.activity or describe_activity(self.snapshot, in_other_process=self.note is not None)
        return None if activity == NO_ACTIVITY else activity

    @property
    def model(self) -> str | None:
        """The model of the newest message, as `provider/model`; None where that has none."""
        return None if self.snapshot.newest_message is None else format_model(self.snapshot.newest_message)

    @property
    def last_reply(self) -> Message | None:
        """The newest reply of the newest turn as far as it was read, without one that compacts the conversation."""
        newest = self.snapshot.newest_message
        read = self.snapshot.recent or (() if newest is None else (newest,))
        replies = [message for message in read if message.info.role == "assistant" and not message.info.summary]
        return replies[-1] if replies else None


async def read_current_state(
    opencode: OpenCodeClient, family: Family, since: float, *, works: bool = False
) -> CurrentState:
    """Read the state of a session.

    A session that may be expected to work (`works`) costs fewer requests: it shares a status of its directory that was
    read after `since`, a time of anyio.current_time(). Another one needs a status from after its unfinished message, as
    a prompt that was sent later than the status was read would seem to be one that nothing works on. The messages are
    read after the status, as in `read_snapshot`. In a worktree that was removed nothing works.

    Raises:
        APIError: 404, the session was deleted.
        OpenCodeError: it cannot be read.
    """
    session, directory = family.session, family.session.directory
    messages: list[Message] = [] if works else await read_newest_messages(opencode, session.id, RECENT_MESSAGES)
    messages_read = anyio.current_time()
    recent: tuple[Message, ...] | None = tuple(messages)
    statuses, requests = {}, ()
    is_removed = readable_metadata(session).removed is not None
    if not is_removed and (works or await may_work(opencode, family, messages)):
        read = partial(read_directory, opencode, directory)
        max_age = anyio.current_time() - (since if works else messages_read)
        found = await opencode.shared_reads.read((DIRECTORY, directory), max_age, read)
        messages = await read_newest_messages(opencode, session.id, 1)
        recent = None
        statuses = {member_id: found.statuses[member_id] for member_id in family.ids if member_id in found.statuses}
        requests = found.requests
    newest = messages[-1] if messages else None
    snapshot = SessionSnapshot(
        session=session,
        family=family.ids,
        statuses=statuses,
        pending=tuple(request for request in requests if request.session_id in statuses),
        newest_message=newest,
        continued_prompt_id=await find_continued_prompt(opencode, session, newest, None, recent),
        queued=family.queued,
        recent=recent,
    )
    status = await apply_rules(opencode, snapshot, classify(snapshot))
    note = await describe_other_process(opencode, snapshot)
    return CurrentState(snapshot, status if note is not None else apply_queue(snapshot, status), note)


async def may_work(opencode: OpenCodeClient, family: Family, messages: list[Message]) -> bool:
    """Whether the newest message of a session or of a descendant leaves work to do, as far as it shows.

    A session without messages has nothing to do, unless commands run before its first prompt.
    """
    if family.queued or (messages and is_unfinished(messages[-1])):
        return True
    if not messages:
        return bool(family.descendants)
    read = [
        partial(unless_deleted, partial(read_newest_messages, opencode, member.id, 1), [])
        for member in family.descendants
    ]
    newest: list[list[Message]] = await gather(*read)
    return any(is_unfinished(found[-1]) for found in newest if found)


def is_unfinished(newest: Message) -> bool:
    """Whether a session's newest message leaves work to do, as far as it shows."""
    return newest.info.role == "user" or classify_reply(newest).stalled_reason is not None


async def read_elapsed(opencode: OpenCodeClient, current: CurrentState) -> float:
    """Return how long the newest turn has taken, in seconds: until now, or until its last message was written.

    Raises:
        OpenCodeError: the prompt cannot be read.
    """
    snapshot, newest = current.snapshot, current.snapshot.newest_message
    if newest is None:
        return 0.0
    prompt_id = find_first_prompt_id(snapshot)
    read = {message.info.id: message.info.time.created for message in snapshot.recent or (newest,)}
    started = read.get(prompt_id)
    if started is None:
        read_time = partial(read_prompt_time, opencode, snapshot.session.id, prompt_id)
        started = await unless_deleted(read_time, min(read.values()))
    end = time.time() * 1000 if current.is_open else newest.info.time.completed or newest.written_at
    return round(max(0.0, end - started) / 1000, 1)


async def read_prompt_time(opencode: OpenCodeClient, session_id: str, prompt_id: str) -> float:
    """Return when a prompt was sent (ms), which never changes."""

    async def read() -> float:
        return (await engine_of(opencode).read_message(session_id, prompt_id)).info.time.created

    return await opencode.shared_reads.read((PROMPT, prompt_id), inf, read)
