"""Rows about calls: the tool list, overhead, throughput, memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from time import perf_counter

import aiohttp
import httpx2

from .figures import MILLISECONDS, Row, Samples, interleave, pair_ratios
from .stage import BRIDGE, FLOOR, FROM_OPENAPI, TOKEN, Stage, free_port, resident_bytes, serving
from .wire import LEGACY, MODERN, Stdio, Wire, call, http, stdio

Call = Callable[[], Awaitable[object]]

KILOBYTE, MEGABYTE = 1_000, 1_000_000
HEALTH = "global_health"


async def seconds(one: Call) -> float:
    """Return the duration of a call."""
    begin = perf_counter()
    await one()
    return perf_counter() - begin


async def rate(one: Call, calls: int, concurrent: int) -> float:
    """Return the calls per second with a constant number of concurrent calls."""
    remaining = iter(range(calls))

    async def work() -> None:
        for _ in remaining:
            await one()

    begin = perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrent):
            tasks.create_task(work())
    return calls / (perf_counter() - begin)


async def rows(stage: Stage, scale: float) -> list[Row]:
    """Measure the rows about calls."""
    cwd = str(stage.project)
    async with (
        stage.direct() as direct,
        stdio(FLOOR, stage.attached, cwd) as floor,
        stdio(BRIDGE, stage.attached, cwd) as bridge,
        AsyncExitStack() as stack,
    ):
        fastmcp: Stdio | None = None
        if scale >= 1:  # a short run measures the bridge only
            fastmcp = await stack.enter_async_context(stdio(FROM_OPENAPI, stage.attached, cwd))
        found = [
            *await listing(bridge, fastmcp, scale),
            await cost(direct, floor, bridge, fastmcp, scale),
            *await throughput("stdio", stage, direct, floor, bridge, scale, fastmcp),
            await memory(floor, bridge, fastmcp, scale),
        ]
        for protocol_version in (LEGACY, MODERN):
            async with over_http(stage, protocol_version) as (http_floor, http_bridge):
                found += await throughput(f"HTTP {protocol_version}", stage, direct, http_floor, http_bridge, scale)
    return found


@asynccontextmanager
async def over_http(stage: Stage, protocol_version: str) -> AsyncGenerator[tuple[Wire, Wire]]:
    """Start the floor and the bridge over HTTP."""
    ports = free_port(), free_port()
    command = (*BRIDGE, "http", "--port", str(ports[1]))
    async with (
        serving((*FLOOR, str(ports[0])), stage.environ, ports[0]),
        serving(command, stage.attached, ports[1]),
        http(f"http://127.0.0.1:{ports[0]}/mcp", protocol_version) as floor,
        http(f"http://127.0.0.1:{ports[1]}/mcp", protocol_version, TOKEN) as bridge,
    ):
        yield floor, bridge


async def listing(bridge: Stdio, fastmcp: Stdio | None, scale: float) -> list[Row]:
    """Measure `tools/list` of all tools."""
    servers = {"bridge": bridge, **({"from_openapi": fastmcp} if fastmcp is not None else {})}
    taken = await interleave(
        max(5, round(50 * scale)),
        {
            name: lambda server=server: seconds(lambda: server.request("tools/list", {}))
            for name, server in servers.items()
        },
    )
    times = {name: Samples([MILLISECONDS * value for value in values], "ms") for name, values in taken.items()}
    sizes = {
        name: Samples([len(await server.request("tools/list", {})) / KILOBYTE], "KB")
        for name, server in servers.items()
    }
    return [
        Row("`tools/list` of every tool over stdio, p50", times, times["bridge"].values, "bridge", 6, unit="ms"),
        Row("size of `tools/list`", sizes, sizes["bridge"].values, "bridge", 120, unit="KB"),
    ]


async def cost(direct: httpx2.AsyncClient, floor: Stdio, bridge: Stdio, fastmcp: Stdio | None, scale: float) -> Row:
    """Measure the overhead of a call over the request that it sends."""
    taken = await interleave(
        max(50, round(500 * scale)),
        {
            "floor": lambda: seconds(lambda: call(floor, "nothing")),
            "direct": lambda: seconds(lambda: direct.get("/global/health")),
            "bridge": lambda: seconds(lambda: call(bridge, HEALTH)),
            **({"from_openapi": lambda: seconds(lambda: call(fastmcp, HEALTH))} if fastmcp is not None else {}),
        },
    )
    middle = {name: median(values) for name, values in taken.items()}
    return Row(
        "overhead of a call over the direct request (GET /global/health, one client, p50)",
        {name: Samples([MILLISECONDS * value for value in values], "ms") for name, values in taken.items()},
        [(middle["bridge"] - middle["direct"]) / middle["floor"]],
        "(bridge less direct) / floor's no-op",
        1.3,
    )


async def throughput(
    over: str,
    stage: Stage,
    direct: httpx2.AsyncClient,
    floor: Wire,
    bridge: Wire,
    scale: float,
    fastmcp: Wire | None = None,
) -> list[Row]:
    """Measure the throughput."""
    found: list[Row] = []
    calls, rounds = max(200, round(800 * scale)), 3
    async with raw(stage) as asked:
        for concurrent in (16, 64) if scale >= 1 else (16,):
            subjects: dict[str, Call] = {
                "floor": lambda: call(floor, "nothing"),
                "direct": lambda: direct.get("/global/health"),
                "bridge": lambda: call(bridge, HEALTH),
                "OpenCode's raw limit": asked,
            }
            if fastmcp is not None:
                subjects["from_openapi"] = lambda: call(fastmcp, HEALTH)
            taken = await interleave(
                rounds,
                {
                    name: lambda one=one, concurrent=concurrent: rate(one, calls, concurrent)
                    for name, one in subjects.items()
                },
            )
            pairs = list(zip(taken["floor"], taken["direct"], strict=True))
            both = median(1 / (1 / one + 1 / other) for one, other in pairs)
            found.append(
                Row(
                    f"calls per second, {concurrent} concurrent, {over}",
                    {name: Samples(values, "/s") for name, values in taken.items()},
                    pair_ratios(taken["bridge"], [min(pair) for pair in pairs]),
                    "bridge / min(floor, direct)",
                    0.8,
                    at_least=True,
                    note=f"A single process that does the work of both baselines would reach {both:,.0f} /s.",
                )
            )
    return found


@asynccontextmanager
async def raw(stage: Stage) -> AsyncGenerator[Call]:
    """Provide a request with the cheapest client, which measures OpenCode's own limit."""
    endpoint = stage.endpoint
    auth = aiohttp.BasicAuth(endpoint.username, endpoint.password or "")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auth=auth) as session:

        async def ask() -> None:
            async with session.get(f"{endpoint.base_url}/global/health") as response:
                await response.read()

        yield ask


async def memory(floor: Stdio, bridge: Stdio, fastmcp: Stdio | None, scale: float) -> Row:
    """Measure the memory of servers after many calls."""
    calls = max(500, round(10_000 * scale))
    early: dict[str, float] = {}
    late: dict[str, float] = {}
    servers = {"floor": floor, "bridge": bridge, **({"from_openapi": fastmcp} if fastmcp is not None else {})}
    for name, wire in servers.items():
        tool = "nothing" if wire is floor else HEALTH
        await rate(lambda wire=wire, tool=tool: call(wire, tool), calls // 5, 16)
        early[name] = resident_bytes(wire.process.pid) / MEGABYTE
        await rate(lambda wire=wire, tool=tool: call(wire, tool), calls - calls // 5, 16)
        late[name] = resident_bytes(wire.process.pid) / MEGABYTE
    return Row(
        f"memory after {calls:,} calls",
        {name: Samples([value], "MB") for name, value in late.items()},
        [late["bridge"] / late["floor"]],
        "bridge / floor",
        1.10,
        note=f"{early['bridge']:.1f} MB after the first {calls // 5:,} calls, {late['bridge']:.1f} MB after all.",
    )
