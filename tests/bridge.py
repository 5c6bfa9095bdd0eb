"""A bridge as a process of its own, spoken to over raw pipes: what an MCP client library would hide."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from opencode_mcp.opencode.process.supervisor import list_processes
from opencode_mcp.settings import Settings

PROGRAM = (sys.executable, "-m", "opencode_mcp")
MAX_LINE_BYTES = 16 * 1024 * 1024
CLIENT = {"name": "raw", "version": "0"}


class Bridge:
    """A running `python -m opencode_mcp`. `lines` is all that it has written to stdout."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[bytes] = []
        self._ids = count(1)
        self._answered: dict[int, anyio.Event] = {}
        self._answers: dict[int, dict[str, Any]] = {}

    async def send(self, message: Mapping[str, Any]) -> None:
        """Write one JSON-RPC message."""
        assert self.process.stdin is not None
        await self.process.stdin.send(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def start_request(self, method: str, params: Mapping[str, Any]) -> int:
        """Send a request and return its id."""
        number = next(self._ids)
        self._answered[number] = anyio.Event()
        await self.send({"id": number, "method": method, "params": params})
        return number

    async def request(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and return the response."""
        number = await self.start_request(method, params)
        await self._answered[number].wait()
        assert number in self._answers, f"the bridge ended before it answered {method}"
        return self._answers[number]

    async def initialize(self, version: str = "2025-11-25") -> dict[str, Any]:
        """Shake hands as clients of the handshake era do; return the server's part."""
        params = {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT}
        answer = await self.request("initialize", params)
        await self.send({"method": "notifications/initialized"})
        return answer["result"]

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return its result."""
        return (await self.request("tools/call", {"name": tool, "arguments": arguments}))["result"]

    async def read_messages(self) -> None:
        """Read until the bridge closes its output."""
        assert self.process.stdout is not None
        lines = BufferedByteReceiveStream(self.process.stdout)
        with suppress(anyio.IncompleteRead, anyio.EndOfStream):
            while True:
                line = await lines.receive_until(b"\n", MAX_LINE_BYTES)
                self.lines.append(line)
                message = json.loads(line)
                if message.get("id") in self._answered and "method" not in message:
                    self._answers[message["id"]] = message
                    self._answered[message["id"]].set()
        for answered in self._answered.values():
            answered.set()


@asynccontextmanager
async def run_bridge(
    environ: Mapping[str, str], directory: Path, *flags: str, program: Sequence[str] = PROGRAM
) -> AsyncGenerator[Bridge]:
    """Run a bridge in a directory; killed at the end, if it has not ended before."""
    command = (*program, *flags)
    async with await anyio.open_process(command, env=environ, cwd=directory, stderr=None) as process:
        try:
            async with anyio.create_task_group() as tasks:
                process_bridge = Bridge(process)
                tasks.start_soon(process_bridge.read_messages)
                yield process_bridge
                tasks.cancel_scope.cancel()
        finally:
            with suppress(ProcessLookupError):
                process.kill()


def environ_for(settings: Settings) -> dict[str, str]:
    """Return the environment variables that give a process these settings."""
    return {setting.variable: text for setting, text in settings.changed}


def find_processes(variable: str) -> dict[int, str]:
    """Return the command line of every living process that has this `NAME=value` in its environment."""
    commands: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):  # it ended meanwhile
            if entry.name.isdigit() and variable.encode() in (entry / "environ").read_bytes().split(b"\0"):
                commands[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return commands


def find_opencode_pids(variable: str) -> list[int]:
    """Return the process ids of the OpenCode servers that have this in their environment.

    A child that one of them has just forked is none, though it has the server's command line until it becomes
    another program.
    """
    pids = [pid for pid, line in find_processes(variable).items() if " serve " in line and "supervisor.py" not in line]
    parents = dict(list_processes())
    return [pid for pid in pids if pid in parents and parents[pid] not in pids]


def kill_opencode(variable: str) -> None:
    """Kill the one OpenCode that has this in its environment."""
    pids = find_opencode_pids(variable)
    assert len(pids) == 1, find_processes(variable)
    [pid] = pids
    os.kill(pid, signal.SIGKILL)
