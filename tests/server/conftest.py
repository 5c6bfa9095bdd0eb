"""A client in each protocol era, and the ways in which OpenCode can be out of reach."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from anyio.abc import TaskGroup
from mcp import Client

from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.settings import Settings
from tests.conftest import Connect
from tests.facts import facts

CLIENT_MODES = ("legacy", "auto")
"""`mode` of `mcp.Client`: the handshake of 2025-11-25 and before, or 2026-07-28."""


@pytest.fixture(params=CLIENT_MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """The protocol era."""
    return request.param


@pytest.fixture
async def client(connect: Connect, mode: str) -> AsyncGenerator[Client]:
    """A client of the bridge; a test that takes it is run in both eras."""
    async with connect(mode=mode) as client:
        yield client


@pytest.fixture(params=["refuses", "is silent", "is not started"])
def unreachable_settings(request: pytest.FixtureRequest, project: Path) -> Generator[Settings]:
    """Settings for an OpenCode that refuses connections, never answers, or is for us to start and cannot be."""
    if request.param == "is not started":
        yield Settings(directory=str(project), command=("/nowhere/opencode",))
        return
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        if request.param == "refuses":
            listener.close()
            yield Settings(url="http://127.0.0.1:9", directory=str(project))
        else:
            yield Settings(url=f"http://127.0.0.1:{listener.getsockname()[1]}", directory=str(project))


async def call(client: Client, tool: str, **arguments: Any) -> Any:
    """Call a tool that succeeds, and return its answer."""
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    content = facts(answer)
    return content.get("result", content)


async def new_session(client: Client, **facts: Any) -> str:
    """Create a session and return its id."""
    return (await call(client, "session_create", **facts))["id"]


async def prompt(client: Client, session_id: str, text: str) -> None:
    """Prompt a session, and wait for the end of its turn."""
    await call(client, "session_prompt", sessionID=session_id, parts=[{"type": "text", "text": text}])


async def read(client: Client, uri: str) -> str:
    """Read a resource that is a text."""
    (content,) = (await client.read_resource(uri)).contents
    assert content.uri == uri
    return content.model_dump()["text"]


async def read_json(client: Client, uri: str) -> Any:
    """Read a resource that is JSON."""
    return json.loads(await read(client, uri))


@pytest.fixture
async def tasks() -> AsyncGenerator[TaskGroup]:
    """What runs beside the requests."""
    async with background_task_group() as tasks:
        yield tasks
