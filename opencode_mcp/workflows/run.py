"""Run tasks to their report.

start -> known to run, or wait -> report
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio
from pydantic import BaseModel, ConfigDict, Field

from opencode_mcp.exceptions import OpenCodeError, WorkflowError

from .context import Context
from .report import TaskReport, build_report
from .start import StartTask, Turn, start
from .stop import abandon
from .wait import Outcome, settle, wait

RUN_SECONDS = 45.0
"""Clients give a call 60 s or more: this answers before."""

MAX_TASKS = 16


class RunTask(StartTask):
    """A task and how long to wait for it."""

    timeout_seconds: float = Field(RUN_SECONDS, ge=0, le=3600, description="0 returns as soon as it runs.")


class RunTasks(BaseModel):
    """Several tasks at once."""

    model_config = ConfigDict(extra="forbid")

    tasks: list[StartTask] = Field(
        min_length=1, max_length=MAX_TASKS, description="Each works in its own worktree unless `worktree` is false."
    )
    timeout_seconds: float = Field(RUN_SECONDS, ge=0, le=3600)


class TaskReports(BaseModel):
    """A report for each task, in their order."""

    tasks: list[TaskReport]


async def start_task(context: Context, arguments: StartTask) -> TaskReport:
    """Start a task; return once it is known to run (or is over already)."""
    async with begun(context, [arguments]) as [turn]:
        outcome = await known_to_run(context, turn)
        return await build_report(context, outcome.truth, outcome.verdict, note=turn.note)


async def run_task(context: Context, arguments: RunTask) -> TaskReport:
    """Start a task and wait for it; cancelled, it is stopped."""
    return (await run(context, [arguments], arguments.timeout_seconds))[0]


async def run_tasks(context: Context, arguments: RunTasks) -> TaskReports:
    """Start several tasks and wait for all of them; cancelled, they are stopped."""
    tasks = [one.model_copy(update={"worktree": wants_worktree(one)}) for one in arguments.tasks]
    refuse_two_writers(tasks)
    return TaskReports(tasks=await run(context, tasks, arguments.timeout_seconds))


async def run(context: Context, tasks: Sequence[StartTask], seconds: float) -> list[TaskReport]:
    """Start tasks and wait for all of them; the time that starting takes counts."""
    deadline = anyio.current_time() + seconds
    async with begun(context, tasks) as turns:
        outcomes = await wait(context, {turn.session_id: turn.after for turn in turns}, "all", deadline)
        each = [(turn, outcomes[turn.session_id]) for turn in turns]
        return [
            await build_report(context, one.truth, one.verdict, note=turn.note, among=len(each)) for turn, one in each
        ]


@asynccontextmanager
async def begun(context: Context, tasks: Sequence[StartTask]) -> AsyncGenerator[list[Turn]]:
    """Provide tasks that were started; cancelled, or when one of them cannot be started, they are stopped.

    The second half of a call that asked the user goes on with the tasks that the first has started.
    """
    # The stream of events opens while the tasks are started: nobody has to wait for it then.
    with context.opencode.events.heard_by(lambda event: None):
        turns: list[Turn] = []
        try:
            if context.resumed is not None:
                turns = [
                    Turn(session_id=session_id, after=after) for session_id, after in context.resumed["turns"].items()
                ]
            else:
                for task in tasks:
                    turns.append(await start(context, task))
        except OpenCodeError as error:
            if not turns:
                raise
            await abandon_all(context, turns)
            raise WorkflowError(
                f"task {len(turns) + 1} cannot start, so those before it were stopped: {error}"
            ) from error
        except anyio.get_cancelled_exc_class():
            await abandon_all(context, turns)
            raise
        try:
            yield turns
        except anyio.get_cancelled_exc_class():
            await abandon_all(context, turns)
            raise


async def known_to_run(context: Context, turn: Turn) -> Outcome:
    """Wait until a prompt that was accepted is seen to run, or to be over: a 204 says neither.

    Raises:
        WorkflowError: it never ran.
    """
    outcome = await settle(context, turn.session_id, turn.after, deadline=0)
    if outcome.verdict.doubt is not None:
        raise WorkflowError(f"the task never ran: {outcome.verdict.error}", turn.session_id)
    return outcome


def wants_worktree(task: StartTask) -> bool:
    """Of several tasks each has its worktree, unless it goes on with a session or says otherwise."""
    return task.session_id is None and (task.worktree or "worktree" not in task.model_fields_set)


def refuse_two_writers(tasks: list[StartTask]) -> None:
    """Refuse tasks that would write into the same files at once.

    Raises:
        WorkflowError: two tasks share a directory or a session; nothing was started.
    """
    places = [one.session_id or f"directory {one.directory or ''}" for one in tasks if not one.worktree]
    if len(set(places)) < len(places):
        raise WorkflowError("two tasks would work in the same directory: give each a worktree or a directory")


async def abandon_all(context: Context, turns: Sequence[Turn]) -> None:
    """Stop tasks whose caller has gone."""
    with anyio.CancelScope(shield=True):
        async with anyio.create_task_group() as group:
            for turn in turns:
                group.start_soon(abandon, context, turn.session_id, turn.after)
