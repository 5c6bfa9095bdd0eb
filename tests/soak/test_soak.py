"""Long runs: nothing is lost and nothing grows. A short form by default; docs/reliability.md has the long one.

OPENCODE_MCP_TEST_CALLS, _CLIENTS and _LIVES say how much.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

import anyio
import pytest
from anyio.abc import Process
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from opencode_mcp.opencode import Endpoint
from tests.bridge import Bridge, find_processes
from tests.conftest import RecordFigure
from tests.eventually import eventually
from tests.facts import raw_facts
from tests.server.connections import (
    HANDSHAKE_VERSIONS,
    MODERN_VERSION,
    TOKEN,
    free_port,
    is_accepting,
    negotiate,
    open_authorized_streams,
)

from . import observed_bridge
from .workload import CallCounts, make_calls

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

CALL_COUNT = int(os.environ.get("OPENCODE_MCP_TEST_CALLS", "500"))
CLIENT_COUNT = int(os.environ.get("OPENCODE_MCP_TEST_CLIENTS", "16"))
LIFE_COUNT = int(os.environ.get("OPENCODE_MCP_TEST_LIVES", "8"))
IS_LONG_RUN = CALL_COUNT >= 20_000
"""Only then is the growth of memory what it would be in days, and not that of the first minutes."""


class ObservedBridge:
    """A bridge process that tells of itself."""

    def __init__(self, process: Process, file: Path) -> None:
        self._pid, self._file = process.pid, file

    async def read_facts(self) -> dict[str, int]:
        """Return the numbers of its tasks, threads, file descriptors, and kilobytes of memory."""
        self._file.unlink(missing_ok=True)
        os.kill(self._pid, signal.SIGUSR1)
        await eventually(self._file.exists)
        return {**json.loads(self._file.read_text()), "kilobytes": resident_kilobytes(self._pid)}


def resident_kilobytes(pid: int) -> int:
    """Return how much memory of a process is in use."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def bridge_command(file: Path, *arguments: str) -> tuple[str, ...]:
    """Return how an observed bridge is run."""
    return (sys.executable, str(Path(observed_bridge.__file__)), str(file), *arguments)


@asynccontextmanager
async def run_observed_http(
    environ: Mapping[str, str], project: Path, file: Path
) -> AsyncGenerator[tuple[ObservedBridge, str]]:
    """Run a bridge over HTTP, with an OpenCode of its own; provide it and its address."""
    port = free_port()
    environ = {**environ, "OPENCODE_MCP_TOKEN": TOKEN, "OPENCODE_MCP_DIRECTORY": str(project)}
    flags = ("http", "--port", str(port))
    async with await anyio.open_process(bridge_command(file, *flags), env=environ, stdout=None, stderr=None) as process:
        try:
            await eventually(partial(is_accepting, port))
            yield ObservedBridge(process, file), f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()
            await process.wait()


