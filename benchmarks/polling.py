"""The rows about polled tasks: what a client costs that asks for each of its running tasks once a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import anyio
import httpx2
from mcp import Client

from tests.bridge import find_opencode_pids
from tests.server.connections import free_port
from tests.task_client import TaskClient, TaskHandle, send_task_request

from .processes import cpu_seconds, resident_bytes
from .results import ResultRow, Samples, format_number
from .setup import BRIDGE, BenchmarkSetup, run_server
from .targets import TARGETS

TASKS = 50
WARM_UP_SECONDS, POLLING_SECONDS = 10.0, 30.0
REQUEST_COUNT = "opencode_mcp_request_duration_seconds_count"


@dataclass(frozen=True)
class PollingCost:
    """What each second of polling costs: polls, requests to OpenCode, and the share of a core of both processes.

    Those that begin with `idle` are the figures while the tasks run and nothing is asked. `opencode_memory` is the
    number of bytes with the tasks running.
    """

    polls: float
    requests: float
    idle_requests: float
    bridge_cpu: float
    idle_bridge_cpu: float
    opencode_cpu: float
    idle_opencode_cpu: float
    opencode_memory: float


async def measure_rows(setup: BenchmarkSetup, scale: float) -> list[ResultRow]:
    """Measure the rows about polled tasks; a short run has the first only, as OpenCode loads directories slowly."""
    tasks, seconds = max(10, round(TASKS * scale)), max(10.0, POLLING_SECONDS * scale)
    rows = [make_row("in one directory", tasks, await poll_tasks(setup, [setup.project] * tasks, seconds))]
    if scale >= 1:
        directories = [setup.folder / "polled" / str(number) for number in range(tasks)]
        for directory in directories:
            directory.mkdir(parents=True)
        cost = await poll_tasks(setup, directories, seconds)
        rows.append(make_row("each in a directory of its own", tasks, cost))
    return rows


def make_row(where: str, tasks: int, cost: PollingCost) -> ResultRow:
    """Return the row of tasks that run somewhere."""
    note = (
        f"{cost.polls:.0f} polls per second take {format_number(1000 * cost.bridge_cpu / cost.polls)} ms of the "
        f"bridge's CPU each; OpenCode uses {cost.opencode_cpu:.0%} of a core, {cost.idle_opencode_cpu:.0%} without "
        "polls."
    )
    return ResultRow(
        f"`tasks/get` of {tasks} running tasks {where}, each once a second: requests to OpenCode per second",
        {"bridge": Samples([cost.requests], "/s"), "without polls": Samples([cost.idle_requests], "/s")},
        [cost.requests],
        "bridge",
        TARGETS["polls"],
        note=note,
    )


async def poll_tasks(setup: BenchmarkSetup, directories: Sequence[Path], seconds: float) -> PollingCost:
    """Poll tasks that wait for their models, one for each directory, each once a second."""
    port = free_port()
    environ = {**setup.attached_environ, "OPENCODE_MCP_NO_AUTH": "1", "OPENCODE_MCP_DIRECTORY": str(setup.project)}
    del environ["OPENCODE_MCP_TOKEN"]
    url = f"http://127.0.0.1:{port}/mcp"
    async with (
        run_server((*BRIDGE, "http", "--metrics", "--port", str(port)), environ, port) as bridge,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):
        [opencode] = find_opencode_pids(f"HOME={setup.folder / 'home'}")

        async def read() -> tuple[float, float, float]:
            return await count_requests(http), cpu_seconds(bridge.pid), cpu_seconds(opencode)

        async with TaskClient(url) as client:
            handles = await start_tasks(client, directories)
            await poll_each(client, handles, WARM_UP_SECONDS)
        readings = [await read()]
        await anyio.sleep(seconds)
        readings.append(await read())
        async with TaskClient(url) as client:  # another one, as the bridge has closed the connections of the first
            polls = await poll_each(client, handles, seconds)
            readings.append(await read())
            memory = resident_bytes(opencode)
            for handle in handles:
                await send_task_request(client.session, "tasks/cancel", handle.task_id)
        idle, polled = (
            [(late - early) / seconds for early, late in zip(*pair, strict=True)] for pair in pairwise(readings)
        )
        requests, bridge_cpu, opencode_cpu = polled
        return PollingCost(polls / seconds, requests, idle[0], bridge_cpu, idle[1], opencode_cpu, idle[2], memory)


async def start_tasks(client: Client, directories: Sequence[Path]) -> list[TaskHandle]:
    """Start tasks whose model never answers, one for each directory, which OpenCode loads one after another."""
    handles: list[TaskHandle] = []
    for directory in directories:
        arguments = {"prompt": "script:hang", "directory": str(directory), "timeout_seconds": 0}
        handle = await client.session.call_tool("run_task", arguments, allow_claimed=True)
        assert isinstance(handle, TaskHandle), handle
        handles.append(handle)
    return handles


async def poll_each(client: Client, handles: Sequence[TaskHandle], seconds: float) -> int:
    """Poll every task once a second; return the number of polls."""
    polls = 0
    deadline = anyio.current_time() + seconds

    async def poll(handle: TaskHandle) -> None:
        nonlocal polls
        while (began := anyio.current_time()) < deadline:
            state = await send_task_request(client.session, "tasks/get", handle.task_id)
            assert state.status == "working", state
            polls += 1
            await anyio.sleep_until(began + 1)

    async with anyio.create_task_group() as group:
        for handle in handles:
            group.start_soon(poll, handle)
    return polls


async def count_requests(http: httpx2.AsyncClient) -> float:
    """Return how many requests the bridge has made to OpenCode."""
    lines = (await http.get("/metrics")).raise_for_status().text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(REQUEST_COUNT))
