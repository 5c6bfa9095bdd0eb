"""A client of MCP Tasks that speaks JSON-RPC itself: what it sends and gets is what stands on the wire."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import anyio
import mcp_types as types
from mcp.shared.message import SessionMessage

from opencode_mcp.opencode.concurrency import background_task_group

EXTENSION = "io.modelcontextprotocol/tasks"
ENDED = {"completed", "cancelled", "failed"}
FORMS: Mapping[str, Any] = {"elicitation": {"form": {}}}
TASKS: Mapping[str, Any] = {"extensions": {EXTENSION: {}}}


def meta(capabilities: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `_meta` of a request of 2026-07-28."""
    return {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": dict(capabilities),
    }


class TaskClient:
    """Sends requests, several at once; an error of the protocol is a result with its `code`."""

    def __init__(self, read: Any, write: Any, capabilities: Mapping[str, Any]) -> None:
        self.capabilities = capabilities
        self._read, self._write = read, write
        self._numbers = count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._answered = anyio.Event()

    async def receive(self) -> None:
        """Receive answers until cancelled."""
        async for item in self._read:
            assert isinstance(item, SessionMessage), item
            match item.message:
                case types.JSONRPCResponse(id=int(number), result=result):
                    self._answers[number] = result
                case types.JSONRPCError(id=int(number), error=error):
                    self._answers[number] = error.model_dump(mode="json", exclude_none=True)
                case _:
                    continue
            self._answered.set()
            self._answered = anyio.Event()

    async def send(self, method: str, **params: Any) -> int:
        """Send a request, and return its number."""
        number = next(self._numbers)
        fields = {**params, "_meta": meta(self.capabilities)}
        request = types.JSONRPCRequest(jsonrpc="2.0", id=number, method=method, params=fields)
        await self._write.send(SessionMessage(request))
        return number

    async def cancel_request(self, number: int) -> None:
        """Cancel a request."""
        params = {"requestId": number, "_meta": meta(self.capabilities)}
        message = types.JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params=params)
        await self._write.send(SessionMessage(message))

    async def request(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request and return its result, or its error."""
        number = await self.send(method, **params)
        with anyio.fail_after(60):
            while number not in self._answers:
                await self._answered.wait()
        return self._answers.pop(number)

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool."""
        return await self.request("tools/call", name=tool, arguments=arguments)

    async def start(self, tool: str, **arguments: Any) -> str:
        """Call a tool that becomes a task, and return the task's id."""
        handle = await self.call(tool, **arguments)
        assert handle["resultType"] == "task", handle
        return handle["taskId"]

    async def get(self, task_id: str) -> dict[str, Any]:
        """Ask for a task."""
        return await self.request("tasks/get", taskId=task_id)

    async def wait(self, task_id: str, *statuses: str) -> dict[str, Any]:
        """Ask for a task until it has ended, or has one of these statuses."""
        with anyio.fail_after(60):
            while (state := await self.get(task_id))["status"] not in {*(statuses or ENDED)}:
                await anyio.sleep(0.1)
        return state


@asynccontextmanager
async def open_task_client(
    streams: tuple[Any, Any], capabilities: Mapping[str, Any] = {**TASKS, **FORMS}
) -> AsyncGenerator[TaskClient]:
    """Provide a client for the streams to a bridge."""
    client = TaskClient(*streams, capabilities)
    async with background_task_group() as tasks:
        tasks.start_soon(client.receive)
        yield client


def report_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report that a completed task has for a result, by its text."""
    assert state["status"] == "completed", state
    return json.loads(state["result"]["content"][0]["text"])
