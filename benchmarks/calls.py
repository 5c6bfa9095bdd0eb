"""Rows about calls: the tool list, overhead, throughput, memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import aiohttp
import httpx2

from tests.server.connections import free_port

from .connections import LEGACY, MODERN, Connection, call, open_http_connection, open_stdio
from .peers import find_peers
from .processes import cpu_seconds, resident_bytes
from .results import MILLISECONDS, CallCost, ResultRow, Samples, interleave, pair_ratios, summed_ratios
from .setup import BRIDGE, FLOOR, TOKEN, BenchmarkSetup, run_server
from .targets import TARGETS, Target

Call = Callable[[], Awaitable[object]]

KILOBYTE, MEGABYTE = 1_000, 1_000_000
HEALTH_TOOL = "global_health"
RAW_LIMIT = "OpenCode's raw limit"


async def time_call(call: Call) -> float:
    """Return the duration of a call."""
    start = perf_counter()
    await call()
    return perf_counter() - start


@dataclass(frozen=True)
class Server:
    """A connection to a running server, and the tool to call."""

    connection: Connection
    process: asyncio.subprocess.Process
    tool: str

    async def call(self) -> bytes:
        """Call the tool."""
        return await call(self.connection, self.tool)


async def measure_cost(call: Call, calls: int, concurrent: int, pid: int) -> CallCost:
    """Return what a call costs a process, with a constant number of concurrent calls."""
    remaining = iter(range(calls))

    async def make_calls() -> None:
        for _ in remaining:
            await call()

    start, cpu = perf_counter(), cpu_seconds(pid)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrent):
            tasks.create_task(make_calls())
    return CallCost(calls / (perf_counter() - start), (cpu_seconds(pid) - cpu) / calls)


async def measure_rows(setup: BenchmarkSetup, scale: float) -> list[ResultRow]:
    """Measure the rows about calls; a short run measures the bridge only."""
    cwd = str(setup.project)
    async with setup.open_direct_client() as direct, AsyncExitStack() as stack:

        async def start(command: Sequence[str], tool: str, environ: Mapping[str, str]) -> Server:
            connection = await stack.enter_async_context(open_stdio(command, environ, cwd))
            return Server(connection, connection.process, tool)

        servers = {
            "floor": await start(FLOOR, "nothing", setup.attached_environ),
            "bridge": await start(BRIDGE, HEALTH_TOOL, setup.attached_environ),
        }
        if scale >= 1:
            for name, peer in (await find_peers(setup)).items():
                servers[name] = await start(peer.command, peer.tool, peer.environ)
        results = [
            *await measure_listing(servers, scale),
            *([await measure_overhead(direct, servers)] if scale >= 1 else []),
            *await measure_throughput("stdio", setup, direct, servers, scale),
            await measure_memory(servers, scale),
        ]
        for protocol_version in (LEGACY, MODERN):
            async with open_http(setup, protocol_version) as http_servers:
                results += await measure_throughput(f"HTTP {protocol_version}", setup, direct, http_servers, scale)
    return results


@asynccontextmanager
async def open_http(setup: BenchmarkSetup, protocol_version: str) -> AsyncGenerator[dict[str, Server]]:
    """Start the floor and the bridge over HTTP."""
    ports = free_port(), free_port()
    command = (*BRIDGE, "http", "--port", str(ports[1]))
    async with (
        run_server((*FLOOR, str(ports[0])), setup.environ, ports[0]) as floor,
        run_server(command, setup.attached_environ, ports[1]) as bridge,
        open_http_connection(f"http://127.0.0.1:{ports[0]}/mcp", protocol_version) as to_floor,
        open_http_connection(f"http://127.0.0.1:{ports[1]}/mcp", protocol_version, TOKEN) as to_bridge,
    ):
        yield {"floor": Server(to_floor, floor, "nothing"), "bridge": Server(to_bridge, bridge, HEALTH_TOOL)}


async def measure_listing(servers: Mapping[str, Server], scale: float) -> list[ResultRow]:
    """Measure `tools/list` of all tools."""

    def list_tools(server: Server) -> Awaitable[bytes]:
        return server.connection.request("tools/list", {})

    subjects = {name: server for name, server in servers.items() if name != "floor"}
    samples = await interleave(
        max(5, round(50 * scale)),
        {name: lambda server=server: time_call(lambda: list_tools(server)) for name, server in subjects.items()},
    )
    times = {name: Samples([MILLISECONDS * value for value in values], "ms") for name, values in samples.items()}
    sizes = {name: Samples([len(await list_tools(server)) / KILOBYTE], "KB") for name, server in subjects.items()}
    title = "`tools/list` of every tool over stdio, p50"
    return [
        ResultRow(title, times, times["bridge"].values, "bridge", TARGETS["list"]),
        ResultRow("size of `tools/list`", sizes, sizes["bridge"].values, "bridge", TARGETS["list size"]),
    ]


async def measure_overhead(direct: httpx2.AsyncClient, servers: Mapping[str, Server]) -> ResultRow:
    """Measure the overhead of a call over the request that it sends."""
    samples = await interleave(
        500,
        {
            "direct": lambda: time_call(lambda: direct.get("/global/health")),
            **{name: lambda server=server: time_call(server.call) for name, server in servers.items()},
        },
    )
    medians = {name: median(values) for name, values in samples.items()}
    return ResultRow(
        "overhead of a call over the direct request (GET /global/health, one client, p50)",
        {name: Samples([MILLISECONDS * value for value in values], "ms") for name, values in samples.items()},
        [(medians["bridge"] - medians["direct"]) / medians["floor"]],
        "(bridge less direct) / floor's no-op",
        TARGETS["overhead"],
    )


async def measure_throughput(
    transport: str, setup: BenchmarkSetup, direct: httpx2.AsyncClient, servers: Mapping[str, Server], scale: float
) -> list[ResultRow]:
    """Measure the throughput, and the CPU of a call."""
    results: list[ResultRow] = []
    calls, rounds = max(200, round(800 * scale)), 3
    async with open_raw_request(setup) as raw_request:
        subjects: dict[str, tuple[Call, int]] = {
            **{name: (server.call, server.process.pid) for name, server in servers.items()},
            "direct": (lambda: direct.get("/global/health"), os.getpid()),
        }
        if scale >= 1:
            subjects[RAW_LIMIT] = raw_request, os.getpid()
        for send, _ in subjects.values():
            await send()  # the first call imports what calls need
        for concurrent in (16, 64) if scale >= 1 else (16,):
            costs = await interleave(
                rounds,
                {
                    name: lambda send=send, pid=pid, concurrent=concurrent: measure_cost(send, calls, concurrent, pid)
                    for name, (send, pid) in subjects.items()
                },
            )
            title, family = f"{concurrent} concurrent, {transport}", transport.split()[0]
            results += [
                rate_row(f"calls per second, {title}", TARGETS[f"rate, {family}"], costs),
                cpu_row(f"CPU per call, {title}", TARGETS[f"CPU, {family}"], costs),
            ]
    return results


def rate_row(title: str, target: Target, costs: Mapping[str, Sequence[CallCost]]) -> ResultRow:
    """Return the row about calls per second."""
    rates = {name: [cost.rate for cost in values] for name, values in costs.items()}
    pairs = list(zip(rates["floor"], rates["direct"], strict=True))
    both = median(1 / (1 / floor_rate + 1 / direct_rate) for floor_rate, direct_rate in pairs)
    return ResultRow(
        title,
        {name: Samples(values, "/s") for name, values in rates.items()},
        pair_ratios(rates["bridge"], [min(pair) for pair in pairs]),
        "bridge / min(floor, direct)",
        target,
        note=f"A single process that does the work of both baselines would reach {both:,.0f} /s.",
    )


def cpu_row(title: str, target: Target, costs: Mapping[str, Sequence[CallCost]], note: str = "") -> ResultRow:
    """Return the row about the CPU of a call."""
    cpu = {name: [MILLISECONDS * cost.cpu for cost in values] for name, values in costs.items() if name != RAW_LIMIT}
    return ResultRow(
        title,
        {name: Samples(values, "ms") for name, values in cpu.items()},
        summed_ratios(cpu["bridge"], cpu["floor"], cpu["direct"]),
        "bridge / (floor + direct)",
        target,
        note=note,
    )


@asynccontextmanager
async def open_raw_request(setup: BenchmarkSetup) -> AsyncGenerator[Call]:
    """Provide a request with the cheapest client, which measures OpenCode's own limit."""
    endpoint = setup.endpoint
    auth = aiohttp.BasicAuth(endpoint.username, endpoint.password or "")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auth=auth) as session:

        async def send() -> None:
            async with session.get(f"{endpoint.base_url}/global/health") as response:
                await response.read()

        yield send


async def measure_memory(servers: Mapping[str, Server], scale: float) -> ResultRow:
    """Measure the memory of servers after many calls."""
    calls = max(500, round(10_000 * scale))
    early: dict[str, float] = {}
    late: dict[str, float] = {}
    for name, server in servers.items():
        pid = server.process.pid
        await measure_cost(server.call, calls // 5, 16, pid)
        early[name] = resident_bytes(pid) / MEGABYTE
        await measure_cost(server.call, calls - calls // 5, 16, pid)
        late[name] = resident_bytes(pid) / MEGABYTE
    return ResultRow(
        f"memory after {calls:,} calls",
        {name: Samples([value], "MB") for name, value in late.items()},
        [late["bridge"] / late["floor"]],
        "bridge / floor",
        TARGETS["memory"],
        note=f"{early['bridge']:.1f} MB after the first {calls // 5:,} calls, {late['bridge']:.1f} MB after all.",
    )
