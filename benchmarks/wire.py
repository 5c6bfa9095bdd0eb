"""JSON-RPC clients that cost next to nothing, so that what is measured is the server: stdio, and HTTP of both eras."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Protocol

import aiohttp

from .stage import READY_SECONDS, ended

LEGACY, MODERN = "2025-11-25", "2026-07-28"
CLIENT = {"name": "benchmark", "version": "0"}
MAX_LINE_BYTES = 256 * 1024 * 1024
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": CLIENT,
}


class Wire(Protocol):
    """A connection to an MCP server."""

    async def request(self, method: str, params: Mapping[str, Any]) -> bytes:
        """Return the response to a request, as it came."""
        ...


async def call(wire: Wire, tool: str, **arguments: Any) -> bytes:
    """Call a tool; return the response as it came.

    Raises:
        RuntimeError: it is an error.
    """
    answer = await wire.request("tools/call", {"name": tool, "arguments": arguments})
    if b'"isError":true' in answer or b'"error":{' in answer:
        raise RuntimeError(f"{tool}: {answer[:2000].decode()}")
    return answer


class Stdio:
    """A server as a child process; closing its input ends it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    async def request(self, method: str, params: Mapping[str, Any]) -> bytes:
        number = next(self._ids)
        answered = self._waiting[number] = asyncio.get_running_loop().create_future()
        self.send({"id": number, "method": method, "params": params})
        return await answered

    def send(self, message: Mapping[str, Any]) -> None:
        """Write a message."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def listen(self) -> None:
        """Read until the server closes its output."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            # The id stands first or last in a message; a parser would cost more than the server.
            message = json.loads(line) if len(line) < 4096 else {"id": long_id(line)}
            if "id" in message and "method" not in message:
                self._waiting.pop(message["id"]).set_result(line)
        for waiting in self._waiting.values():
            waiting.set_exception(ConnectionError("the server has ended"))


def long_id(line: bytes) -> int:
    """Return the id of a long response without parsing all of it."""
    found = line.find(b'"id":', 0, 64)
    at = found if found >= 0 else line.rfind(b'"id":')
    return int(line[at + 5 :].split(b",", 1)[0].rstrip(b"}\r\n "))


@asynccontextmanager
async def stdio(command: Sequence[str], environ: Mapping[str, str], cwd: str) -> AsyncGenerator[Stdio]:
    """Provide a server over stdio after the handshake."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=dict(environ),
        cwd=cwd,
        limit=MAX_LINE_BYTES,
    )
    wire = Stdio(process)
    listening = asyncio.create_task(wire.listen())
    try:
        async with asyncio.timeout(READY_SECONDS):
            await wire.request("initialize", {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT})
        wire.send({"method": "notifications/initialized"})
        yield wire
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await ended(process)
        await listening


class Http:
    """A client of one protocol era over HTTP. Its requests may run at once."""

    def __init__(self, session: aiohttp.ClientSession, url: str, era: str) -> None:
        self.session, self.url, self.era = session, url, era
        self.headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": era}
        self._ids = count(1)

    async def initialize(self) -> None:
        """Shake hands, in the era that does."""
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

    def post(self, message: Mapping[str, Any]) -> Any:
        """Send a message; the response is a context."""
        headers = self.headers
        if self.era == MODERN:
            params: dict[str, Any] = {**message["params"], "_meta": ENVELOPE}
            message = {**message, "params": params}
            headers = {**headers, "mcp-method": message["method"]}
            if "name" in params:
                headers["mcp-name"] = params["name"]
        return self.session.post(self.url, json={"jsonrpc": "2.0", **message}, headers=headers)


@asynccontextmanager
async def http(url: str, era: str, token: str = "") -> AsyncGenerator[Http]:
    """Provide a client of a server over HTTP."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
        wire = Http(session, url, era)
        if era == LEGACY:
            await wire.initialize()
        yield wire
