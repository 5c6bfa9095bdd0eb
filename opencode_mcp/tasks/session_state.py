"""The state of a session, read from the server: session, status, messages, requests -> snapshot -> status.

Only this module decides the state of a task; events and HTTP responses are reasons to read it. It refuses sessions of
OpenCode's v2 API, whose state it cannot read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import anyio

from opencode_mcp.exceptions import APIError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import (
    AgentRequest,
    Message,
    Part,
    PermissionRequest,
    Session,
    SessionStatus,
)

from .check import CheckResult
from .json_answer import JsonValue
from .metadata import readable_metadata, task_metadata
from .turn_prompts import RECENT_MESSAGES, find_prompt_before

T = TypeVar("T")

ENDED_STATES = frozenset({"completed", "check_failed", "failed", "stopped"})
TaskState = Literal[
    "starting", "completed", "running", "waiting_permission", "waiting_question", "check_failed", "failed", "stopped"
]
"""`starting` is the only one that is not read from the server: the prompt was not sent yet."""


REJECTED = ("user rejected", "user declined", "user dismissed")
"""What the errors of rejected tool calls have."""

WAKE_SECONDS = 0.5
"""How long after the end of a subagent that ran in the background its parent may take to go on with what it said."""

PICKUP_SECONDS = 10.0
"""How long OpenCode may take to start on a prompt that it has accepted; 1.3 s were measured (1.18.33)."""


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """A session as read from the server at one moment.

    `family` has the ids of the session and all its descendants, the session first; `statuses` has the status of each of
    them that is not idle, by id; `pending` has the requests that a busy one of them waits for. `queued` are the
    sessions that hold the prompts to send next (`QueuedPrompt`), in their order.

    `continued_prompt_id` is the prompt whose turn the newest message belongs to, where OpenCode itself has written the
    newest user's message: to go on after it has compacted the conversation, for example.

    `recent` are the newest messages of an idle session, oldest first, up to RECENT_MESSAGES: all were read after its
    status. None where only the newest was read, as that of a busy one is.
    """

    session: Session
    family: tuple[str, ...]
    statuses: dict[str, SessionStatus]
    pending: tuple[AgentRequest, ...]
    newest_message: Message | None
    continued_prompt_id: str | None = None
    queued: tuple[Session, ...] = ()
    recent: tuple[Message, ...] | None = None

    @property
    def prompt_id(self) -> str:
        """The prompt that began the newest turn, or that a bridge has sent to correct its work; "" for none."""
        newest = self.newest_message
        return self.continued_prompt_id or (newest.user_message_id if newest is not None else "")

    @property
    def waits_for_subagents(self) -> bool:
        """Whether the session itself is idle, and a descendant works, whose end may wake it."""
        return self.busy and self.session.id not in self.statuses

    @property
    def busy(self) -> bool:
        """Whether the session or a descendant works, waits for a retry, or waits for an answer."""
        return bool(self.statuses)


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """A task's state. `stalled_reason` is why a running task may not run at all; if it lasts, it is the error.

    `note` is what else the caller must know. With a `stalled_reason` it says why another OpenCode process may be
    running the task; then the stall is not an error. `activity` is what the session does, where its newest message does
    not say it. `check` is how the task's check ended, `structured` its answer as JSON, and `due` what a bridge must do
    before the task has ended (`rules.py`).
    """

    state: TaskState
    error: str | None = None
    stalled_reason: str | None = None
    note: str | None = None
    activity: str | None = None
    check: CheckResult | None = None
    structured: JsonValue | None = None
    due: Literal["check", "end_check", "retry", "repair", "reject", "queued"] | None = None

    @property
    def finished(self) -> bool:
        """Whether the turn has ended, well or not."""
        return self.state in ENDED_STATES


async def read_snapshot(
    opencode: OpenCodeClient, session_id: str, previous: SessionSnapshot | None = None
) -> SessionSnapshot:
    """Read a session's state. The status is read first; the rest is read concurrently, so it is at least as new.

    Queued prompts are read first as well: one that is sent is deleted only once its message can be read. With the
    `previous` snapshot the directory is known, so the session is read together with the rest; that of an idle session
    is read then in any case, as OpenCode adds up what a turn has used before it is idle (1.18.33).

    Raises:
        APIError: the session is unknown.
        WorkflowError: it is a session of OpenCode's v2 API, whose work this module cannot read.
        TransportError: OpenCode cannot be reached.
    """
    session = await read_session(opencode, session_id) if previous is None else previous.session
    engine = engine_of(opencode)
    statuses: dict[str, SessionStatus]
    children: list[Session]
    statuses, children = await gather(
        partial(engine.read_statuses, session.directory), partial(engine.list_children, session_id)
    )
    works = not statuses.keys().isdisjoint({session_id, *(child.id for child in children)})
    listed = children if works or not statuses else None  # a subagent that works may have begun since they were listed
    family: tuple[str, ...]
    family, requests, newest, *reread = await gather(
        partial(read_family, opencode, session_id, listed),
        partial(read_requests, opencode, session, statuses, children),
        partial(engine.list_messages, session_id, 1 if works else RECENT_MESSAGES),
        *([] if previous is None and works else [partial(read_session, opencode, session_id)]),
    )
    if reread and reread[0].directory != session.directory:  # it was moved meanwhile
        return await read_snapshot(opencode, session_id)
    if previous is not None and previous.waits_for_subagents and not statuses.keys() & {*family}:
        await anyio.sleep(WAKE_SECONDS)
        return await read_snapshot(opencode, session_id)
    session = reread[0] if reread else session
    busy_statuses = {member_id: statuses[member_id] for member_id in family if member_id in statuses}
    recent = None if works or busy_statuses else tuple(newest)
    newest_message = newest[-1] if newest else None
    if newest_message is None and not busy_statuses and (previous is None or not previous.busy):
        await engine.refuse_unreadable(session_id)
    snapshot = SessionSnapshot(
        session=session,
        family=family,
        statuses=busy_statuses,
        # OpenCode keeps listing the requests of an aborted session; nothing waits for a request of an idle one.
        pending=tuple(request for request in requests if request.session_id in busy_statuses),
        newest_message=newest_message,
        continued_prompt_id=await find_continued_prompt(opencode, session, newest_message, previous, recent),
        queued=find_queued(children),
        recent=recent,
    )
    update_active_sessions(opencode, snapshot)
    return snapshot


async def read_requests(
    opencode: OpenCodeClient, session: Session, statuses: Mapping[str, SessionStatus], children: Sequence[Session]
) -> list[AgentRequest]:
    """Return the requests in a session's directory, [] if no session that works can belong to its family."""
    may_wait = bool(statuses) if find_members(children) else session.id in statuses
    return await engine_of(opencode).list_requests(session.directory) if may_wait else []


