"""Reply to permission requests and questions: by the task's policy, by elicitation, or by a tool call; then verify."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Self

import anyio
from pydantic import ConfigDict, Field, model_validator

from opencode_mcp.exceptions import APIError, LimitReached, OpenCodeError, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.concurrency import first_completed
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.form_answers import fill_form
from opencode_mcp.opencode.forms import FormRequest
from opencode_mcp.opencode.models import AgentRequest, PermissionRequest, QuestionRequest, Session

from .arguments import WAIT_SECONDS, Arguments
from .context import Context, Decision, PermissionReply, Undecided
from .metadata import Permissions, task_metadata
from .session_state import SessionSnapshot, read_session, read_snapshot, refuse_without_messages

REPLY_SECONDS = 10.0
"""How long OpenCode may still list a request after it was answered."""
SEARCHED_SESSIONS = 30
"""How many of the project's newest sessions are searched for a request that is given without its session."""


TaskSession = Annotated[str | None, Field(pattern="^ses", description="The task's session; optional in this project.")]
WaitSeconds = Annotated[float, Field(ge=0, le=3600, description="How long to wait then; default 45.")]


class AnswerPermission(Arguments):
    """Arguments of answer_permission."""

    request_id: str = Field(pattern="^per", description="per_…, from a report's `pending`.")
    reply: PermissionReply = Field(
        description="once: this call; always: also all like it, in every session of the project until OpenCode exits; "
        "reject: not done."
    )
    message: str = Field("", description="With reject: what to do instead; without it the turn ends.")
    session_id: TaskSession = None
    timeout_seconds: WaitSeconds = WAIT_SECONDS


class AnswerQuestion(Arguments):
    """Arguments of answer_question."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"request_id": "que…", "answers": [["<label>"]]}]})

    request_id: str = Field(pattern="^que", description="que_…, from a report's `pending`.")
    answers: list[list[str]] | None = Field(
        None, description='A list per question, of chosen labels or free text: [["Blue"]].'
    )
    reject: bool = Field(False, description="Reject the questions instead: ends the turn.")
    session_id: TaskSession = None
    timeout_seconds: WaitSeconds = WAIT_SECONDS

    @model_validator(mode="after")
    def require_decision(self) -> Self:
        """Require the answers or the rejection, as a forgotten argument must not reject.

        Raises:
            ValueError: neither is given, or both are.
        """
        if self.answers and self.reject:
            raise ValueError("give either answers or reject")
        if not self.reject and not self.answers:
            raise ValueError("give answers, or reject: true to reject the questions")
        return self


class AnswerForm(AnswerQuestion):
    """Arguments of answer_question where OpenCode asks with forms."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"request_id": "frm_…", "answers": [["<label>"]]}]})

    request_id: str = Field(pattern="^frm_", description="frm_…, from a report's `pending`.")
    answers: list[list[str]] | None = Field(
        None, description='A list per question, of labels or text; [] leaves one out: [["Blue"], ["3"], []].'
    )
    reject: bool = Field(False, description="Reject the questions instead: ends the turn, unless there is a message.")
    message: str = Field("", description="With reject: what to do instead.")


@dataclass(frozen=True, slots=True)
class ReplyOutcome:
    """`answered`: the request is no longer pending. `note`: what the caller must know if it still is."""

    answered: bool
    note: str | None = None


def policy_of(context: Context, session: Session) -> Permissions:
    """Return what happens with a session's requests."""
    return task_metadata(session).permissions or context.default_permissions


def is_left_to_user(context: Context, snapshot: SessionSnapshot) -> bool:
    """Whether a session waits for an answer that the client's user can give."""
    return bool(snapshot.pending) and context.elicitor is not None and policy_of(context, snapshot.session) == "ask"


async def reply_by_policy(context: Context, snapshot: SessionSnapshot, deadline: float, state: Any) -> ReplyOutcome:
    """Answer the first pending request if the policy says so or the user can be asked."""
    request = snapshot.pending[0]
    match policy_of(context, snapshot.session):
        case "allow" if isinstance(request, PermissionRequest):
            decision = Decision(reply="once")
        case "reject":
            decision = Decision(reply="reject")
        case "ask" if context.elicitor is not None:
            decision = await ask_user(context, snapshot, deadline, state)
            if isinstance(decision, Undecided):
                return ReplyOutcome(
                    not await task_waits_for(context.opencode, snapshot.session.id, request), decision.note
                )
        case _:
            return ReplyOutcome(False)
    await send_unless_answered(context.opencode, snapshot.session.directory, request, decision)
    await wait_until_gone(context.opencode, snapshot.session.directory, request)
    return ReplyOutcome(True)


async def ask_user(context: Context, snapshot: SessionSnapshot, deadline: float, state: Any) -> Decision | Undecided:
    """Elicit a decision; ends when the user decides, at the deadline, or when the request is no longer pending."""
    assert context.elicitor is not None
    request = snapshot.pending[0]
    decision: Decision | Undecided = Undecided()

    async def answered_elsewhere() -> Undecided:
        with suppress(OpenCodeError):  # the next read of the session raises it again
            while await task_waits_for(context.opencode, snapshot.session.id, request):
                await anyio.sleep(1)
        return Undecided()

    with anyio.CancelScope(deadline=deadline):
        decision = await first_completed(partial(context.elicitor.elicit, request, state), answered_elsewhere)
    return decision


