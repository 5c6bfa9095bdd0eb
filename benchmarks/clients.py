"""The row about many clients: 200 over HTTP, half per protocol version, that each make one call a second."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from time import perf_counter

import aiohttp

from tests.server.connections import free_port

from .calls import HEALTH_TOOL, Call, cpu_row
from .connections import LEGACY, MODERN, call, open_http_connection
from .processes import cpu_seconds
from .results import MILLISECONDS, CallCost, ResultRow, format_number, percentile
from .setup import BRIDGE, FLOOR, TOKEN, BenchmarkSetup, run_server
from .targets import TARGETS

CLIENTS = 200
SECONDS = 20


@dataclass(frozen=True)
class Load:
    """What clients have seen: the seconds from when each call was due to its answer, and the number of failed calls."""

    cost: CallCost
    latencies: Sequence[float]
    errors: int

    def __str__(self) -> str:
        """Return a sentence's part."""
        p50, p99 = (format_number(MILLISECONDS * percentile(self.latencies, percent)) for percent in (50, 99))
        return f"p50 {p50} ms, p99 {p99} ms, {self.errors} of {len(self.latencies) + self.errors:,} calls failed"


async def call_each_second(calls: Sequence[Call], seconds: int, pid: int) -> Load:
    """Make each call once a second, spread over the second; a late answer delays its client's next call."""
    latencies, errors = list[float](), 0
    start, cpu = perf_counter(), cpu_seconds(pid)

    async def repeat(call: Call, offset: float) -> None:
        nonlocal errors
        for second in range(seconds):
            due = start + offset + second
            await asyncio.sleep(due - perf_counter())
            try:
                await call()
            except (aiohttp.ClientError, RuntimeError):
                errors += 1
            else:
                latencies.append(perf_counter() - due)

    async with asyncio.TaskGroup() as tasks:
        for number, one in enumerate(calls):
            tasks.create_task(repeat(one, number / len(calls)))
    count = len(calls) * seconds
    cost = CallCost(count / (perf_counter() - start), (cpu_seconds(pid) - cpu) / count)
    return Load(cost, latencies, errors)


@asynccontextmanager
async def open_clients(port: int, tool: str, token: str = "") -> AsyncGenerator[list[Call]]:
    """Connect the clients to a server; return the call of each."""
    async with AsyncExitStack() as stack:
        calls: list[Call] = []
        for number in range(CLIENTS):
            client = await stack.enter_async_context(
                open_http_connection(f"http://127.0.0.1:{port}/mcp", (LEGACY, MODERN)[number % 2], token)
            )
            calls.append(lambda client=client: call(client, tool))
        yield calls


async def measure_rows(setup: BenchmarkSetup, scale: float) -> list[ResultRow]:
    """Measure the row about many clients."""
    seconds, ports, loads = max(5, round(SECONDS * scale)), (free_port(), free_port()), dict[str, Load]()
    command = (*BRIDGE, "http", "--port", str(ports[1]))
    async with (
        setup.open_direct_client() as direct,
        run_server((*FLOOR, str(ports[0])), setup.environ, ports[0]) as floor,
        run_server(command, setup.attached_environ, ports[1]) as bridge,
    ):
        async with open_clients(ports[0], "nothing") as calls:
            loads["floor"] = await call_each_second(calls, seconds, floor.pid)
        loads["direct"] = await call_each_second([lambda: direct.get("/global/health")] * CLIENTS, seconds, os.getpid())
        async with open_clients(ports[1], HEALTH_TOOL, TOKEN) as calls:
            loads["bridge"] = await call_each_second(calls, seconds, bridge.pid)
    title = f"CPU per call, {CLIENTS} clients over HTTP with one call a second each, half per protocol version"
    note = f"Bridge: {loads['bridge']}. Direct: {loads['direct']}."
    costs = {name: [load.cost] for name, load in loads.items()}
    return [cpu_row(title, TARGETS["CPU, many clients"], costs, note)]
