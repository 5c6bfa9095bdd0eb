"""Connections to a bridge: over each transport, in each version of the protocol."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from random import randrange
from typing import Any

import anyio
import mcp_types as types
from anyio import to_thread
from anyio.abc import Process
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.lowlevel import Server
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.memory import create_client_server_memory_streams

from opencode_mcp.catalog import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from tests.eventually import eventually
from tests.forks import FORKS, run_in_fork

TRANSPORTS = ("memory", "stdio", "http")
HANDSHAKE_VERSIONS = ("2025-06-18", "2025-11-25")
MODERN_VERSION = "2026-07-28"
TOKEN = "the token of the tests"
CLIENT = types.Implementation(name="test", version="0")

Streams = tuple[Any, Any]


@asynccontextmanager
async def connect_over(transport: str, version: str, environ: Mapping[str, str]) -> AsyncGenerator[ClientSession]:
    """Run a bridge with nothing but this environment, and speak one version of the protocol with it."""
    async with open_streams(transport, environ) as (read, write), ClientSession(read, write) as session:
        await negotiate(session, version)
        yield session


async def negotiate(session: ClientSession, version: str) -> None:
    """Agree on a version: by server/discover on a modern one, by initialize on an older one."""
    if version == MODERN_VERSION:
        await session.discover()
        return
    parameters = types.InitializeRequestParams(
        protocol_version=version, capabilities=types.ClientCapabilities(), client_info=CLIENT
    )
    session.adopt(await session.send_request(types.InitializeRequest(params=parameters), types.InitializeResult))
    await session.send_notification(types.InitializedNotification())


def open_streams(transport: str, environ: Mapping[str, str]) -> AbstractAsyncContextManager[Streams]:
    """Return the streams to a bridge that is there as long as they are open."""
    match transport:
        case "memory":
            return open_memory_streams(create_server(Settings.load({}, environ), Catalog.from_snapshot()))
        case "stdio":
            command = StdioServerParameters(command=sys.executable, args=["-m", "opencode_mcp"], env=dict(environ))
            return stdio_client(command)
        case _:
            return open_http_streams(environ)


@asynccontextmanager
async def open_memory_streams(server: Server[Any]) -> AsyncGenerator[Streams]:
    """Run a server in this process; messages are framed as on the wire."""
    async with create_client_server_memory_streams() as (client, served), anyio.create_task_group() as tasks:
        tasks.start_soon(partial(server.run, *served, server.create_initialization_options()))
        yield client
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def open_http_streams(environ: Mapping[str, str]) -> AsyncGenerator[Streams]:
    """Run a bridge that serves HTTP, and connect to it."""
    async with run_http_bridge(environ) as url, open_authorized_streams(url) as streams:
        yield streams


@asynccontextmanager
async def open_authorized_streams(url: str) -> AsyncGenerator[Streams]:
    """Connect to an endpoint with its token."""
    async with (
        create_mcp_http_client(headers={"authorization": f"Bearer {TOKEN}"}) as http,
        streamable_http_client(url, http_client=http) as streams,
    ):
        yield streams


@asynccontextmanager
async def run_http_bridge(environ: Mapping[str, str]) -> AsyncGenerator[str]:
    """Run `opencode-mcp http` on a free port, in a fork; return the address of its endpoint once it accepts."""
    port = free_port()
    its_environ = {**environ, "OPENCODE_MCP_TOKEN": TOKEN}
    process = FORKS.Process(target=run_in_fork, args=(("http", "--port", str(port)), its_environ, Path.cwd(), ()))
    await to_thread.run_sync(process.start)
    try:
        await eventually(partial(is_accepting, port))
        assert process.exitcode is None
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(process.join)


@asynccontextmanager
async def run_http_bridge_process(environ: Mapping[str, str], *program: str) -> AsyncGenerator[tuple[Process, str]]:
    """Run it in a new Python, and return the process too; `program` is how it is run, when not by its own script."""
    port = free_port()
    script = Path(sys.executable).with_name("opencode-mcp")
    command = (*(program or (str(script),)), "http", "--port", str(port))
    environ = {**environ, "OPENCODE_MCP_TOKEN": TOKEN}
    async with await anyio.open_process(command, env=environ, stdout=None, stderr=None) as process:
        try:
            await eventually(partial(is_accepting, port))
            assert process.returncode is None
            yield process, f"http://127.0.0.1:{port}/mcp"
        finally:
            with suppress(ProcessLookupError):
                process.terminate()


def free_port() -> int:
    """Return a port that nothing listens on, and that the system does not assign to a request for any port."""
    while True:
        port = randrange(10_000, 30_000)
        with suppress(OSError), socket.socket() as unused:
            unused.bind(("127.0.0.1", port))
            return port


async def is_accepting(port: int) -> bool:
    """Whether a process listens on a port."""
    with suppress(OSError):
        await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
        return True
    return False
