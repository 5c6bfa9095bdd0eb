"""A client with the MCP Tasks extension: a call that becomes a task is followed to its end, and then returned."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Literal

import anyio
import mcp_types as types
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.client.session import ClientSession
from mcp.shared.dispatcher import ProgressFnT
from pydantic import Field

EXTENSION = "io.modelcontextprotocol/tasks"
ENDED = {"completed", "failed", "cancelled"}
POLL_SECONDS = 0.1
CANCEL_SECONDS = 30.0

STATUS_CALLBACK: ContextVar[ProgressFnT | None] = ContextVar("STATUS_CALLBACK", default=None)
"""The progress callback of the call that is being made: it gets the task's status messages as well."""


class TaskHandle(types.Result):
    """The result of a call that became a task."""

    result_type: Literal["task"] = "task"
    task_id: str


class TaskState(types.Result):
    """The answer to a request about a task; only that to tasks/get has a status."""

    status: str = ""
    status_message: str | None = None
    input_requests: dict[str, types.ElicitRequest] = Field({})
    result: types.CallToolResult | None = None
    error: dict[str, Any] | None = None


class TaskParams(types.RequestParams):
    """The parameters of every request about a task."""

    task_id: str
    input_responses: dict[str, Any] | None = None


class TaskRequest(types.Request[TaskParams, str]):
    """A request about a task."""

    name_param = "taskId"


class TasksExtension(ClientExtension):
    """Follows tasks, and puts their forms to the client's user. `handles` has every task, oldest first."""

    identifier = EXTENSION

    def __init__(self) -> None:
        self.handles: list[str] = []

    def claims(self) -> list[ResultClaim[TaskHandle]]:
        """What becomes of a task."""
        return [ResultClaim(result_type="task", model=TaskHandle, resolve=self.follow)]

    async def follow(self, handle: TaskHandle, context: ClaimContext) -> types.CallToolResult:
        """Poll a task until it has ended, and return its result, or why there is none.

        A call that is cancelled cancels its task, and waits until that has ended.
        """
        self.handles.append(handle.task_id)
        session, callback = context.session, STATUS_CALLBACK.get()
        try:
            while True:
                state = await send_task_request(session, "tasks/get", handle.task_id)
                if state.status in ENDED:
                    return state.result or error_result(f"the task is {state.status}: {state.error}")
                if state.input_requests:
                    answers = await ask_user(session, state.input_requests)
                    await send_task_request(session, "tasks/update", handle.task_id, answers)
                if callback is not None:
                    await callback(0, None, state.status_message)
                await anyio.sleep(POLL_SECONDS)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True), anyio.fail_after(CANCEL_SECONDS):
                await send_task_request(session, "tasks/cancel", handle.task_id)
                while (await send_task_request(session, "tasks/get", handle.task_id)).status not in ENDED:
                    await anyio.sleep(POLL_SECONDS)
            raise


def error_result(text: str) -> types.CallToolResult:
    """Return the result of a call that failed."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)


async def ask_user(session: ClientSession, requests: Mapping[str, types.ElicitRequest]) -> dict[str, Any]:
    """Put forms to the user, one after the other, and return the answers.

    Raises:
        AssertionError: the client cannot ask.
    """
    answers: dict[str, Any] = {}
    for key, request in requests.items():
        answer = await session.dispatch_input_request(ClientRequestContext(session=session, request_id=key), request)
        assert isinstance(answer, types.ElicitResult), answer
        answers[key] = answer.model_dump(by_alias=True, mode="json", exclude_none=True)
    return answers


async def send_task_request(
    session: ClientSession, method: str, task_id: str, answers: dict[str, Any] | None = None
) -> TaskState:
    """Send a request about a task.

    Raises:
        MCPError: the server refuses it.
    """
    params = TaskParams(task_id=task_id, input_responses=answers)
    return await session.send_request(TaskRequest(method=method, params=params), TaskState)


class TaskClient(Client):
    """A client that takes tasks for an answer, except in the legacy era, which has none."""

    def __post_init__(self) -> None:
        """Add the extension."""
        self.extensions = [TasksExtension()]
        super().__post_init__()

    async def call_tool(self, *arguments: Any, progress_callback: ProgressFnT | None = None, **options: Any) -> Any:
        """Call a tool; of a task the callback gets the status messages."""
        token = STATUS_CALLBACK.set(progress_callback)
        try:
            return await super().call_tool(*arguments, progress_callback=progress_callback, **options)
        finally:
            STATUS_CALLBACK.reset(token)
