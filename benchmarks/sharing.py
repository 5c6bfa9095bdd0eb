"""Rows about several assistants of a user: the second one's start, its calls beside a busy one, and their memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from time import perf_counter

from opencode_mcp.opencode.process.supervisor import list_processes
from tests.bridge import find_processes

from .calls import MEGABYTE, time_call
from .connections import StdioConnection, call, open_stdio
from .processes import resident_bytes
from .results import MILLISECONDS, ResultRow, Samples, interleave, pair_ratios, percentile
from .setup import BRIDGE, BenchmarkSetup
from .targets import TARGETS

SHARED = {"OPENCODE_MCP_NO_SHARE": "0", "OPENCODE_MCP_LINGER": "0"}
MARK = {"BENCHMARK": "memory"}
"""Tells the weighed processes from others."""
ASSISTANTS = (1, 2, 4)
AT_ONCE, READS = 100, 100
BESIDE = f"beside {AT_ONCE} requests"
SETTLE_SECONDS = 3.0
WARM_UP_READS = 2
"""The first reads of a project load it."""


async def measure_rows(setup: BenchmarkSetup, scale: float) -> list[ResultRow]:
    """Measure the rows about several assistants."""
    return [
        await measure_first_result(setup, max(3, round(12 * scale))),
        await measure_reads(setup, max(1, round(5 * scale))),
        await measure_memory(setup, max(1, round(3 * scale))),
        await measure_more_memory(setup, max(1, round(5 * scale))),
    ]


@asynccontextmanager
async def open_bridges(
    setup: BenchmarkSetup, environ: Mapping[str, str], count: int
) -> AsyncGenerator[list[StdioConnection]]:
    """Run bridges that have each called a tool."""
    async with AsyncExitStack() as stack:
        bridges = [
            await stack.enter_async_context(open_stdio(BRIDGE, {**setup.environ, **environ}, str(setup.project)))
            for _ in range(count)
        ]
        for bridge in bridges:
            await call(bridge, "global_health")
        yield bridges


async def measure_first_result(setup: BenchmarkSetup, rounds: int) -> ResultRow:
    """Measure the start of a second bridge."""
    starts, results = list[float](), list[float]()
    async with open_bridges(setup, SHARED, 1):
        for _ in range(rounds):
            began = perf_counter()
            async with open_stdio(BRIDGE, {**setup.environ, **SHARED}, str(setup.project)) as second:
                starts.append(perf_counter() - began)
                results.append(await time_call(lambda second=second: call(second, "global_health")))
    return ResultRow(
        "second assistant: from the answer to `initialize` to its first result",
        {"start, until `initialize` is answered": Samples(starts, "s"), "first result": Samples(results, "s")},
        results,
        "first result",
        TARGETS["second result"],
    )


async def measure_reads(setup: BenchmarkSetup, rounds: int) -> ResultRow:
    """Measure reads through one bridge while another one has many requests at once."""
    async with open_bridges(setup, SHARED, 2) as (busy, reader):

        async def read_all() -> float:
            times = [await time_call(lambda: call(reader, "session_list")) for _ in range(READS)]
            return MILLISECONDS * percentile(times, 99)

        async def read_beside() -> float:
            over = asyncio.Event()

            async def request_on() -> None:
                while not over.is_set():
                    await call(busy, "session_list")

            async with asyncio.TaskGroup() as requests:
                for _ in range(AT_ONCE):
                    requests.create_task(request_on())
                figure = await read_all()
                over.set()
            return figure

        figures = await interleave(rounds, {"alone": read_all, BESIDE: read_beside})
    return ResultRow(
        f"`session_list` of one assistant while another has {AT_ONCE} requests at once, p99",
        {name: Samples(values, "ms") for name, values in figures.items()},
        figures[BESIDE],
        BESIDE,
        TARGETS["reads beside"],
    )


async def measure_memory(setup: BenchmarkSetup, rounds: int) -> ResultRow:
    """Measure the memory of bridges that share an OpenCode, and of as many with one each."""
    environs = {"with one each": MARK, "sharing one": {**MARK, **SHARED}}
    subjects = {
        f"{count} {name}": partial(weigh_bridges, setup, environ, count)
        for count in ASSISTANTS
        for name, environ in environs.items()
    }
    figures = await interleave(rounds, subjects)
    each, shared = (figures[f"{ASSISTANTS[-1]} {name}"] for name in environs)
    return ResultRow(
        "memory of assistants that have each run a task: bridges, supervisors and OpenCode",
        {name: Samples(values, "MB") for name, values in figures.items()},
        pair_ratios(shared, each),
        f"{ASSISTANTS[-1]} sharing one / {ASSISTANTS[-1]} with one each",
        TARGETS["assistants"],
    )


async def measure_more_memory(setup: BenchmarkSetup, rounds: int) -> ResultRow:
    """Measure by how much a shared OpenCode grows when a second assistant connects and reads."""
    single, pair = list[float](), list[float]()
    environ = {**setup.environ, **SHARED, **MARK}
    for _ in range(rounds):
        async with open_bridges(setup, {**MARK, **SHARED}, 1) as [first]:
            for _ in range(WARM_UP_READS):
                await read_settled(first)
            single.append(await read_settled(first))
            async with open_stdio(BRIDGE, environ, str(setup.project)) as second:
                pair.append(await read_settled(second))
    more = [after - before for before, after in zip(single, pair, strict=True)]
    return ResultRow(
        "memory of a shared OpenCode after a second assistant has connected and read",
        {"one assistant": Samples(single, "MB"), "two": Samples(pair, "MB")},
        more,
        "two less one",
        TARGETS["second memory"],
    )


async def read_settled(bridge: StdioConnection) -> float:
    """Let an assistant read, and return the megabytes of its OpenCode and the supervisor some seconds later."""
    for tool in ("global_health", "session_list", "app_agents"):
        await call(bridge, tool)
    await asyncio.sleep(SETTLE_SECONDS)
    pids = [pid for pid, line in find_processes("BENCHMARK=memory").items() if " serve" in line or "supervisor" in line]
    return sum(resident_bytes(pid) for pid in pids) / MEGABYTE


async def weigh_bridges(setup: BenchmarkSetup, environ: Mapping[str, str], count: int) -> float:
    """Return the megabytes of bridges and all their processes, each page divided among those that share it."""
    async with open_bridges(setup, environ, count) as bridges:
        for bridge in bridges:
            await call(bridge, "run_task", prompt="script:text hello")
        await asyncio.sleep(SETTLE_SECONDS)
        return sum(read_proportional_megabytes(pid) for pid, _ in list_processes())


def read_proportional_megabytes(pid: int) -> float:
    """Return a process's share of the memory that it uses; 0 if it has no MARK, or has ended."""
    process = Path(f"/proc/{pid}")
    with suppress(OSError):
        if "BENCHMARK=memory" in (process / "environ").read_text(errors="replace").split("\0"):
            return int((process / "smaps_rollup").read_text().partition("\nPss:")[2].split()[0]) / 1024
    return 0.0
