"""Minimal JSON-RPC clients, so that the benchmarks measure the server: stdio, and HTTP in two protocol versions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Protocol

import aiohttp

from .setup import READY_SECONDS, wait_for_exit

LEGACY, MODERN = "2025-11-25", "2026-07-28"
CLIENT = {"name": "benchmark", "version": "0"}
CLOSED_CONNECTION = aiohttp.ServerDisconnectedError, aiohttp.ClientOSError
MAX_LINE_BYTES = 256 * 1024 * 1024
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": CLIENT,
}


class Connection(Protocol):
    """A connection to an MCP server."""

    async def request(self, method: str, params: Mapping[str, Any]) -> bytes:
        """Return the response to a request, undecoded."""
        ...


async def call(connection: Connection, tool: str, **arguments: Any) -> bytes:
    """Call a tool, and return the undecoded response.

    Raises:
        RuntimeError: it is an error.
    """
    answer = await connection.request("tools/call", {"name": tool, "arguments": arguments})
    if b'"isError":true' in answer or b'"error":{' in answer:
        raise RuntimeError(f"{tool}: {answer[:2000].decode()}")
    return answer


class StdioConnection:
    """A server as a child process; closing its input ends it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._ids = count(1)
        self._pending: dict[int, asyncio.Future[bytes]] = {}

    async def request(self, method: str, params: Mapping[str, Any]) -> bytes:
        number = next(self._ids)
        answered = self._pending[number] = asyncio.get_running_loop().create_future()
        self.send({"id": number, "method": method, "params": params})
        return await answered

    def send(self, message: Mapping[str, Any]) -> None:
        """Write a message."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def read_responses(self) -> None:
        """Read until the server closes its output."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            # The id is first or last in a message; parsing all of it would cost more than the server.
            message = json.loads(line) if len(line) < 4096 else {"id": find_id(line)}
            if "id" in message and "method" not in message:
                self._pending.pop(message["id"]).set_result(line)
        for pending in self._pending.values():
            pending.set_exception(ConnectionError("the server has exited"))


def find_id(line: bytes) -> int:
    """Return the id of a long response without parsing all of it."""
    found = line.find(b'"id":', 0, 64)
    at = found if found >= 0 else line.rfind(b'"id":')
    return int(line[at + 5 :].split(b",", 1)[0].rstrip(b"}\r\n "))


@asynccontextmanager
async def open_stdio(command: Sequence[str], environ: Mapping[str, str], cwd: str) -> AsyncGenerator[StdioConnection]:
    """Start a server over stdio, and initialize it."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=dict(environ),
        cwd=cwd,
        limit=MAX_LINE_BYTES,
    )
    connection = StdioConnection(process)
    reader = asyncio.create_task(connection.read_responses())
    try:
        async with asyncio.timeout(READY_SECONDS):
            params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
            await connection.request("initialize", params)
        connection.send({"method": "notifications/initialized"})
        yield connection
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await wait_for_exit(process)
        await reader


class HttpConnection:
    """An HTTP client with one protocol version, for concurrent requests."""

    def __init__(self, session: aiohttp.ClientSession, url: str, protocol_version: str) -> None:
        self.session, self.url, self.protocol_version = session, url, protocol_version
        self.headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": protocol_version}
        self._ids = count(1)

    async def initialize(self) -> None:
        """Initialize a session, which only LEGACY has."""
        params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
        async with self.post({"id": 0, "method": "initialize", "params": params}) as response:
            await response.read()
            self.headers["mcp-session-id"] = response.headers["mcp-session-id"]
        async with self.post({"method": "notifications/initialized"}) as response:
            await response.read()

    async def request(self, method: str, params: Mapping[str, Any]) -> bytes:
        async with self.post({"id": next(self._ids), "method": method, "params": params}) as response:
            body = await response.read()
        events = [part[6:] for part in body.splitlines() if part.startswith(b"data: {")]
        return events[-1] if events else body

    @asynccontextmanager
    async def post(self, message: Mapping[str, Any]) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Send a message, and provide the response.

        It is sent once more if the server closes the connection first: uvicorn does when one was idle for five seconds.
        """
        headers = self.headers
        if self.protocol_version == MODERN:
            params: dict[str, Any] = {**message["params"], "_meta": ENVELOPE}
            message = {**message, "params": params}
            headers = {**headers, "mcp-method": message["method"]}
            if "name" in params:
                headers["mcp-name"] = params["name"]
        body = {"jsonrpc": "2.0", **message}
        try:
            response = await self.session.post(self.url, json=body, headers=headers)
        except CLOSED_CONNECTION:
            response = await self.session.post(self.url, json=body, headers=headers)
        async with response:
            yield response


@asynccontextmanager
async def open_http_connection(url: str, protocol_version: str, token: str = "") -> AsyncGenerator[HttpConnection]:
    """Connect to a server over HTTP."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
        connection = HttpConnection(session, url, protocol_version)
        if protocol_version == LEGACY:
            await connection.initialize()
        yield connection
