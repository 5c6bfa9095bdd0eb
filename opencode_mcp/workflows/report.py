"""A task's report: what a model or a person needs to know, and the call to make next."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, Field

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.background import gather
from opencode_mcp.opencode.models import AgentRequest, Message, PermissionRequest, Todo

from .activity import activity
from .collecting import turn_and_worktree
from .context import Context
from .truth import State, Truth, Verdict
from .turn import family_spent, read_turn, reverted, seconds
from .turn_changes import Changes


class PendingRequest(BaseModel):
    """Something that the task waits for. A subagent's request carries the subagent's session id."""

    id: str
    kind: Literal["permission", "question"]
    session_id: str = Field(description="The session that asks: a subagent's, if a subagent asks.")
    wants: str = Field(description="The request, in one line.")
    options: list[str]


class NextCall(BaseModel):
    """The call to make next."""

    tool: str
    arguments: dict[str, Any]


class TaskReport(BaseModel):
    """The state of a task, as just read from OpenCode. (in the output schema's description; stripped there)"""

    session_id: str
    server: str | None = Field(None, description="Which server, if there are several.")
    directory: str
    state: State
    answer: str = Field(description="The final text; only a part if answer_chars is larger.")
    answer_chars: int
    error: str | None
    pending: list[PendingRequest]
    activity: str
    todos: list[Todo]
    changes: Changes
    cost: float = Field(description="US dollars of the session, without subagents.")
    tokens: int
    turn_cost: float
    turn_tokens: int
    family_cost: float = Field(description="With subagents.")
    family_tokens: int
    model: str | None = Field(description="provider/model that answered.")
    failed_calls: list[str] = Field(description="Tool calls that failed or were rejected.")
    elapsed_seconds: float = Field(description="Of the turn.")
    note: str | None = None
    next: NextCall | None


async def build_report(
    context: Context, truth: Truth, verdict: Verdict, answer_offset: int = 0, note: str | None = None, among: int = 1
) -> TaskReport:
    """Read what the snapshot lacks and build the report; `report_count` reports share one result's size."""
    session_id, newest = truth.session.id, truth.newest
    answer = newest.text if newest and newest.info.role == "assistant" and verdict.over else ""
    pending = [describe(request) for request in truth.pending]
    page = answer[answer_offset : answer_offset + context.answer_chars // among]
    rest = answer_offset + len(page) if answer_offset + len(page) < len(answer) else None
    async with context.for_session(session_id) as there:
        opencode = there.opencode
        todos, (changes, worktree), turn, family = await gather(
            partial(opencode.call_as, list[Todo], "session_todo", sessionID=session_id),
            partial(turn_and_worktree, opencode, truth),
            partial(read_turn, opencode, truth),
            partial(family_spent, opencode, truth),
        )
        return TaskReport(
            session_id=session_id,
            server=opencode.server.name,
            directory=truth.session.directory,
            state=verdict.state,
            answer=page,
            answer_chars=len(answer),
            error=verdict.error,
            pending=pending,
            activity=doing(truth, elsewhere=verdict.note is not None),
            todos=todos,
            changes=changes,
            cost=truth.session.cost,
            tokens=truth.session.tokens.total,
            turn_cost=turn.spent.cost if turn else 0.0,
            turn_tokens=turn.spent.tokens if turn else 0,
            family_cost=family.cost,
            family_tokens=family.tokens,
            model=turn.model if turn else None,
            failed_calls=[*turn.failed_calls] if turn else [],
            elapsed_seconds=seconds(turn, truth, over=verdict.over),
            note=" ".join(text for text in (note, verdict.note, reverted(truth), worktree.note) if text) or None,
            next=next_call(session_id, verdict, pending, rest, to_collect=worktree.to_collect),
        )


def describe(request: AgentRequest) -> PendingRequest:
    """Say in one line what a request wants, and what can be answered."""
    if isinstance(request, PermissionRequest):
        subject = request.metadata.get("command") or ", ".join(request.patterns)
        return PendingRequest(
            id=request.id,
            kind="permission",
            session_id=request.session_id,
            wants=one_line(f"{request.permission}: {subject}"),
            options=["once", "always", "reject"],
        )
    return PendingRequest(
        id=request.id,
        kind="question",
        session_id=request.session_id,
        wants=one_line(" / ".join(question.question for question in request.questions)),
        options=[option.label for question in request.questions for option in question.options],
    )


def doing(truth: Truth, elsewhere: bool = False) -> str:
    """Say what a session does now: the retry that it waits for, what its newest message is about, or nothing.

    With `elsewhere` another process may be running it, so that its newest message says it as well.
    """
    if not truth.busy and not elsewhere:
        return "nothing"
    for status in truth.statuses.values():
        if status.type == "retry":
            seconds = max(0.0, status.next / 1000 - time.time())
            return one_line(f"retry {status.attempt} of the model in {seconds:.0f} s: {status.message}")
    replying = truth.newest is not None and truth.newest.info.role == "assistant"
    what = (activity(truth.newest.parts) if truth.newest and replying else "") or "waiting for the model"
    subagents = len(truth.statuses) - (truth.session.id in truth.statuses)
    return f"{what} ({subagents} subagent{'s' * (subagents > 1)} running)" if subagents else what


def next_call(
    session_id: str,
    verdict: Verdict,
    pending: list[PendingRequest],
    answer_offset: int | None,
    to_collect: bool = False,
) -> NextCall | None:
    """Return the call that brings the task on, or what it did to the project."""
    if pending:
        first = pending[0]
        reply = {"reply": "once | always | reject"} if first.kind == "permission" else {"answers": [["…"]]}
        return NextCall(
            tool=f"answer_{first.kind}",
            arguments={"request_id": first.id, "session_id": session_id, **reply},
        )
    if verdict.state == "running":
        return NextCall(tool="wait_for_tasks", arguments={"session_ids": [session_id]})
    if answer_offset is not None:
        return NextCall(tool="report_task", arguments={"session_id": session_id, "answer_offset": answer_offset})
    if to_collect:
        return NextCall(tool="collect_changes", arguments={"session_id": session_id, "apply": True})
    return None


def one_line(text: str, limit: int = 300) -> str:
    """Put a text on one line of limited length."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[:limit] + "…"


async def newest_messages(opencode: OpenCodeClient, session_id: str, limit: int) -> list[Message]:
    """Return a session's newest messages, oldest first."""
    return await opencode.call_as(list[Message], "session_messages", sessionID=session_id, limit=limit)
