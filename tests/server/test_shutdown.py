"""Graceful shutdown: running calls are drained, then fail; and requests that never complete time out."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import mcp_types as types
import pytest
import uvicorn
from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.server import create_server
from opencode_mcp.server.http import serve
from opencode_mcp.server.http.app import create_http_app
from opencode_mcp.settings import Settings
from tests.bridge import Bridge, environ_for, find_processes, run_bridge
from tests.conftest import Connect
from tests.eventually import eventually
from tests.facts import facts

from .connections import MODERN_VERSION, TOKEN, run_http_bridge_process

pytestmark = pytest.mark.anyio

HEADERS = {
    "authorization": f"Bearer {TOKEN}",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": MODERN_VERSION,
}
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
    "io.modelcontextprotocol/clientCapabilities": {},
}

Call = Callable[..., Awaitable[types.CallToolResult]]

PATIENT_PROGRAM = (
    "import sys; from opencode_mcp.cli import main; from opencode_mcp.server import shutdown; "
    "shutdown.DRAIN_SECONDS, shutdown.CLEAN_UP_SECONDS = 10.0, 60.0; sys.exit(main(sys.argv[1:]))"
)
"""A bridge that ends well on a machine that is busy with something else."""
PATIENT_BRIDGE = (sys.executable, "-c", PATIENT_PROGRAM)


@pytest.fixture
async def client(connect: Connect) -> AsyncGenerator[Client]:
    """A client that looks at OpenCode past the bridge that ends."""
    async with connect() as client:
        yield client


@pytest.fixture
def bridge_environ(attached: Settings, environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment of a bridge process that attaches to the running OpenCode."""
    return {**environ, **environ_for(attached)}


@asynccontextmanager
async def run_bridge_to_end(
    transport: str, environ: Mapping[str, str], directory: Path
) -> AsyncGenerator[tuple[Call, Callable[[], None], Callable[[], Awaitable[int]]]]:
    """Provide a bridge as a process: a way to call it, to tell it to end, and to wait until it has."""
    if transport == "http":
        async with run_http_bridge_process(environ, *PATIENT_BRIDGE) as (process, url):
            yield partial(post_call, url), process.terminate, process.wait
        return
    async with run_bridge(environ, directory, program=PATIENT_BRIDGE) as running:
        await running.initialize()

        async def call(tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
            return types.CallToolResult.model_validate(await Bridge.call(running, tool, **arguments))

        yield call, running.process.terminate, running.process.wait


async def post_call(url: str, tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
    """Call a tool over a connection of its own: a client of the SDK fails when its server goes away before it."""
    headers = {**HEADERS, "mcp-method": "tools/call", "mcp-name": tool}
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    params = {"name": tool, "arguments": arguments, "_meta": META}
    async with httpx2.AsyncClient(timeout=60) as http:
        answer = await http.post(url, json={**request, "params": params}, headers=headers)
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines()]
    [message] = [parsed for line in lines if line.startswith("{") and "result" in (parsed := json.loads(line))]
    return types.CallToolResult.model_validate(message["result"])


async def refuses_calls(call: Call) -> bool:
    """Whether no call begins any more; over HTTP no connection is accepted."""
    try:
        late = await call("path_get", {})
    except httpx2.TransportError:
        return True
    return late.is_error and "shutting down; nothing was sent" in result_text(late)


@pytest.mark.parametrize("transport", ["stdio", "http"])
@pytest.mark.unchanged_project
async def test_the_command_for_an_event_ends_with_the_server(
    transport: str, bridge_environ: Mapping[str, str], project: Path, tmp_path: Path
) -> None:
    """The event comes although no call waits for the task; over HTTP the client has disconnected."""
    event, mark = tmp_path / "event", f"TEST_OF_EVENTS={tmp_path}"
    variables = {"OPENCODE_MCP_ON_EVENT": f"cat > {event}.new; mv {event}.new {event}; sleep 300"}
    environ = {**bridge_environ, **variables, **dict([mark.split("=", 1)])}
    async with run_bridge_to_end(transport, environ, project) as (call, end, ended):
        started = await call("start_task", {"prompt": "script:text fine"})
        await eventually(event.exists)
        end()
        with anyio.fail_after(60):
            await ended()

    assert json.loads(event.read_text())["state"] == "completed"
    assert json.loads(event.read_text())["session_id"] == facts(started)["session_id"]
    await eventually(lambda: not find_processes(mark))


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_running_calls_are_drained_before_the_server_ends(
    transport: str, bridge_environ: Mapping[str, str], client: Client, project: Path, tmp_path: Path
) -> None:
    """A short call ends well, a long one with an error that says so; its task is stopped; a new one does not begin."""
    short, long = [await new_session(client) for _ in range(2)]
    results: dict[str, types.CallToolResult] = {}
    go = tmp_path / "go"
    async with run_bridge_to_end(transport, bridge_environ, project) as (call, end, ended):
        async with anyio.create_task_group() as tasks:

            async def keep(name: str, tool: str, arguments: dict[str, Any]) -> None:
                results[name] = await call(tool, arguments)

            command = f"while [ ! -e {go} ]; do sleep 0.05; done; echo well"
            shell = {"sessionID": short, "agent": "build", "command": command}
            words = [{"type": "text", "text": "script:hang"}]
            tasks.start_soon(keep, "short", "session_shell", shell)
            tasks.start_soon(keep, "long", "session_prompt", {"sessionID": long, "parts": words})
            await eventually(lambda: busy_sessions(client), until=lambda ids: ids >= {short, long})
            end()
            await eventually(partial(refuses_calls, call))
            go.touch()
        with anyio.fail_after(60):
            status = await ended()

    assert "well" in result_text(results["short"])
    assert not results["short"].is_error
    assert "cancelled the call after 10 s" in result_text(results["long"])
    assert results["long"].is_error
    if transport == "stdio":
        assert status == -signal.SIGTERM
    await eventually(lambda: busy_sessions(client), until=lambda ids: long not in ids)


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_server_without_calls_ends_at_once(
    transport: str, bridge_environ: Mapping[str, str], project: Path
) -> None:
    """There is nothing to wait for."""
    async with run_bridge_to_end(transport, bridge_environ, project) as (call, end, ended):
        assert not (await call("global_health", {})).is_error
        end()
        with anyio.fail_after(60):
            await ended()


async def test_a_listening_stream_ends_cleanly(bridge_environ: Mapping[str, str], client: Client) -> None:
    """Its result is the last thing that comes, so that the client knows that nothing broke."""
    params = {"notifications": {"resourceSubscriptions": [f"opencode://session/{await new_session(client)}"]}}
    received, begun = list[str](), anyio.Event()
    async with run_http_bridge_process(bridge_environ) as (process, url), anyio.create_task_group() as tasks:

        async def listen() -> None:
            request = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {**params, "_meta": META}}
            headers = {**HEADERS, "mcp-method": "subscriptions/listen"}
            async with (
                httpx2.AsyncClient(timeout=60) as http,
                http.stream("POST", url, json=request, headers=headers) as answer,
            ):
                async for line in answer.aiter_lines():
                    received.append(line)
                    begun.set()

        tasks.start_soon(listen)
        with anyio.fail_after(60):
            await begun.wait()
            process.terminate()
            await process.wait()

    [*_, last] = [line for line in received if line.startswith("data: {")]
    assert "result" in json.loads(last.removeprefix("data: "))


