"""What the conformance suite's scenarios of MCP Tasks call: tasks in memory, served by the product's own extension."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import mcp_types as types

from opencode_mcp.server.lifespan import RequestContext
from opencode_mcp.server.mcp_tasks.extension import Context, Status, Task, require_tasks, unknown_task

from .fixture_tools import form_request, text_result

TaskTool = Callable[
    [RequestContext, types.CallToolRequestParams],
    Awaitable[types.CallToolResult | types.InputRequiredResult | dict[str, Any]],
]
FAILING_SECONDS = 1.0
POLL_MS = 100


@dataclass
class FixtureTask:
    """A task that ends at a time (seconds since the epoch), once its forms are answered, with a result or an error."""

    ends: float
    ending: types.CallToolResult | types.ErrorData
    forms: dict[str, types.ElicitRequestFormParams] = field(default_factory=dict[str, types.ElicitRequestFormParams])
    cancelled: bool = False
    id: str = field(default_factory=lambda: uuid4().hex)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def status(self) -> Status:
        """Its status now."""
        if self.cancelled:
            return "cancelled"
        if self.forms:
            return "input_required"
        if time.time() < self.ends:
            return "working"
        return "completed" if isinstance(self.ending, types.CallToolResult) else "failed"

    def view(self) -> Task:
        """Its state now."""
        task = Task(self.id, self.status, self.created, datetime.now(UTC), POLL_MS, requests={**self.forms})
        if isinstance(self.ending, types.CallToolResult):
            return replace(task, result=self.ending)
        return replace(task, error=self.ending)


@dataclass(frozen=True)
class FixtureTasks:
    """Every task of this process, by its id."""

    tasks: dict[str, FixtureTask] = field(default_factory=dict[str, FixtureTask])

    def find(self, task_id: str) -> FixtureTask:
        """Return a task.

        Raises:
            MCPError: there is none.
        """
        if task_id not in self.tasks:
            raise unknown_task()
        return self.tasks[task_id]

    def add(self, task: FixtureTask) -> dict[str, Any]:
        """Add a task, and return what its call answers."""
        self.tasks[task.id] = task
        return task.view().as_handle()

    async def read(self, context: Context, task_id: str) -> Task:
        """Return a task's state."""
        return self.find(task_id).view()

    async def update(self, context: Context, task_id: str, responses: Mapping[str, Any]) -> None:
        """Take answers to forms that are still open."""
        task = self.find(task_id)
        task.forms = {key: form for key, form in task.forms.items() if key not in responses}

    async def cancel(self, context: Context, task_id: str) -> None:
        """Cancel a task that has not ended."""
        task = self.find(task_id)
        task.cancelled |= task.status in {"working", "input_required"}


TASKS = FixtureTasks()


async def greet(context: RequestContext, params: types.CallToolRequestParams) -> types.CallToolResult:
    """Answer at once."""
    return text_result(f"Hello, {(params.arguments or {}).get('name')}!")


async def slow_compute(
    context: RequestContext, params: types.CallToolRequestParams
) -> types.CallToolResult | dict[str, Any]:
    """Take so many seconds; none is answered at once."""
    seconds, result = float((params.arguments or {}).get("seconds", 0)), text_result("computed")
    return TASKS.add(FixtureTask(time.time() + seconds, result)) if seconds else result


def end_with(ending: types.CallToolResult | types.ErrorData) -> TaskTool:
    """Return a tool that can only be a task, with this end."""

    async def fail(context: RequestContext, params: types.CallToolRequestParams) -> dict[str, Any]:
        require_tasks(context)
        return TASKS.add(FixtureTask(time.time() + FAILING_SECONDS, ending))

    return fail


def ask(*keys: str) -> TaskTool:
    """Return a tool whose task puts a form for each key."""

    async def ask_all(context: RequestContext, params: types.CallToolRequestParams) -> dict[str, Any]:
        return TASKS.add(FixtureTask(0, text_result("answered"), {key: form(context, key) for key in keys}))

    return ask_all


async def ask_before_task(
    context: RequestContext, params: types.CallToolRequestParams
) -> types.InputRequiredResult | dict[str, Any]:
    """Ask for a name in the call, and return the task whose result has it."""
    if not params.input_responses:
        request = form_request(context, "user_name", "What is your name?")
        return types.InputRequiredResult(input_requests={"user_name": request})
    return TASKS.add(FixtureTask(0, text_result(f"Hello, {params.input_responses['user_name']}")))


def form(context: RequestContext, key: str) -> types.ElicitRequestFormParams:
    """Return a form as our code makes it."""
    params = form_request(context, key, "Go on?").params
    assert isinstance(params, types.ElicitRequestFormParams)
    return params


TASK_HANDLERS: Mapping[str, TaskTool] = {
    "greet": greet,
    "slow_compute": slow_compute,
    "failing_job": end_with(text_result("It failed.").model_copy(update={"is_error": True})),
    "protocol_error_job": end_with(types.ErrorData(code=types.INTERNAL_ERROR, message="It broke.")),
    "confirm_delete": ask("confirm"),
    "multi_input": ask("first", "second"),
    "test_tool_with_task": ask_before_task,
}