def update_active_sessions(opencode: OpenCodeClient, snapshot: SessionSnapshot) -> None:
    """Mark the sessions that are active, which keeps an idle server from being stopped; a stalled one counts until it
    is classified."""
    for session_id in snapshot.family:
        is_running = session_id == snapshot.session.id and classify(snapshot).state == "running"
        opencode.server.set_active(session_id, active=is_running or session_id in snapshot.statuses)


async def find_continued_prompt(
    opencode: OpenCodeClient,
    session: Session,
    newest: Message | None,
    previous: SessionSnapshot | None,
    recent: Sequence[Message] | None,
) -> str | None:
    """Return `SessionSnapshot.continued_prompt_id`, for a turn with rules; the `previous` snapshot may have it."""
    rules = task_metadata(session).rules
    if rules is None or newest is None:
        return None
    if previous is not None and previous.newest_message is not None and previous.session.metadata == session.metadata:
        if previous.newest_message.user_message_id == newest.user_message_id:
            return previous.continued_prompt_id
    return await find_prompt_before(opencode, session.id, rules.prompt_id, newest.user_message_id, recent)


async def read_session(opencode: OpenCodeClient, session_id: str) -> Session:
    """Read a session."""
    return await engine_of(opencode).read_session(session_id)


async def read_newest_messages(opencode: OpenCodeClient, session_id: str, limit: int) -> list[Message]:
    """Return a session's newest messages, oldest first."""
    return await engine_of(opencode).list_messages(session_id, limit)


async def read_family(
    opencode: OpenCodeClient, session_id: str, children: Sequence[Session] | None = None
) -> tuple[str, ...]:
    """Return the ids of a session and all its descendants, the session first; not of those that hold queued prompts."""
    if children is None:
        children = await engine_of(opencode).list_children(session_id)
    families = await gather(
        *(partial(unless_deleted, partial(read_family, opencode, member.id), ()) for member in find_members(children))
    )
    return (session_id, *(member_id for family in families for member_id in family))


