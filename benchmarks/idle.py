"""The rows about idle servers: how often they wake up while no call runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from tests.server.connections import free_port

from .calls import HEALTH_TOOL
from .connections import MODERN, call, open_http_connection, open_stdio
from .processes import count_wakeups, cpu_seconds
from .results import MILLISECONDS, ResultRow, Samples, format_number
from .setup import BRIDGE, FLOOR, TOKEN, BenchmarkSetup, run_server
from .targets import TARGETS

SETTLE_SECONDS = 6.0
"""Both servers close an idle connection after five seconds."""
IDLE_SECONDS = 60.0


@asynccontextmanager
async def open_servers(setup: BenchmarkSetup) -> AsyncGenerator[dict[str, Mapping[str, int]]]:
    """Run the floor and the bridge over both transports, after a call of each; return the process ids."""
    cwd, ports = str(setup.project), (free_port(), free_port())
    command = (*BRIDGE, "http", "--port", str(ports[1]))
    async with AsyncExitStack() as stack:
        floor = await stack.enter_async_context(open_stdio(FLOOR, setup.environ, cwd))
        bridge = await stack.enter_async_context(open_stdio(BRIDGE, setup.attached_environ, cwd))
        http_floor = await stack.enter_async_context(run_server((*FLOOR, str(ports[0])), setup.environ, ports[0]))
        http_bridge = await stack.enter_async_context(run_server(command, setup.attached_environ, ports[1]))
        await call(floor, "nothing")
        await call(bridge, HEALTH_TOOL)
        for port, tool, token in ((ports[0], "nothing", ""), (ports[1], HEALTH_TOOL, TOKEN)):
            async with open_http_connection(f"http://127.0.0.1:{port}/mcp", MODERN, token) as connection:
                await call(connection, tool)
        yield {
            "stdio": {"floor": floor.process.pid, "bridge": bridge.process.pid},
            "HTTP": {"floor": http_floor.pid, "bridge": http_bridge.pid},
        }


def read_counters(pid: int) -> tuple[float, float]:
    """Return how often a process has woken up, and its milliseconds of CPU."""
    return count_wakeups(pid), MILLISECONDS * cpu_seconds(pid)


async def measure_rows(setup: BenchmarkSetup, scale: float) -> list[ResultRow]:
    """Measure the rows about idle servers."""
    seconds = max(10.0, IDLE_SECONDS * scale)
    async with open_servers(setup) as servers:
        await asyncio.sleep(SETTLE_SECONDS)
        pids = {(transport, name): pid for transport, pair in servers.items() for name, pid in pair.items()}
        early = {server: read_counters(pid) for server, pid in pids.items()}
        await asyncio.sleep(seconds)
        late = {server: read_counters(pid) for server, pid in pids.items()}
    per_second = {
        server: [(after - before) / seconds for before, after in zip(early[server], late[server], strict=True)]
        for server in pids
    }
    return [
        idle_row(transport, {name: per_second[transport, name] for name in pair}) for transport, pair in servers.items()
    ]


def idle_row(transport: str, per_second: Mapping[str, list[float]]) -> ResultRow:
    """Return the row of a transport, from each server's wakeups and milliseconds of CPU per second."""
    wakeups, cpu = ({name: values[number] for name, values in per_second.items()} for number in (0, 1))
    spent = ", ".join(f"{name} {format_number(value)} ms" for name, value in cpu.items())
    return ResultRow(
        f"idle, {transport}: wakeups per second while no call runs",
        {name: Samples([value], "/s") for name, value in wakeups.items()},
        [wakeups["bridge"] - wakeups["floor"]],
        "bridge less floor",
        TARGETS[f"idle, {transport}"],
        note=f"CPU per second: {spent}.",
    )
