"""The MCP extension `io.modelcontextprotocol/tasks` of 2026-07-28: a call runs on, and the client polls its state.

tools/call -> a handle; tasks/get -> state, requests to the user, result; tasks/update answers; tasks/cancel stops

The SDK (mcp 2.3) passes the shapes through and checks neither the capability nor the Mcp-Name header. The tasks of
protocol 2025-11-25 have other shapes and are not served. `notifications/tasks` is not sent: the SDK's subscription
filter has no ids of tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import decode_header_value
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field

EXTENSION_ID = "io.modelcontextprotocol/tasks"
MISSING_CAPABILITY = -32021
WRONG_HEADER = -32020

Context = ServerRequestContext[Any, Any]
Status = Literal["working", "input_required", "completed", "cancelled", "failed"]


@dataclass(frozen=True)
class Task:
    """A task at one moment. Every text is redacted. `requests` are forms by key; the key of a form never changes.

    A completed task has the `result` of its call, a failed one a JSON-RPC `error`. `poll_ms` is when the client should
    poll again.
    """

    task_id: str
    status: Status
    created: datetime
    updated: datetime
    poll_ms: int
    message: str = ""
    requests: Mapping[str, types.ElicitRequestParams] = field(default_factory=dict[str, types.ElicitRequestParams])
    result: types.CallToolResult | None = None
    error: types.ErrorData | None = None

    def as_handle(self) -> dict[str, Any]:
        """Return what tools/call answers."""
        facts: dict[str, Any] = {
            "resultType": "task",
            "taskId": self.task_id,
            "status": self.status,
            "createdAt": format_time(self.created),
            "lastUpdatedAt": format_time(self.updated),
            "ttlMs": None,
            "pollIntervalMs": self.poll_ms,
        }
        return {**facts, "statusMessage": self.message} if self.message else facts

    def as_state(self) -> dict[str, Any]:
        """Return what tasks/get answers."""
        state = {**self.as_handle(), "resultType": "complete"}
        if self.status == "input_required":
            state["inputRequests"] = {
                key: dump(types.ElicitRequest(params=params)) for key, params in self.requests.items()
            }
        if self.status == "completed" and self.result is not None:
            state["result"] = dump(self.result)
        if self.status == "failed" and self.error is not None:
            state["error"] = dump(self.error)
        return state


class TaskSource(Protocol):
    """Reads, answers and stops tasks."""

    async def read(self, context: Context, task_id: str) -> Task:
        """Return a task.

        Raises:
            MCPError: INVALID_PARAMS, if this never was the handle of a task of the caller.
        """
        ...

    async def update(self, context: Context, task_id: str, responses: Mapping[str, Any]) -> None:
        """Take the user's answers, by key; those without a pending request are ignored.

        Raises:
            MCPError: as `read`.
        """
        ...

    async def cancel(self, context: Context, task_id: str) -> None:
        """Begin to stop a task, unless it has ended.

        Raises:
            MCPError: as `read`.
        """
        ...


class TaskParams(types.RequestParams):
    """Parameters of tasks/get and tasks/cancel. Without `task_id` the capability is checked first."""

    task_id: str = ""


class UpdateParams(TaskParams):
    """Parameters of tasks/update."""

    input_responses: dict[str, Any] = Field(default_factory=dict[str, Any])


def serve_tasks(server: Server[Any], get_source: Callable[[], TaskSource]) -> None:
    """Add the extension to a server; the first request calls `get_source`."""

    async def get(context: Context, params: TaskParams) -> dict[str, Any]:
        return (await get_source().read(context, check_request(context, params.task_id))).as_state()

    async def update(context: Context, params: UpdateParams) -> dict[str, Any]:
        await get_source().update(context, check_request(context, params.task_id), params.input_responses)
        return {}

    async def cancel(context: Context, params: TaskParams) -> dict[str, Any]:
        await get_source().cancel(context, check_request(context, params.task_id))
        return {}

    server.extensions = {**server.extensions, EXTENSION_ID: {}}
    server.add_request_handler("tasks/get", TaskParams, get)
    server.add_request_handler("tasks/update", UpdateParams, update)
    server.add_request_handler("tasks/cancel", TaskParams, cancel)


def has_tasks(context: Context) -> bool:
    """Whether the client of a request can take a task for a result."""
    capabilities = context.session.client_capabilities
    extensions = (capabilities.extensions if capabilities is not None else None) or {}
    return context.protocol_version in MODERN_PROTOCOL_VERSIONS and EXTENSION_ID in extensions


def require_tasks(context: Context) -> None:
    """Require the extension.

    Raises:
        MCPError: MISSING_CAPABILITY.
    """
    if not has_tasks(context):
        data: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION_ID: {}}}}
        raise MCPError(code=MISSING_CAPABILITY, message="The client has not declared MCP Tasks", data=data)


def require_extensions(context: Context) -> None:
    """Require a protocol version that has extensions; without them their methods do not exist.

    Raises:
        MCPError: METHOD_NOT_FOUND.
    """
    if context.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        raise MCPError(code=types.METHOD_NOT_FOUND, message="Method not found")


def check_request(context: Context, task_id: str) -> str:
    """Check a request for a task, and return its id.

    Raises:
        MCPError: the client is of an older protocol or has not declared the extension, or the header names another
            task.
    """
    require_extensions(context)
    require_tasks(context)
    if context.request is not None and decode_header_value(context.request.headers.get("mcp-name")) != task_id:
        raise MCPError(code=WRONG_HEADER, message="The header Mcp-Name is not the taskId")
    return task_id


def unknown_task() -> MCPError:
    """Return the error for what never was a handle of the caller."""
    return MCPError(code=types.INVALID_PARAMS, message="Unknown task")


def dump(model: types.CallToolResult | types.ElicitRequest | types.ErrorData) -> dict[str, Any]:
    """Return a model as it is sent."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def format_time(time: datetime) -> str:
    """Return a time in ISO 8601."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
