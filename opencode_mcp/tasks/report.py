"""A task's report: what a model or a person needs to know, and the next call to make.

For a task in a worktree it includes whether the worktree exists and has changes to collect.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, Field

from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.models import AgentRequest, PermissionRequest, Todo

from .changes import open_worktree_changes
from .context import Context
from .metadata import TaskMetadata, task_metadata
from .session_state import SessionSnapshot, TaskState, TaskStatus
from .transcript import summarize_parts
from .turn import describe_revert, elapsed_seconds, read_family_usage, read_turn
from .turn_changes import TurnChanges, read_summed_changes, read_turn_changes
from .workspace import describe_removal


class RequestSummary(BaseModel):
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
    """The state of a task, as just read from OpenCode."""

    session_id: str
    server: str | None = Field(None, description="Which server, if there are several.")
    directory: str
    state: TaskState
    answer: str = Field(description="The final text; only a part if answer_chars is larger.")
    answer_chars: int
    error: str | None
    pending: list[RequestSummary]
    activity: str
    todos: list[Todo]
    changes: TurnChanges
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
    context: Context,
    snapshot: SessionSnapshot,
    status: TaskStatus,
    answer_offset: int = 0,
    note: str | None = None,
    report_count: int = 1,
) -> TaskReport:
    """Read what the snapshot lacks and build the report; `report_count` reports share one result's size."""
    session_id, newest = snapshot.session.id, snapshot.newest_message
    answer = newest.text if newest and newest.info.role == "assistant" and status.finished else ""
    pending = [describe_request(request) for request in snapshot.pending]
    page = answer[answer_offset : answer_offset + context.answer_chars // report_count]
    rest = answer_offset + len(page) if answer_offset + len(page) < len(answer) else None
    async with context.for_session(session_id) as session_context:
        opencode = session_context.opencode
        todos, (changes, worktree), turn, family = await gather(
            partial(opencode.call_as, list[Todo], "session_todo", sessionID=session_id),
            partial(read_turn_and_worktree, opencode, snapshot),
            partial(read_turn, opencode, snapshot),
            partial(read_family_usage, opencode, snapshot),
        )
        return TaskReport(
            session_id=session_id,
            server=opencode.server.name,
            directory=snapshot.session.directory,
            state=status.state,
            answer=page,
            answer_chars=len(answer),
            error=status.error,
            pending=pending,
            activity=describe_activity(snapshot, in_other_process=status.note is not None),
            todos=todos,
            changes=changes,
            cost=snapshot.session.cost,
            tokens=snapshot.session.tokens.total,
            turn_cost=turn.usage.cost if turn else 0.0,
            turn_tokens=turn.usage.tokens if turn else 0,
            family_cost=family.cost,
            family_tokens=family.tokens,
            model=turn.model if turn else None,
            failed_calls=[*turn.failed_calls] if turn else [],
            elapsed_seconds=elapsed_seconds(turn, snapshot, over=status.finished),
            note=" ".join(text for text in (note, status.note, describe_revert(snapshot), worktree.note) if text)
            or None,
            next=next_call(session_id, status, pending, rest, to_collect=worktree.to_collect),
        )


def describe_request(request: AgentRequest) -> RequestSummary:
    """Say in one line what a request wants, and what can be answered."""
    if isinstance(request, PermissionRequest):
        subject = request.metadata.get("command") or ", ".join(request.patterns)
        return RequestSummary(
            id=request.id,
            kind="permission",
            session_id=request.session_id,
            wants=to_one_line(f"{request.permission}: {subject}"),
            options=["once", "always", "reject"],
        )
    return RequestSummary(
        id=request.id,
        kind="question",
        session_id=request.session_id,
        wants=to_one_line(" / ".join(question.question for question in request.questions)),
        options=[option.label for question in request.questions for option in question.options],
    )


def describe_activity(snapshot: SessionSnapshot, in_other_process: bool = False) -> str:
    """Say what a session does now: the retry that it waits for, what its newest message is about, or nothing.

    With `in_other_process` another process may be running it, so its newest message counts although it is idle here.
    """
    if not snapshot.busy and not in_other_process:
        return "nothing"
    for status in snapshot.statuses.values():
        if status.type == "retry":
            delay_seconds = max(0.0, status.next / 1000 - time.time())
            return to_one_line(f"retry {status.attempt} of the model in {delay_seconds:.0f} s: {status.message}")
    replying = snapshot.newest_message is not None and snapshot.newest_message.info.role == "assistant"
    activity_text = (
        summarize_parts(snapshot.newest_message.parts) if snapshot.newest_message and replying else ""
    ) or "waiting for the model"
    subagents = len(snapshot.statuses) - (snapshot.session.id in snapshot.statuses)
    return f"{activity_text} ({subagents} subagent{'s' * (subagents > 1)} running)" if subagents else activity_text


def next_call(
    session_id: str,
    status: TaskStatus,
    pending: list[RequestSummary],
    answer_offset: int | None,
    to_collect: bool = False,
) -> NextCall | None:
    """Return the next call: to answer, wait, read the rest of the answer, or collect the changes; None when done."""
    if pending:
        first = pending[0]
        reply = {"reply": "once | always | reject"} if first.kind == "permission" else {"answers": [["…"]]}
        return NextCall(
            tool=f"answer_{first.kind}",
            arguments={"request_id": first.id, "session_id": session_id, **reply},
        )
    if status.state == "running":
        return NextCall(tool="wait_for_tasks", arguments={"session_ids": [session_id]})
    if answer_offset is not None:
        return NextCall(tool="report_task", arguments={"session_id": session_id, "answer_offset": answer_offset})
    if to_collect:
        return NextCall(tool="collect_changes", arguments={"session_id": session_id, "apply": True})
    return None


def to_one_line(text: str, limit: int = 300) -> str:
    """Put a text on one line of limited length."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[:limit] + "…"


@dataclass(frozen=True)
class WorktreeReport:
    """`to_collect` is whether the worktree has changes that the project lacks; `note` is what else to report of it."""

    to_collect: bool = False
    note: str | None = None


async def read_turn_and_worktree(
    opencode: OpenCodeClient, snapshot: SessionSnapshot
) -> tuple[TurnChanges, WorktreeReport]:
    """Read what the newest turn changed and, for an idle task in a worktree, whether there are changes to collect.

    Where OpenCode does not know the turn's changes, those of the whole worktree are reported.
    """
    task = task_metadata(snapshot.session)
    if task.worktree_of is None:
        return await read_turn_changes(opencode, snapshot), WorktreeReport()
    if removal_note := await describe_removal(opencode, snapshot.session, task):
        return TurnChanges.from_files(await read_summed_changes(opencode, snapshot)), WorktreeReport(note=removal_note)
    changes = await read_turn_changes(opencode, snapshot)
    if snapshot.busy:
        return changes, WorktreeReport()
    try:
        return await read_with_worktree(opencode, snapshot, task, changes)
    except OpenCodeError as error:
        return changes, WorktreeReport(note=f"the worktree cannot be read: {error}")


async def read_with_worktree(
    opencode: OpenCodeClient, snapshot: SessionSnapshot, task: TaskMetadata, changes: TurnChanges
) -> tuple[TurnChanges, WorktreeReport]:
    """Read a worktree for its report, and for the turn's changes where these are unknown."""
    async with open_worktree_changes(opencode, snapshot.session, task) as worktree:
        files = await worktree.files()
        missing, note = worktree.missing, worktree.note if worktree.unmergeable else None
    if changes.unknown is not None:
        all_changes = TurnChanges.from_files(files)
        all_changes.unknown = f"{changes.unknown}; these are all changes in the worktree since it was created, from git"
        changes = all_changes
    return changes, WorktreeReport(bool(missing), note)
