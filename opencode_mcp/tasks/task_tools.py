"""The task tools that start, run, await and report tasks.

start -> known to run, or wait -> report
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import anyio
from pydantic import BaseModel, Field, WithJsonSchema

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode.deadline import time_limit

from .arguments import WAIT_SECONDS, Arguments
from .context import Context
from .options import ModelName, StartTask, StartTaskOfSeveral
from .pending_starts import find_start, started_tasks
from .per_model import check_models, tasks_for_models
from .prompt import SentPrompt
from .report import TaskReport, build_report
from .wait import wait_until_settled
from .wait_and_report import START_SECONDS, report_now, start_seconds, wait_and_report, wait_and_report_each

MAX_TASKS = 16


class RunTask(StartTask):
    """A task and how long to wait for it."""

    timeout_seconds: float = Field(
        WAIT_SECONDS,
        ge=0,
        le=3600,
        description="How long to wait; default 45. 0: return at once. "
        "With MCP Tasks, the call becomes a task after 8 s.",
    )


class RunTasks(Arguments):
    """Several tasks at once."""

    tasks: list[StartTaskOfSeveral] = Field(
        min_length=1,
        max_length=MAX_TASKS,
        description="1 to 16, with run_task's arguments but timeout_seconds. `worktree` is true unless you set it or "
        "session_id.",
    )
    models: list[ModelName] = Field(
        default_factory=list[str],
        max_length=MAX_TASKS,
        description="Run the one task with each (provider/model), to compare.",
    )
    timeout_seconds: float = Field(
        WAIT_SECONDS, ge=0, le=3600, description="Starting included; default 45. They run on."
    )


class TaskReports(BaseModel):
    """A report for each task, in their order. Their fields are in the output schema of report_task."""

    tasks: Annotated[list[TaskReport], WithJsonSchema({"type": "array", "items": {"type": "object"}})]


class WaitedTasks(TaskReports):
    """The reports of the tasks, without those that have an error."""

    errors: dict[str, str] = Field({}, description="By session id, if any.")


async def start_task(context: Context, arguments: StartTask) -> TaskReport:
    """Start a task; return once it runs or has finished, or after START_SECONDS.

    Raises:
        WorkflowError: it never ran.
    """
    async with started_tasks(context, [arguments]) as starts:
        [report] = await wait_and_report(context, starts, "any", START_SECONDS, until_end=False)
    return report


async def run_task(context: Context, arguments: RunTask) -> TaskReport:
    """Start a task and wait for it; cancelled, it is stopped."""
    async with started_tasks(context, [arguments]) as starts:
        [report] = await wait_and_report(context, starts, "all", arguments.timeout_seconds)
    return report


async def run_tasks(context: Context, arguments: RunTasks) -> TaskReports:
    """Start several tasks and wait for all of them, starting included; cancelled, they are stopped.

    With `models` nothing starts unless each of them can.
    """
    deadline = anyio.current_time() + arguments.timeout_seconds
    if arguments.models:
        tasks = tasks_for_models(arguments.tasks, arguments.models)
        if context.resume_state is None:
            with time_limit(start_seconds(context, arguments.timeout_seconds)):
                await check_models(context.opencode, tasks)
    else:
        tasks = [task.model_copy(update={"worktree": wants_worktree(task)}) for task in arguments.tasks]
        refuse_shared_directory(tasks)
    async with started_tasks(context, tasks) as starts:
        seconds = max(0.0, deadline - anyio.current_time())
        return TaskReports(tasks=await wait_and_report(context, starts, "all", seconds))


def wants_worktree(task: StartTask) -> bool:
    """Of several tasks each has its worktree, unless it continues a session or sets `worktree`."""
    return task.session_id is None and (task.worktree or "worktree" not in task.model_fields_set)


def refuse_shared_directory(tasks: Sequence[StartTask]) -> None:
    """Refuse tasks that would write into the same files at once.

    Raises:
        WorkflowError: two tasks share a directory or a session; nothing was started.
    """
    targets = [task.session_id or f"directory {task.directory or ''}" for task in tasks if not task.worktree]
    if len(set(targets)) < len(targets):
        raise WorkflowError("two tasks would run in the same directory: give each a worktree or its own directory")


class WaitForTasks(Arguments):
    """Arguments of wait_for_tasks."""

    session_ids: list[str] = Field(min_length=1, max_length=50, description="1 to 50, from reports or session_list.")
    until: Literal["any", "all"] = Field("any", description="any (default): for the first; all: for every one.")
    timeout_seconds: float = Field(WAIT_SECONDS, ge=0, le=3600, description="Default 45.")


class ReportTask(Arguments):
    """Arguments of report_task."""

    session_id: str = Field(pattern="^ses", description="From a report or session_list.")
    answer_offset: int = Field(0, ge=0, description="Characters of a long answer to skip.")


async def wait_for_tasks(context: Context, arguments: WaitForTasks) -> WaitedTasks:
    """Wait for tasks, started by any client; cancelling the wait does not stop them.

    Raises:
        OpenCodeError: no task can be waited for.
    """
    starts = [
        find_start(context, SentPrompt(session_id=session_id)) for session_id in dict.fromkeys(arguments.session_ids)
    ]
    reports, errors = await wait_and_report_each(context, starts, arguments.until, arguments.timeout_seconds)
    return WaitedTasks(tasks=reports, errors=errors)


async def report_task(context: Context, arguments: ReportTask) -> TaskReport:
    """Report a task now; within 20 s, even if OpenCode does not answer."""

    async def build() -> TaskReport:
        outcome = await wait_until_settled(context, arguments.session_id, None, deadline=0)
        return await build_report(context, outcome.snapshot, outcome.status, arguments.answer_offset)

    return await report_now(context, arguments.session_id, build)