async def test_many_calls_of_many_clients_leak_nothing(
    environ: Mapping[str, str], endpoint: Endpoint, project: Path, tmp_path: Path, record_figure: RecordFigure
) -> None:
    """Every call comes out as it should; memory, descriptors and tasks are afterwards what they were."""
    tally, stdio, began = CallCounts(), CallCounts(), time.monotonic()
    attached = {
        **environ,
        "OPENCODE_MCP_URL": str(endpoint.url),
        "OPENCODE_SERVER_PASSWORD": endpoint.password or "",
        "OPENCODE_MCP_DIRECTORY": str(project),
    }
    async with run_observed_http(environ, project, tmp_path / "facts.json") as (bridge, url):
        await work_over_http(url, tally, CALL_COUNT // 10)  # warms up: OpenCode starts, modules are loaded, caches fill
        warm = await wait_until_settled(bridge, url)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work_over_stdio, attached, stdio, CALL_COUNT // 10)
            await work_over_http(url, tally, CALL_COUNT)
        # A leak does not come down.
        done = await eventually(
            partial(wait_until_settled, bridge, url),
            lambda facts: facts["tasks"] <= warm["tasks"] and facts["descriptors"] <= warm["descriptors"] + 2,
            within=120,
        )

    growth = done["kilobytes"] / warm["kilobytes"] - 1
    calls = tally.calls + stdio.calls
    record_figure(
        f"soak: {calls} calls ({tally.provoked + stdio.provoked} provoked errors) by {CLIENT_COUNT} clients over "
        f"HTTP and "
        f"one over stdio in {time.monotonic() - began:.0f} s, {len(tally.unexpected) + len(stdio.unexpected)} lost; "
        f"memory "
        f"{warm['kilobytes'] // 1024} -> {done['kilobytes'] // 1024} MB ({growth:+.1%}), tasks {warm['tasks']} -> "
        f"{done['tasks']}, descriptors {warm['descriptors']} -> {done['descriptors']}"
    )
    assert tally.unexpected + stdio.unexpected == []
    assert growth < (0.05 if IS_LONG_RUN else 0.25)


async def work_over_stdio(environ: Mapping[str, str], counts: CallCounts, calls: int) -> None:
    """Let one client work over stdio."""
    server = StdioServerParameters(command=sys.executable, args=["-m", "opencode_mcp"], env=dict(environ))
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        await negotiate(session, MODERN_VERSION)
        await make_calls(session, counts, calls, seed=0)


async def work_over_http(url: str, counts: CallCounts, calls: int) -> None:
    """Let all clients work over HTTP, half of them in each protocol era."""

    async def run_client(number: int) -> None:
        async with open_authorized_streams(url) as streams, ClientSession(*streams) as session:
            await negotiate(session, MODERN_VERSION if number % 2 else HANDSHAKE_VERSIONS[-1])
            await make_calls(session, counts, calls, number)

    async with anyio.create_task_group() as tasks:
        for number in range(CLIENT_COUNT):
            tasks.start_soon(run_client, number)


async def wait_until_settled(bridge: ObservedBridge, url: str) -> dict[str, int]:
    """Return what a bridge tells once its connections have ended and its numbers have come to rest."""
    last: dict[str, int] = {}
    with anyio.move_on_after(60):
        while (facts := await bridge.read_facts())["descriptors"] != last.get("descriptors"):
            last = facts
            await anyio.sleep(6)  # uvicorn and httpx2 keep idle connections for five seconds
            async with open_authorized_streams(url) as streams, ClientSession(*streams) as session:
                await negotiate(session, MODERN_VERSION)
                await session.call_tool("global_health")  # httpx2 closes those that are older with the next request
    return last


END_MODES = ("end of input", "SIGTERM", "SIGKILL", "exception")


@pytest.mark.parametrize("shared", [False, True])
async def test_every_way_to_end_leaves_no_process_and_no_file(
    environ: Mapping[str, str], tmp_path: Path, project: Path, record_figure: RecordFigure, shared: bool
) -> None:
    """However a bridge ends, in a call or between two, no process and no temporary file is left; nor if OpenCode is
    one that bridges share, after the time to linger."""
    sharing = {"OPENCODE_MCP_NO_SHARE": "0", "OPENCODE_MCP_LINGER": "0"} if shared else {}
    count = LIFE_COUNT // 2 if shared else LIFE_COUNT
    for number in range(count):
        mark = f"OPENCODE_MCP_TEST_MARK={uuid4().hex}"
        temporary, cache = tmp_path / f"temporary{number}", tmp_path / f"cache{number}"
        temporary.mkdir()
        name, _, value = mark.partition("=")
        way = END_MODES[number % len(END_MODES)]
        environment = {**environ, **sharing, name: value, "TMPDIR": str(temporary), "XDG_CACHE_HOME": str(cache)}
        await run_and_end(
            environment, project, tmp_path / "facts", way, within_a_call=number // len(END_MODES) % 2 == 0
        )

        await eventually(lambda mark=mark: find_processes(mark), until=lambda left: not left)
        assert [*temporary.iterdir(), *cache.glob("*/shared/*")] == [], f"after {way}"
    record_figure(
        f"lives: {count} starts and ends ({', '.join(END_MODES)}) of bridges that {'share' if shared else 'have'} an "
        "OpenCode, 0 processes and 0 temporary files left"
    )


async def run_and_end(
    environ: Mapping[str, str], project: Path, file: Path, end_mode: str, within_a_call: bool
) -> None:
    """Start a bridge and its OpenCode, and end it."""
    async with (
        await anyio.open_process(bridge_command(file), env=environ, cwd=project, stderr=None) as process,
        anyio.create_task_group() as tasks,
    ):
        running = Bridge(process)
        tasks.start_soon(running.read_messages)
        await running.initialize()
        created = await running.call("session_create")
        if within_a_call:
            parts = [{"type": "text", "text": "script:hang"}]
            arguments = {"sessionID": raw_facts(created)["id"], "parts": parts}
            await running.start_request("tools/call", {"name": "session_prompt", "arguments": arguments})
        assert process.stdin is not None
        match end_mode:
            case "end of input":
                await process.stdin.aclose()
            case "SIGTERM":
                process.terminate()
            case "SIGKILL":
                process.kill()
            case _:
                await raise_in_process(process)
        with anyio.fail_after(60):
            await process.wait()
        tasks.cancel_scope.cancel()


async def raise_in_process(process: Process) -> None:
    """Raise an exception in a process until it ends of it: asyncio outlives one that comes between two callbacks."""
    with anyio.fail_after(120), suppress(ProcessLookupError):
        while process.returncode is None:
            process.send_signal(signal.SIGUSR2)
            with anyio.move_on_after(40):
                await process.wait()
