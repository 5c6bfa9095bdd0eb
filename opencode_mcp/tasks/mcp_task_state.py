"""The state of an MCP task, read from OpenCode as reports are.

handle -> outcome of each turn -> TaskView: working, input required, or completed with the result of the call

A turn ends once: a later prompt in its session does not change its outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import anyio
from pydantic import BaseModel

from opencode_mcp.exceptions import (
    APIError,
    InvalidArguments,
    LimitReached,
    OpenCodeError,
    UnsupportedServer,
    WorkflowError,
)
from opencode_mcp.opencode import Answer
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.deadline import DEFAULT_LIMIT_SECONDS, time_limit
from opencode_mcp.opencode.models import AgentRequest

from .blocking import blocked_error, read_answer
from .context import Context
from .continue_as_task import classify_turns, describe_outcomes, waits_for_user
from .mcp_task_handle import TaskHandle, Turn
from .metadata import save_task_metadata, task_metadata
from .queued_turns import Outcome
from .registry import TASK_TOOLS
from .report import TaskReport
from .session_state import SessionSnapshot
from .stop import abandon
from .task_tools import WaitedTasks
from .turn_outcome import outcome_of_turn
from .wait import wait_and_reply
from .wait_and_report import build_outcome_report

TaskValue = BaseModel | Answer | str
"""What a result is made of: a report, the response of an operation, or an error."""


@dataclass(frozen=True, slots=True)
class TaskView:
    """An MCP task at one moment. `requests` are those that it waits for, with the snapshot of their session."""

    status: Literal["working", "input_required", "completed", "cancelled"]
    activity: str = ""
    requests: tuple[tuple[AgentRequest, SessionSnapshot], ...] = ()
    value: TaskValue | None = None


@dataclass(frozen=True, slots=True)
class ReadTurns:
    """The outcomes of a task's turns; an error stands for a turn that can no longer be read."""

    handle: TaskHandle
    outcomes: Mapping[Turn, Outcome | OpenCodeError]

    @property
    def read(self) -> dict[Turn, Outcome]:
        """Those that could be read."""
        return {turn: outcome for turn, outcome in self.outcomes.items() if isinstance(outcome, Outcome)}

    @property
    def unfinished(self) -> list[Turn]:
        """Those that have not ended."""
        return [turn for turn, outcome in self.read.items() if not outcome.status.finished]

    @property
    def was_cancelled(self) -> bool:
        """Whether tasks/cancel was called for the task."""
        first = self.outcomes[self.handle.turns[0]]
        if not isinstance(first, Outcome):
            return False
        return self.handle.turns[0].message_id in (task_metadata(first.snapshot.session).cancelled or ())


async def read_turns(context: Context, handle: TaskHandle) -> ReadTurns:
    """Read the outcomes of all turns, and answer what waits by the tasks' policies.

    Raises:
        OpenCodeError: OpenCode does not answer.
    """
    outcomes: dict[Turn, Outcome | OpenCodeError] = {}

    async def read(turn: Turn) -> None:
        try:
            outcomes[turn] = await read_outcome(replace(context, elicitor=None), turn)
        except OpenCodeError as error:
            if not is_final(error):
                raise
            outcomes[turn] = error

    with time_limit(DEFAULT_LIMIT_SECONDS):
        await gather(*(partial(read, turn) for turn in handle.turns))
    return ReadTurns(handle, outcomes)


def is_final(error: OpenCodeError) -> bool:
    """Whether an error will not pass: the session or the turn is gone, or this server may not read it."""
    match error:
        case APIError():
            return error.status == 404
        case LimitReached():
            return False
        case _:
            return isinstance(error, InvalidArguments | UnsupportedServer | WorkflowError)


async def read_outcome(context: Context, turn: Turn) -> Outcome:
    """Read the outcome of a turn now.

    Raises:
        WorkflowError: the session no longer has the turn.
        OpenCodeError: the session is unknown, or OpenCode cannot be reached.
    """
    outcome = await wait_and_reply(
        context, turn.session_id, None, anyio.current_time(), {}, prompt_id=turn.message_id or None
    )
    async with context.for_session(turn.session_id) as session_context:
        return await outcome_of_turn(session_context.opencode, outcome, turn.message_id)


