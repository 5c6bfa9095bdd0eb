"""The truth about a session, read from the server: look() -> Truth -> judge() -> Verdict.

Nothing else decides what a task's state is; events and HTTP answers are only reasons to look.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.background import gather
from opencode_mcp.opencode.models import (
    AgentRequest,
    Message,
    Part,
    PermissionRequest,
    QuestionRequest,
    Session,
    SessionStatus,
)

from .second_engine import refuse_second_engine

State = Literal["starting", "completed", "running", "waiting_permission", "waiting_question", "failed", "stopped"]
"""`starting` is the only one that is not read from the server: the prompt was not sent yet."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A session as read from the server at one moment. (rest: `family`: ids of the session and its descendants;
    `statuses`: of those that are not idle; `pending`: requests that a busy one of them waits for.)

    `family` are the ids of the session and all its descendants; `statuses` those of them that do
    something; `pending` what they wait for; `newest` the session's newest message.
    """

    session: Session
    family: tuple[str, ...]
    statuses: dict[str, SessionStatus]
    pending: tuple[AgentRequest, ...]
    newest: Message | None

    @property
    def busy(self) -> bool:
        """Whether the session or a descendant works, waits for a retry, or waits for somebody."""
        return bool(self.statuses)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A task's state. `doubt` is why a running task may not run at all; it becomes the error if it stays.

    `note` is what the caller must know besides. Of a doubt it is why another OpenCode process may be running the task:
    then a doubt that stays is no error.
    """

    state: State
    error: str | None = None
    doubt: str | None = None
    note: str | None = None

    @property
    def over(self) -> bool:
        """Whether the turn has ended, well or not."""
        return self.state in {"completed", "failed", "stopped"}


async def look(opencode: OpenCodeClient, session_id: str, before: Truth | None = None) -> Truth:
    """Read the truth. The status is read first: what is read later, all at once, is then at least as new.

    With the truth `before` the session need not be read to know its directory.

    Raises:
        APIError: the session is unknown.
        WorkflowError: it is one of the second engine, whose work is not seen here.
        TransportError: OpenCode cannot be reached.
    """
    session = await read_session(opencode, session_id) if before is None else before.session
    location = {"directory": session.directory}
    statuses = await opencode.call_as(dict[str, SessionStatus], "session_status", **location)
    family: tuple[str, ...]
    family, permissions, questions, newest, *again = await gather(
        partial(family_of, opencode, session_id),
        partial(opencode.call_as, list[PermissionRequest], "permission_list", **location),
        partial(opencode.call_as, list[QuestionRequest], "question_list", **location),
        partial(opencode.call_as, list[Message], "session_messages", sessionID=session_id, limit=1),
        *(partial(read_session, opencode, one.session.id) for one in (before,) if one is not None),
    )
    if again and again[0].directory != session.directory:  # it was moved meanwhile
        return await look(opencode, session_id)
    session = again[0] if again else session
    working = {id: statuses[id] for id in family if id in statuses and statuses[id].type != "idle"}
    if not newest and not working:
        await refuse_second_engine(opencode, session_id)
    truth = Truth(
        session=session,
        family=family,
        statuses=working,
        # An abort leaves its request behind: what asks for a session that does nothing is no longer waited for.
        pending=tuple(one for one in (*permissions, *questions) if one.session_id in working),
        newest=newest[-1] if newest else None,
    )
    note_work(opencode, truth)
    return truth


def note_work(opencode: OpenCodeClient, truth: Truth) -> None:
    """Mark the sessions that are active, which keeps an idle server from being stopped; a stalled one counts until it
    is classified."""
    for session_id in truth.family:
        own = session_id == truth.session.id and judge(truth).state == "running"
        opencode.server.set_active(session_id, active=own or session_id in truth.statuses)


async def renewed(opencode: OpenCodeClient, truth: Truth) -> Truth:
    """Return the truth with the session as it is now: OpenCode adds up its cost and tokens after its last message."""
    return replace(truth, session=await read_session(opencode, truth.session.id))


async def read_session(opencode: OpenCodeClient, session_id: str) -> Session:
    """Read a session."""
    return await opencode.call_as(Session, "session_get", sessionID=session_id)


async def family_of(opencode: OpenCodeClient, session_id: str) -> tuple[str, ...]:
    """Return the ids of a session and all its descendants, the session first."""
    children = await opencode.call_as(list[Session], "session_children", sessionID=session_id)
    families = await gather(*(partial(family_of, opencode, child.id) for child in children))
    return (session_id, *(one for family in families for one in family))


def judge(truth: Truth, after: str | None = None) -> Verdict:
    """Decide a task's state; `after` is the user's message before the task's own, which must not count."""
    if truth.pending:
        kind = truth.pending[0]
        return Verdict("waiting_permission" if isinstance(kind, PermissionRequest) else "waiting_question")
    if truth.busy:
        return Verdict("running")
    newest = truth.newest
    if newest is None or newest.user_message_id == after:
        return Verdict("running", doubt="the session has no prompt, or OpenCode lost it")
    if newest.info.role == "user":
        return Verdict("running", doubt="OpenCode has the prompt but does not process it")
    return judge_reply(newest)


def judge_reply(reply: Message) -> Verdict:
    """Decide by the newest reply of a session that does nothing."""
    info = reply.info
    if info.error is not None:
        if info.error.name == "MessageAbortedError":
            return Verdict("stopped", error="aborted")
        return Verdict("failed", error=str(info.error))
    if info.time.completed is None:
        return Verdict("running", doubt="OpenCode exited during the turn; the last message is incomplete")
    match info.finish:
        case "stop" | "other" | "unknown":
            return Verdict("completed")
        case "tool-calls" if any(map(was_rejected, reply.parts)):
            return Verdict("stopped", error="a rejected request ended the turn")
        case "tool-calls":
            return Verdict("running", doubt="OpenCode exited during the turn; the last tool's result was not used")
        case "length":
            return Verdict("failed", error="the answer was truncated at the model's output limit")
        case None if reply.parts and all(part.type != "step-start" for part in reply.parts):
            return Verdict("completed")  # a shell command of the user's: no model was asked
        case None:
            return Verdict("stopped", error="aborted before the model answered")
        case other:
            return Verdict("failed", error=f"the model ended with {other!r}")


def was_rejected(part: Part) -> bool:
    """Whether a tool call ended by rejection; only the error text shows it (1.18.33)."""
    said = part.state.error if part.state is not None else None
    return said is not None and ("user rejected" in said or "user dismissed" in said)