async def new_session(client: Client) -> str:
    """Create a session."""
    content = facts(await client.call_tool("session_create", {}))
    return content["id"]


async def busy_sessions(client: Client) -> set[str]:
    """Return the sessions that work."""
    return {*facts(await client.call_tool("session_status", {}))}


def result_text(result: types.CallToolResult) -> str:
    """Return the text of a result."""
    return "".join(block.text for block in result.content if isinstance(block, types.TextContent))


HEAD = b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 100\r\n"
PARTIAL_REQUESTS = {"nothing": b"", "half a head": HEAD, "half a body": HEAD + b"\r\n{"}


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch, attached: Settings, catalog: Catalog) -> AsyncGenerator[int]:
    """The port of a server over HTTP that gives a request two seconds to arrive."""
    monkeypatch.setattr(serve, "REQUEST_TIMEOUT_SECONDS", 2.0)
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_http_app(create_server(attached, catalog), attached, "127.0.0.1", "/mcp")
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, http=serve.RequestTimeoutProtocol, ws="none"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        await eventually(lambda: server.started)
        yield listener.getsockname()[1]
        server.should_exit = True


@pytest.mark.parametrize("sent", PARTIAL_REQUESTS)
async def test_an_incomplete_request_times_out(port: int, sent: str) -> None:
    """However slowly it drips, its connection is closed."""
    with anyio.fail_after(60):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.send(PARTIAL_REQUESTS[sent])
                async with background_task_group() as tasks:

                    async def drip() -> None:
                        while sent != "nothing":
                            await anyio.sleep(0.1)
                            await stream.send(b"x" if sent == "half a body" else b"x: y\r\n")

                    tasks.start_soon(drip)
                    await stream.receive()


async def test_many_slow_connections_do_not_block_others(port: int, client: Client) -> None:
    """A client is served beside three hundred that send nothing whole."""
    async with anyio.create_task_group() as tasks:

        async def crawl() -> None:
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await stream.send(HEAD)
                    await stream.receive()

        for _ in range(300):
            tasks.start_soon(crawl)
        async with Client(f"http://127.0.0.1:{port}/mcp") as other:
            assert not (await other.call_tool("global_health", {})).is_error


async def test_a_slow_response_does_not_time_out(port: int, connect: Connect) -> None:
    """A connection that waits for its response does not time out."""
    async with Client(f"http://127.0.0.1:{port}/mcp") as client:
        result = await client.call_tool("event_subscribe", {"timeout_seconds": 3, "types": ["none.such"]})

    assert facts(result) == {"events": [], "ended": "timeout"}
