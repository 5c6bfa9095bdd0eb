"""Rows about calls: the tool list, overhead, throughput, memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from time import perf_counter

import aiohttp
import httpx2

from .connections import LEGACY, MODERN, Connection, StdioConnection, call, open_http_connection, open_stdio
from .results import MILLISECONDS, ResultRow, Samples, interleave, pair_ratios
from .setup import BRIDGE, FLOOR, FROM_OPENAPI, TOKEN, BenchmarkSetup, free_port, resident_bytes, run_server

Call = Callable[[], Awaitable[object]]

KILOBYTE, MEGABYTE = 1_000, 1_000_000
HEALTH_TOOL = "global_health"


async def time_call(call: Call) -> float:
    """Return the duration of a call."""
    start = perf_counter()
    await call()
    return perf_counter() - start


async def measure_rate(call: Call, calls: int, concurrent: int) -> float:
    """Return the calls per second with a constant number of concurrent calls."""
    remaining = iter(range(calls))

    async def make_calls() -> None:
        for _ in remaining:
            await call()

    start = perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrent):
            tasks.create_task(make_calls())
    return calls / (perf_counter() - start)


async def measure_rows(setup: BenchmarkSetup, scale: float) -> list[ResultRow]:
    """Measure the rows about calls."""
    cwd = str(setup.project)
    async with (
        setup.open_direct_client() as direct,
        open_stdio(FLOOR, setup.attached_environ, cwd) as floor,
        open_stdio(BRIDGE, setup.attached_environ, cwd) as bridge,
        AsyncExitStack() as stack,
    ):
        fastmcp: StdioConnection | None = None
        if scale >= 1:  # a short run measures the bridge only
            fastmcp = await stack.enter_async_context(open_stdio(FROM_OPENAPI, setup.attached_environ, cwd))
        results = [
            *await measure_listing(bridge, fastmcp, scale),
            await measure_overhead(direct, floor, bridge, fastmcp, scale),
            *await measure_throughput("stdio", setup, direct, floor, bridge, scale, fastmcp),
            await measure_memory(floor, bridge, fastmcp, scale),
        ]
        for protocol_version in (LEGACY, MODERN):
            async with open_http(setup, protocol_version) as (http_floor, http_bridge):
                results += await measure_throughput(
                    f"HTTP {protocol_version}", setup, direct, http_floor, http_bridge, scale
                )
    return results


@asynccontextmanager
async def open_http(setup: BenchmarkSetup, protocol_version: str) -> AsyncGenerator[tuple[Connection, Connection]]:
    """Start the floor and the bridge over HTTP."""
    ports = free_port(), free_port()
    command = (*BRIDGE, "http", "--port", str(ports[1]))
    async with (
        run_server((*FLOOR, str(ports[0])), setup.environ, ports[0]),
        run_server(command, setup.attached_environ, ports[1]),
        open_http_connection(f"http://127.0.0.1:{ports[0]}/mcp", protocol_version) as floor,
        open_http_connection(f"http://127.0.0.1:{ports[1]}/mcp", protocol_version, TOKEN) as bridge,
    ):
        yield floor, bridge


async def measure_listing(bridge: StdioConnection, fastmcp: StdioConnection | None, scale: float) -> list[ResultRow]:
    """Measure `tools/list` of all tools."""
    servers = {"bridge": bridge, **({"from_openapi": fastmcp} if fastmcp is not None else {})}
    samples = await interleave(
        max(5, round(50 * scale)),
        {
            name: lambda server=server: time_call(lambda: server.request("tools/list", {}))
            for name, server in servers.items()
        },
    )
    times = {name: Samples([MILLISECONDS * value for value in values], "ms") for name, values in samples.items()}
    sizes = {
        name: Samples([len(await server.request("tools/list", {})) / KILOBYTE], "KB")
        for name, server in servers.items()
    }
    return [
        ResultRow("`tools/list` of every tool over stdio, p50", times, times["bridge"].values, "bridge", 6, unit="ms"),
        ResultRow("size of `tools/list`", sizes, sizes["bridge"].values, "bridge", 120, unit="KB"),
    ]


async def measure_overhead(
    direct: httpx2.AsyncClient,
    floor: StdioConnection,
    bridge: StdioConnection,
    fastmcp: StdioConnection | None,
    scale: float,
) -> ResultRow:
    """Measure the overhead of a call over the request that it sends."""
    samples = await interleave(
        max(50, round(500 * scale)),
        {
            "floor": lambda: time_call(lambda: call(floor, "nothing")),
            "direct": lambda: time_call(lambda: direct.get("/global/health")),
            "bridge": lambda: time_call(lambda: call(bridge, HEALTH_TOOL)),
            **({"from_openapi": lambda: time_call(lambda: call(fastmcp, HEALTH_TOOL))} if fastmcp is not None else {}),
        },
    )
    medians = {name: median(values) for name, values in samples.items()}
    return ResultRow(
        "overhead of a call over the direct request (GET /global/health, one client, p50)",
        {name: Samples([MILLISECONDS * value for value in values], "ms") for name, values in samples.items()},
        [(medians["bridge"] - medians["direct"]) / medians["floor"]],
        "(bridge less direct) / floor's no-op",
        1.3,
    )


async def measure_throughput(
    transport: str,
    setup: BenchmarkSetup,
    direct: httpx2.AsyncClient,
    floor: Connection,
    bridge: Connection,
    scale: float,
    fastmcp: Connection | None = None,
) -> list[ResultRow]:
    """Measure the throughput."""
    results: list[ResultRow] = []
    calls, rounds = max(200, round(800 * scale)), 3
    async with open_raw_request(setup) as raw_request:
        for concurrent in (16, 64) if scale >= 1 else (16,):
            subjects: dict[str, Call] = {
                "floor": lambda: call(floor, "nothing"),
                "direct": lambda: direct.get("/global/health"),
                "bridge": lambda: call(bridge, HEALTH_TOOL),
                "OpenCode's raw limit": raw_request,
            }
            if fastmcp is not None:
                subjects["from_openapi"] = lambda: call(fastmcp, HEALTH_TOOL)
            samples = await interleave(
                rounds,
                {
                    name: lambda send=send, concurrent=concurrent: measure_rate(send, calls, concurrent)
                    for name, send in subjects.items()
                },
            )
            pairs = list(zip(samples["floor"], samples["direct"], strict=True))
            both = median(1 / (1 / floor_rate + 1 / direct_rate) for floor_rate, direct_rate in pairs)
            results.append(
                ResultRow(
                    f"calls per second, {concurrent} concurrent, {transport}",
                    {name: Samples(values, "/s") for name, values in samples.items()},
                    pair_ratios(samples["bridge"], [min(pair) for pair in pairs]),
                    "bridge / min(floor, direct)",
                    0.8,
                    at_least=True,
                    note=f"A single process that does the work of both baselines would reach {both:,.0f} /s.",
                )
            )
    return results


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


async def measure_memory(
    floor: StdioConnection, bridge: StdioConnection, fastmcp: StdioConnection | None, scale: float
) -> ResultRow:
    """Measure the memory of servers after many calls."""
    calls = max(500, round(10_000 * scale))
    early: dict[str, float] = {}
    late: dict[str, float] = {}
    servers = {"floor": floor, "bridge": bridge, **({"from_openapi": fastmcp} if fastmcp is not None else {})}
    for name, connection in servers.items():
        tool = "nothing" if connection is floor else HEALTH_TOOL
        await measure_rate(lambda connection=connection, tool=tool: call(connection, tool), calls // 5, 16)
        early[name] = resident_bytes(connection.process.pid) / MEGABYTE
        await measure_rate(lambda connection=connection, tool=tool: call(connection, tool), calls - calls // 5, 16)
        late[name] = resident_bytes(connection.process.pid) / MEGABYTE
    return ResultRow(
        f"memory after {calls:,} calls",
        {name: Samples([value], "MB") for name, value in late.items()},
        [late["bridge"] / late["floor"]],
        "bridge / floor",
        1.10,
        note=f"{early['bridge']:.1f} MB after the first {calls // 5:,} calls, {late['bridge']:.1f} MB after all.",
    )