async def send_unless_answered(
    opencode: OpenCodeClient, directory: str, request: AgentRequest, decision: Decision
) -> bool:
    """Send a decision; False if another client has answered the request already."""
    try:
        await send_reply(opencode, directory, request, decision)
    except APIError as error:
        if error.status != 404:
            raise
        return False
    return True


async def send_reply(opencode: OpenCodeClient, directory: str, request: AgentRequest, decision: Decision) -> None:
    """Send a decision to OpenCode, in the directory in which the request is known."""
    if isinstance(request, PermissionRequest):
        await engine_of(opencode).reply_to_permission(directory, request, decision.reply, decision.message)
    else:
        await engine_of(opencode).answer_question(directory, request, decision.answers, decision.message)


async def is_pending(opencode: OpenCodeClient, directory: str, request: AgentRequest) -> bool:
    """Whether a request still waits."""
    return any(pending.id == request.id for pending in await engine_of(opencode).list_requests(directory))


async def task_waits_for(opencode: OpenCodeClient, session_id: str, request: AgentRequest) -> bool:
    """Whether a task still waits for this request. An abort leaves it listed although nothing waits for it."""
    return any(pending.id == request.id for pending in (await read_snapshot(opencode, session_id)).pending)


async def wait_until_gone(opencode: OpenCodeClient, directory: str, request: AgentRequest) -> None:
    """Wait until OpenCode no longer lists a request that was answered.

    Raises:
        LimitReached: it still does, so the answer did not take.
    """
    deadline = anyio.current_time() + REPLY_SECONDS
    while await is_pending(opencode, directory, request):  # however long OpenCode takes to say so
        if anyio.current_time() > deadline:
            raise LimitReached(f"OpenCode still lists {request.id} as pending after the reply", request.session_id)
        await anyio.sleep(0.1)


async def find_request(opencode: OpenCodeClient, request_id: str, session_id: str | None) -> tuple[str, AgentRequest]:
    """Find a request and its directory. Requests are listed per directory; the session's is read, or those of the
    project's newest sessions. Those of other projects are not read, as OpenCode would load them.

    Raises:
        WorkflowError: no pending request has this id, or the session is of OpenCode's v2 API.
    """
    if session_id is not None:
        session = await read_session(opencode, session_id)
        directories = [session.directory]
    else:
        recent = await engine_of(opencode).list_recent_sessions(SEARCHED_SESSIONS)
        directories = [session.directory for session in recent if opencode.allowlist.allows(session.directory)]
    for directory in dict.fromkeys(directories):
        for request in await engine_of(opencode).list_requests(directory):
            if request.id == request_id:
                return directory, request
    if session_id is not None:
        await refuse_without_messages(opencode, session_id)
    raise WorkflowError(
        f"there is no pending request {request_id}: it was answered or rejected, its task has ended, or it belongs to "
        "another session: pass its session_id (report_task lists pending requests)",
        session_id,
    )


async def find_task_id(opencode: OpenCodeClient, request: AgentRequest, session_id: str | None) -> str:
    """Return the session of the task that a request is of: that of the asking subagent's, or of `session_id`.

    Raises:
        WorkflowError: OpenCode does not say which session the request is of, and `session_id` is None.
    """
    if isinstance(request, FormRequest) and request.has_no_session:
        if session_id is None:
            raise WorkflowError(
                f"{request.id} is of no session that OpenCode names: pass the session_id of the task that waits for it"
            )
        return await find_root_session_id(opencode, session_id)
    return await find_root_session_id(opencode, request.session_id)


async def find_root_session_id(opencode: OpenCodeClient, session_id: str) -> str:
    """Return the session that a subagent's session works for, or itself."""
    while True:
        session = await read_session(opencode, session_id)
        if session.parent_id is None:
            return session.id
        session_id = session.parent_id


def validate_answers(request: AgentRequest, arguments: AnswerQuestion) -> tuple[tuple[str, ...], ...] | None:
    """Return the checked answers; None rejects the questions.

    Raises:
        What `check_answers` raises.
    """
    assert isinstance(request, QuestionRequest)
    return None if arguments.reject else check_answers(request, arguments.answers or [])


def check_answers(request: QuestionRequest, answers: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """Check answers against the questions, of which OpenCode 1 takes any.

    Several answers to the only question are its labels: a flat list of labels becomes one answer each.

    Raises:
        WorkflowError: the number of answers is wrong, or which one is not an option.
    """
    if len(request.questions) == 1:
        answers = [[label for labels in answers for label in labels]]
    if len(answers) != len(request.questions):
        raise WorkflowError(f"{request.id} has {len(request.questions)} questions; got {len(answers)} answers")
    if isinstance(request, FormRequest):
        return fill_form(request, answers).texts
    for question, labels in zip(request.questions, answers, strict=True):
        options = [option.label for option in question.options]
        if not labels or (len(labels) > 1 and not question.multiple):
            raise WorkflowError(
                f"{question.question!r} takes {'one or more answers' if question.multiple else 'one answer'}"
            )
        if not question.custom and (unknown := [label for label in labels if label not in options]):
            raise WorkflowError(f"{question.question!r} has the options {', '.join(options)}; got {', '.join(unknown)}")
    return tuple(tuple(labels) for labels in answers)