async def view_task(
    context: Context, turns: ReadTurns, declined: Mapping[str, str], notes: Mapping[str, str]
) -> TaskView:
    """Return the view of a task; its value, where it is completed, has what `tools/call` would have returned.

    `declined` has notes about requests that the user has left to the model, by their id; `notes` are those of
    the call, by session id.

    Raises:
        OpenCodeError: OpenCode does not answer.
    """
    handle, outcomes = turns.handle, [*turns.read.values()]
    if turns.was_cancelled:
        if any(not outcome.status.finished for outcome in outcomes):
            return TaskView("working", "stopping")
        if any(was_stopped(outcome) for outcome in outcomes):
            return TaskView("cancelled", "stopped")
    status = classify_turns(context, outcomes, handle.until, declined) if outcomes else "completed"
    if status == "completed":
        return TaskView(status, value=await build_value(context, turns, {**declined, **notes}))
    waiting = [outcome for outcome in outcomes if waits_for_user(context, outcome, declined)]
    requests = [(request, outcome.snapshot) for outcome in waiting for request in outcome.snapshot.pending]
    return TaskView(status, describe_outcomes(outcomes), tuple(requests))


def was_stopped(outcome: Outcome) -> bool:
    """Whether a turn was aborted: between two steps an abort leaves no trace but a turn that does not go on."""
    return outcome.status.state == "stopped" or outcome.status.stalled_reason is not None


async def build_value(context: Context, turns: ReadTurns, notes: Mapping[str, str]) -> TaskValue:
    """Return what the result of a completed task is made of; `notes` are those on sessions and requests, by their id.

    Raises:
        OpenCodeError: OpenCode does not answer.
    """
    handle = turns.handle
    if handle.tool not in TASK_TOOLS:
        return await build_answer(context, turns, handle)
    reports: dict[Turn, TaskReport] = {}
    errors = {turn.session_id: str(error) for turn, error in turns.outcomes.items() if isinstance(error, OpenCodeError)}

    async def build(turn: Turn, outcome: Outcome) -> None:
        subjects = [turn.session_id, *(request.id for request in outcome.snapshot.pending)]
        note = " ".join(text for subject in subjects if (text := notes.get(subject)))
        # An older report, as a call returns it where OpenCode does not answer, must not end the task.
        reports[turn] = await build_outcome_report(context, outcome, note or None, len(handle.turns))

    await gather(*(partial(build, turn, outcome) for turn, outcome in turns.read.items()))
    if not reports:
        return "\n".join(dict.fromkeys(errors.values()))
    if TASK_TOOLS[handle.tool].output is TaskReport:
        return reports[handle.turns[0]]
    return WaitedTasks(tasks=[reports[turn] for turn in handle.turns if turn in reports], errors=errors)


async def build_answer(context: Context, turns: ReadTurns, handle: TaskHandle) -> Answer | str:
    """Return the response that a blocking operation would have had, or why there is none.

    Raises:
        OpenCodeError: OpenCode does not answer.
    """
    [outcome] = turns.outcomes.values()
    if isinstance(outcome, OpenCodeError):
        return str(outcome)
    if outcome.snapshot.pending:
        return str(blocked_error(outcome.snapshot, outcome.status.note))
    async with context.for_session(handle.turns[0].session_id) as session_context:
        return await read_answer(session_context, handle.tool, outcome)


async def stop_turns(context: Context, turns: ReadTurns) -> None:
    """Mark a task as cancelled, and stop its turns that have not ended, with their subagents; errors are suppressed."""
    first = turns.handle.turns[0]
    with suppress(OpenCodeError):  # the mark is lost; the turns are stopped nevertheless
        async with context.for_session(first.session_id) as session_context:
            opencode, outcome = session_context.opencode, turns.outcomes[first]
            known = task_metadata(outcome.snapshot.session).cancelled or [] if isinstance(outcome, Outcome) else []
            cancelled = [*dict.fromkeys([*known, first.message_id])]
            await save_task_metadata(opencode, first.session_id, cancelled=cancelled)
    async with anyio.create_task_group() as group:
        for turn in turns.unfinished:
            group.start_soon(abandon, context, turn.session_id, None, turn.message_id or None)
