"""A task's report: what a model or a person needs to know, and the next call to make.

For a task in a worktree it includes whether the worktree exists and has changes to collect.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, Field, WithJsonSchema

from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import Session, SessionStatus, Todo
from opencode_mcp.redaction import Redactor, end_of, to_one_line

from .answer_group import find_answers
from .changes import open_worktree_changes
from .check import CheckResult
from .context import Context
from .json_answer import JsonValue
from .metadata import TaskMetadata, task_metadata
from .next_call import NextCall, next_call
from .pending_requests import RequestSummary, describe_request
from .queued_turns import describe_queue
from .rules import describe_passed_limit
from .session_state import SessionSnapshot, TaskState, TaskStatus
from .transcript import summarize_parts
from .turn import (
    Usage,
    describe_other_model,
    describe_revert,
    describe_unanswered,
    elapsed_seconds,
    read_family_usage,
    read_turn,
)
from .turn_changes import TurnChanges, read_removed_changes, read_turn_changes
from .workspace import describe_removal

SO_FAR_CHARS = 500
"""How much of the text that a running task has written is reported: its end."""

COST_DIGITS = 6
NO_ACTIVITY = "nothing"

LONG_ANSWER = "The answer fits output_schema, and is too long for `structured`: `answer` has its text, page by page."


class TaskReport(BaseModel):
    """The state of a task, as just read from OpenCode. A field that has its default is left out of a result."""

    session_id: str
    state: TaskState
    error: str | None = None
    answer: str | None = Field(default=None, description="The final text; a part of it if there is answer_chars.")
    answer_chars: int | None = None
    answer_so_far: str | None = Field(default=None, description="The end of what is written so far.")
    structured: Annotated[JsonValue | None, WithJsonSchema({"x-unlisted": True})] = None
    note: str | None = None
    pending: list[RequestSummary] = []
    next: NextCall | None = Field(default=None, description="The call to make next.")
    check: Annotated[CheckResult | None, WithJsonSchema({"type": "object"})] = None
    changes: TurnChanges | None = Field(default=None, description="Of the turn; absent if none.")
    failed_calls: list[str] = Field(default=[], description="Tool calls that failed or were rejected.")
    activity: str = NO_ACTIVITY
    todos: list[Todo] = []
    directory: str
    server: str | None = None
    model: str | None = None
    variant: str | None = None
    agent: str | None = None
    tool_calls: dict[str, int] | None = Field(default=None, description="Of the turn, by tool.")
    elapsed_seconds: float = Field(default=0, description="Of the turn.")
    cost: float = Field(default=0, description="US dollars of the session.")
    tokens: int = 0
    turn_cost: float | None = Field(default=None, description="Of the newest turn, if not the same.")
    turn_tokens: int | None = None
    family_cost: float | None = Field(default=None, description="With subagents, if not the same.")
    family_tokens: int | None = None


async def build_report(
    context: Context,
    snapshot: SessionSnapshot,
    status: TaskStatus,
    answer_offset: int = 0,
    note: str | None = None,
    report_count: int = 1,
) -> TaskReport:
    """Read what the snapshot lacks and build the report; `report_count` reports share one result's size."""
    session_id = snapshot.session.id
    async with context.for_session(session_id) as session_context:
        opencode = session_context.opencode
        todos, (changes, worktree), turn, family_usage = await gather(
            partial(engine_of(opencode).list_todos, session_id),
            partial(read_turn_and_worktree, opencode, snapshot),
            partial(read_turn, opencode, snapshot),
            partial(read_family_usage, opencode, snapshot),
        )
    answer = AnswerPage.of(snapshot, status, answer_offset, context.answer_chars // report_count, context.redactor)
    notes = (
        note,
        status.note,
        answer.note,
        describe_queue(snapshot),
        describe_other_model(turn, snapshot.session),
        describe_unanswered(turn),
        describe_passed_limit(snapshot, status, turn),
        describe_revert(snapshot),
        worktree.note,
    )
    return TaskReport(
        session_id=session_id,
        state=status.state,
        error=status.error,
        answer=answer.text,
        answer_chars=answer.chars,
        structured=answer.value,
        answer_so_far=end_of(turn.text, SO_FAR_CHARS) if turn and not status.finished else None,
        note=" ".join(text for text in notes if text) or None,
        pending=[describe_request(request, session_id) for request in snapshot.pending],
        next=next_call(session_id, status, answer.next_offset, worktree.to_collect, worktree.answers),
        check=status.check,
        changes=changes if changes.files != 0 else None,
        failed_calls=[*turn.failed_calls] if turn else [],
        activity=status.activity or describe_activity(snapshot, in_other_process=status.note is not None),
        todos=todos,
        directory=snapshot.session.directory,
        server=opencode.server.name,
        model=next(iter(turn.models), None) if turn else None,
        variant=turn.variant if turn else None,
        agent=turn.agent if turn else None,
        tool_calls=dict(turn.tool_calls) if turn else None,
        elapsed_seconds=elapsed_seconds(turn, snapshot, over=status.finished),
        **usage_fields(snapshot.session, turn.usage if turn else None, family_usage),
    )


@dataclass(frozen=True)
class AnswerPage:
    """A page of a finished task's answer. `chars` is the length of the whole, None if the page is all of it.

    Without `text`, `value` is an answer that fits output_schema; `note` says why it is not here.
    """

    value: JsonValue | None = None
    note: str | None = None
    text: str | None = None
    chars: int | None = None
    next_offset: int | None = None

    @classmethod
    def of(
        cls, snapshot: SessionSnapshot, status: TaskStatus, offset: int, limit: int, redactor: Redactor
    ) -> AnswerPage:
        """Return the page at an offset; one without text for a task that runs, or that ended without an answer.

        A secret is in one page whole, so that `redactor` recognizes it: the page may be longer by its length.
        """
        newest, value = snapshot.newest_message, status.structured
        if value is not None and offset == 0 and len(json.dumps(value, ensure_ascii=False, indent=1)) <= limit:
            return cls(value)
        answer = newest.text if newest and newest.info.role == "assistant" and status.finished else ""
        start, end = (redactor.cut_position(answer, min(index, len(answer))) for index in (offset, offset + limit))
        page = answer[start:end]
        return cls(
            note=LONG_ANSWER if value is not None and offset == 0 else None,
            text=page if page or status.state == "completed" else None,
            chars=len(answer) if len(page) < len(answer) else None,
            next_offset=end if end < len(answer) else None,
        )


def usage_fields(session: Session, turn: Usage | None, family: Usage) -> dict[str, Any]:
    """Return what a session, its newest turn and its family have spent; None where it is the same as the session's."""
    cost, tokens = round(session.cost, COST_DIGITS), session.tokens.total
    spent: dict[str, Any] = {"cost": cost, "tokens": tokens}
    for name, usage in (("turn", turn), ("family", family)):
        if usage is not None and (usage_cost := round(usage.cost, COST_DIGITS)) != cost:
            spent[f"{name}_cost"] = usage_cost
        if usage is not None and usage.tokens != tokens:
            spent[f"{name}_tokens"] = usage.tokens
    return spent


def find_retry(snapshot: SessionSnapshot) -> SessionStatus | None:
    """Return the retry that a session or a descendant waits for."""
    newest = snapshot.newest_message
    if newest is not None and newest.info.retry is not None:
        return newest.info.retry
    return next((status for status in snapshot.statuses.values() if status.type == "retry"), None)


def describe_activity(snapshot: SessionSnapshot, in_other_process: bool = False) -> str:
    """Say what a session does now: the retry that it waits for, what its newest message is about, or nothing.

    With `in_other_process` another process may be running it, so its newest message counts although it is idle here.
    """
    if not snapshot.busy and not in_other_process:
        return NO_ACTIVITY
    if (status := find_retry(snapshot)) is not None:
        delay_seconds = max(0.0, status.next / 1000 - time.time())
        return to_one_line(f"retry {status.attempt} of the model in {delay_seconds:.0f} s: {status.message}")
    replying = snapshot.newest_message is not None and snapshot.newest_message.info.role == "assistant"
    activity_text = (
        summarize_parts(snapshot.newest_message.parts) if snapshot.newest_message and replying else ""
    ) or "waiting for the model"
    subagents = len(snapshot.statuses) - (snapshot.session.id in snapshot.statuses)
    return f"{activity_text} ({subagents} subagent{'s' * (subagents > 1)} running)" if subagents else activity_text


@dataclass(frozen=True)
class WorktreeReport:
    """`to_collect` is whether the worktree has changes that the project lacks; `note` is what else to report of it.

    `answers` are the sessions of an answer group, which are compared before one is applied.
    """

    to_collect: bool = False
    note: str | None = None
    answers: tuple[str, ...] = ()


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
        return await read_removed_changes(opencode, snapshot), WorktreeReport(note=removal_note)
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
    answers = await find_answers(opencode, task)
    return changes, WorktreeReport(bool(missing), note, tuple(session.id for session in answers))
