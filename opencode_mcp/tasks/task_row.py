"""A task as a row of the list of tasks: what a person needs to see of it at a glance."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import AgentRequest, PermissionRequest, Session
from opencode_mcp.redaction import to_one_line

from .context import Context
from .current_state import CurrentState, read_current_state, read_elapsed
from .family import Family
from .metadata import AnswerGroup, TaskMetadata, readable_metadata
from .pending_requests import RequestSummary, describe_excess, describe_request
from .pending_starts import PendingStart
from .report import COST_DIGITS
from .session_state import TaskState
from .turn import format_model

ROW_CHARS = 16_000
"""How much of a command or a diff a row shows. Two of them fit into a result of the default length."""


class RowRequest(RequestSummary):
    """A request. `diff` is what an edit would change, as a patch; a longer one is counted in `wants`."""

    diff: str | None = None

    @classmethod
    def of(cls, request: AgentRequest, task_id: str) -> RowRequest:
        """Return a request of a task or of one of its subagents."""
        facts = describe_request(request, task_id, ROW_CHARS).model_dump()
        diff = request.metadata.get("diff") if isinstance(request, PermissionRequest) else None
        if isinstance(diff, str) and len(diff) > ROW_CHARS:
            facts["wants"] += describe_excess(len(diff))
        elif isinstance(diff, str):
            facts["diff"] = diff
        return cls.model_validate(facts)


class Subagent(BaseModel):
    """A session below a task's."""

    session_id: str
    title: str
    agent: str | None = None
    running: bool


class WorktreeFacts(BaseModel):
    """A task's worktree: its project, and what has become of it. `collected`: it was applied at least once."""

    project: str
    branch: str | None = None
    removed: str | None = None
    collected: bool = False


class TaskRow(BaseModel):
    """A task. `cost` (US dollars) and `tokens` are those of the whole family, `elapsed_seconds` of the newest turn.

    `created` and `updated` are milliseconds since the epoch; `updated` is the last change of any session of the family.
    """

    session_id: str
    title: str
    state: TaskState | Literal["idle", "unknown"]
    directory: str
    created: float
    updated: float
    agent: str | None = None
    model: str | None = None
    cost: float
    tokens: int
    elapsed_seconds: float
    activity: str | None = None
    error: str | None = None
    note: str | None = None
    pending: list[RowRequest]
    subagents: list[Subagent]
    worktree: WorktreeFacts | None = None
    answers: AnswerGroup | None = None
    queued: int = 0
    server: str | None = None

    @classmethod
    def of(cls, opencode: OpenCodeClient, family: Family) -> TaskRow:
        """Return what the list of sessions says of a task."""
        session, task = family.session, readable_metadata(family.session)
        return cls(
            session_id=session.id,
            title=session.title,
            state="idle",
            directory=session.directory,
            created=session.time.created,
            updated=family.updated,
            agent=session.agent,
            model=name_model(session),
            cost=round(family.cost, COST_DIGITS),
            tokens=family.tokens,
            elapsed_seconds=0.0,
            pending=[],
            subagents=[
                Subagent(session_id=child.id, title=child.title, agent=child.agent, running=False)
                for child in family.subagents
            ],
            worktree=describe_worktree(task),
            answers=task.answer_group,
            queued=len(family.queued),
            server=opencode.server.name,
        )

    def with_error(self, error: OpenCodeError) -> TaskRow:
        """Return the row of a task that cannot be read."""
        return self.model_copy(update={"state": "unknown", "error": to_one_line(str(error))})

    def with_start(self, start: PendingStart) -> TaskRow:
        """Return the row of a task whose prompt is not sent yet, or was not."""
        if start.failure is not None:
            return self.model_copy(update={"state": "failed", "error": f"the task was not started: {start.failure}"})
        return self.model_copy(update={"state": "starting", "activity": start.activity})

    def with_state(self, current: CurrentState, elapsed_seconds: float) -> TaskRow:
        """Return the row of a task whose state was read."""
        snapshot, status, reply = current.snapshot, current.status, current.last_reply
        subagents = [
            subagent.model_copy(update={"running": subagent.session_id in snapshot.statuses})
            for subagent in self.subagents
        ]
        facts: dict[str, Any] = {
            "state": current.state,
            "agent": (reply.info.agent if reply is not None else None) or self.agent,
            "model": (format_model(reply) if reply is not None else None) or self.model,
            "elapsed_seconds": elapsed_seconds,
            "activity": current.activity,
            "error": to_one_line(status.error) if status.error else None,
            "note": current.note or (status.stalled_reason if snapshot.newest_message is not None else None),
            "pending": [RowRequest.of(request, self.session_id) for request in snapshot.pending],
            "subagents": subagents,
        }
        return self.model_copy(update=facts)


async def read_row(
    context: Context, opencode: OpenCodeClient, family: Family, since: float, *, works: bool
) -> tuple[TaskRow, bool]:
    """Read the row of a task, and whether it may change without any change of its sessions.

    `since` and `works` are those of `read_current_state`.

    Raises:
        APIError: 404, the session was deleted.
        WorkflowError: it is a session of OpenCode's v2 API, whose state cannot be read.
        OpenCodeError: it cannot be read.
    """
    row = TaskRow.of(opencode, family)
    start: PendingStart | None = context.servers.pending_starts.get(family.session.id)
    if start is not None and not (start.finished.is_set() and start.failure is None):
        return row.with_start(start), True
    current = await read_current_state(opencode, family, since, works=works)
    if current.snapshot.newest_message is None and not current.is_open:
        await engine_of(opencode).refuse_unreadable(family.session.id)
    return row.with_state(current, await read_elapsed(opencode, current)), current.may_change


def name_model(session: Session) -> str | None:
    """Return the model of a session's last prompt, as `provider/model`."""
    model = session.model or {}
    return f"{model['providerID']}/{model['id']}" if {"providerID", "id"} <= model.keys() else None


def describe_worktree(task: TaskMetadata) -> WorktreeFacts | None:
    """Return what a session's metadata say of its worktree; None if it has none."""
    if task.worktree_of is None:
        return None
    return WorktreeFacts(
        project=task.worktree_of, branch=task.branch, removed=task.removed, collected=task.collected is not None
    )