def find_members(children: Sequence[Session]) -> list[Session]:
    """Return those of a session's children that hold no queued prompt."""
    return [child for child in children if readable_metadata(child).queued is None]


async def unless_deleted(read: Callable[[], Awaitable[T]], otherwise: T) -> T:
    """Return what is read of a session below another one, or `otherwise` if it was deleted since that listed it.

    A bridge deletes the session of a check that another bridge has begun as well, and that of a queued prompt.
    """
    try:
        return await read()
    except APIError as error:
        if error.status != 404:
            raise
        return otherwise


async def read_queued(opencode: OpenCodeClient, session_id: str) -> tuple[Session, ...]:
    """Return the sessions that hold the queued prompts of a session, in their order."""
    return find_queued(await engine_of(opencode).list_children(session_id))


def find_queued(children: Sequence[Session]) -> tuple[Session, ...]:
    """Return those of a session's children that hold its queued prompts, in their order."""
    holders = [child for child in children if readable_metadata(child).queued is not None]
    return tuple(sorted(holders, key=queue_order))


def queue_order(holder: Session) -> tuple[bool, float, str]:
    """Return the sort key of a session that holds a queued prompt: interrupting prompts first, then the oldest."""
    queued = task_metadata(holder).queued
    return queued is None or not queued.interrupts, holder.time.created, holder.id


def classify(snapshot: SessionSnapshot, previous_prompt_id: str | None = None) -> TaskStatus:
    """Decide a task's state; `previous_prompt_id` is the user's message before the task's own, which does not count."""
    if snapshot.pending:
        request = snapshot.pending[0]
        return TaskStatus("waiting_permission" if isinstance(request, PermissionRequest) else "waiting_question")
    newest = snapshot.newest_message
    waits_for_setup = newest is None and task_metadata(snapshot.session).has_setup
    if snapshot.busy:
        return TaskStatus("running", activity="running its setup" if waits_for_setup else None)
    if waits_for_setup:
        return TaskStatus("running", stalled_reason="the bridge that set it up has ended, so its prompt was not sent")
    if newest is None or newest.user_message_id == previous_prompt_id:
        return TaskStatus("running", stalled_reason="the session has no prompt, or OpenCode lost it")
    if newest.info.role == "user":
        return TaskStatus("running", stalled_reason="OpenCode has the prompt but does not process it")
    return classify_reply(newest)


def classify_reply(reply: Message) -> TaskStatus:
    """Decide the state of an idle session by its newest reply."""
    info = reply.info
    if info.error is not None:
        if info.error.name == "MessageAbortedError":
            return TaskStatus("stopped", error="aborted")
        return TaskStatus("failed", error=str(info.error))
    if info.time.completed is None:
        return TaskStatus("running", stalled_reason="OpenCode exited during the turn; the last message is incomplete")
    match info.finish:
        case "stop" | "other" | "unknown":
            return TaskStatus("completed")
        case "tool-calls" if any(map(was_rejected, reply.parts)):
            return TaskStatus("stopped", error="a rejected request ended the turn")
        case "tool-calls":
            return TaskStatus(
                "running", stalled_reason="OpenCode exited during the turn; the last tool's result was not used"
            )
        case "length":
            return TaskStatus("failed", error="the answer was truncated at the model's output limit")
        case None if reply.parts and all(part.type != "step-start" for part in reply.parts):
            return TaskStatus("completed")  # a shell command that the user ran: no model was called
        case None:
            return TaskStatus("stopped", error="aborted before the model answered")
        case other:
            return TaskStatus("failed", error=f"the model ended with {other!r}")


def was_rejected(part: Part) -> bool:
    """Whether a tool call ended by rejection; only the error text shows it (1.18.33, 2.0.8)."""
    error_text = part.state.error if part.state is not None else None
    return error_text is not None and any(words in error_text for words in REJECTED)


async def refuse_without_messages(opencode: OpenCodeClient, session_id: str) -> None:
    """Refuse a session that the engine cannot read, for a tool that reads messages but no snapshot.

    Raises:
        WorkflowError: it has messages of another API of OpenCode.
    """
    engine = engine_of(opencode)
    if not await engine.list_messages(session_id, 1):
        await engine.refuse_unreadable(session_id)
