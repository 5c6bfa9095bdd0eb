"""Run tasks to their report.

start -> known to run, or wait -> report
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from opencode_mcp.exceptions import WorkflowError

from .arguments import Arguments
from .context import Context
from .report import TaskReport
from .several import wait_and_report
from .start import StartTask
from .starting import started_tasks

RUN_SECONDS = 45.0
"""Clients give a call 60 s or more: this answers before."""

START_SECONDS = 40.0
"""The time limit of start_task, for an OpenCode that has to be started first."""

MAX_TASKS = 16


class RunTask(StartTask):
    """A task and how long to wait for it."""

    timeout_seconds: float = Field(RUN_SECONDS, ge=0, le=3600, description="0 returns at once.")


class RunTasks(Arguments):
    """Several tasks at once."""

    tasks: list[StartTask] = Field(
        min_length=1, max_length=MAX_TASKS, description="Each runs in its own worktree unless `worktree` is false."
    )
    timeout_seconds: float = Field(RUN_SECONDS, ge=0, le=3600)


class TaskReports(BaseModel):
    """A report for each task, in their order."""

    tasks: list[TaskReport]


async def start_task(context: Context, arguments: StartTask) -> TaskReport:
    """Start a task; return once it is known to run (or is over already), or is being started for too long.

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
    """Start several tasks and wait for all of them, starting included; cancelled, they are stopped."""
    tasks = [task.model_copy(update={"worktree": wants_worktree(task)}) for task in arguments.tasks]
    refuse_shared_directory(tasks)
    async with started_tasks(context, tasks) as starts:
        return TaskReports(tasks=await wait_and_report(context, starts, "all", arguments.timeout_seconds))


def wants_worktree(task: StartTask) -> bool:
    """Of several tasks each has its worktree, unless it goes on with a session or says otherwise."""
    return task.session_id is None and (task.worktree or "worktree" not in task.model_fields_set)


def refuse_shared_directory(tasks: list[StartTask]) -> None:
    """Refuse tasks that would write into the same files at once.

    Raises:
        WorkflowError: two tasks share a directory or a session; nothing was started.
    """
    targets = [task.session_id or f"directory {task.directory or ''}" for task in tasks if not task.worktree]
    if len(set(targets)) < len(targets):
        raise WorkflowError("two tasks would run in the same directory: give each a worktree or its own directory")
