"""A task's report: what a model or a person needs to know, and the call to make next."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, Field

from opencode_mcp.exceptions import APIError
from opencode_mcp.opencode import OpenCode
from opencode_mcp.opencode.background import at_once
from opencode_mcp.opencode.models import Message, PermissionRequest, Request, Todo

from .activity import activity
from .collecting import turn_and_worktree
from .context import Context
from .truth import State, Truth, Verdict
from .turn_changes import Changes


class PendingRequest(BaseModel):
    """Something that the task waits for. A subagent's request carries the subagent's session id."""

    id: str
    kind: Literal["permission", "question"]
    session_id: str
    wants: str = Field(description="What is asked, in one line.")
    options: list[str]


class NextCall(BaseModel):
    """The call to make next."""

    tool: str
    arguments: dict[str, Any]


class TaskReport(BaseModel):
    """The truth about a task at this moment."""

    session_id: str
    server: str | None = Field(None, description="Where it is, of several.")
    directory: str
    state: State
    answer: str = Field(description="The final text; a part of it when answer_chars is larger.")
    answer_chars: int
    error: str | None
    pending: list[PendingRequest]
    activity: str
    todos: list[Todo]
    changes: Changes
    cost: float = Field(description="US dollars, for the whole session.")
    tokens: int
    elapsed_seconds: float
    note: str | None = None
    next: NextCall | None


async def build_report(
    context: Context, truth: Truth, verdict: Verdict, answer_offset: int = 0, note: str | None = None, among: int = 1
) -> TaskReport:
    """Read what the truth does not hold yet, and put the report together; `among` share the room of one result."""
    session_id, newest = truth.session.id, truth.newest
    answer = newest.text if newest and newest.info.role == "assistant" and verdict.over else ""
    pending = [describe(request) for request in truth.pending]
    page = answer[answer_offset : answer_offset + context.answer_chars // among]
    end = answer_offset + len(page)
    async with context.at(session_id) as there:
        opencode = there.opencode
        todos, (changes, worktree), seconds = await at_once(
            partial(opencode.call_as, list[Todo], "session_todo", sessionID=session_id),
            partial(turn_and_worktree, opencode, truth),
            partial(elapsed, opencode, truth),
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
            tokens=int(truth.session.tokens.input + truth.session.tokens.output + truth.session.tokens.reasoning),
            elapsed_seconds=seconds,
            note=" ".join(said for said in (note, verdict.note, worktree.note) if said) or None,
            next=next_call(
                session_id, verdict, pending, end if end < len(answer) else None, to_collect=worktree.to_collect
            ),
        )


def describe(request: Request) -> PendingRequest:
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
    return f"{what} ({subagents} subagent{'s' * (subagents > 1)} at work)" if subagents else what


async def elapsed(opencode: OpenCode, truth: Truth) -> float:
    """Return how long the newest turn has taken, by the server's clock where it is over."""
    newest = truth.newest
    if newest is None:
        return 0.0
    prompt = newest
    if newest.info.role == "assistant":
        try:
            wanted = {"sessionID": truth.session.id, "messageID": newest.user_message_id}
            prompt = await opencode.call_as(Message, "session_message", **wanted)
        except APIError:  # the prompt was deleted meanwhile
            prompt = newest
    end = newest.info.time.completed if not truth.busy else None
    return round(max(0.0, (end or time.time() * 1000) - prompt.info.time.created) / 1000, 1)


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


async def newest_messages(opencode: OpenCode, session_id: str, limit: int) -> list[Message]:
    """Return a session's newest messages, oldest first."""
    return await opencode.call_as(list[Message], "session_messages", sessionID=session_id, limit=limit)
