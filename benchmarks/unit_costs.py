"""What one call, poll, task, session, subscriber, event and notification cost a replica over HTTP, and OpenCode.

What the processes spend while they are idle is in none of them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.bridge import find_opencode_pids
from tests.server.connections import free_port

from .calls import HEALTH_TOOL, measure_cost
from .connections import LEGACY, MODERN, call, open_http_connection
from .events import LatencyRecorder, subscribe
from .polling import POLLING_SECONDS, TASKS, poll_tasks
from .processes import cpu_of_work, resident_bytes
from .setup import BRIDGE, READ_SECONDS, TOKEN, BenchmarkSetup, run_server

CALLS, TASK_COUNT, SESSIONS, SUBSCRIBERS = 2_000, 20, 500, 400
WATCHED, CHANGES = 20, 10
PAUSE_SECONDS = 0.6
"""Longer than the minimum interval between two notifications of a resource."""


@dataclass(frozen=True)
class MeasuredCosts:
    """Seconds of CPU, and bytes, as in `capacity.UnitCosts`."""

    call: float
    poll: float
    notification: float
    task: float
    event: float
    opencode_call: float
    opencode_task: float
    replica_memory: float
    session_memory: float
    subscriber_memory: float
    opencode_memory: float


@dataclass(frozen=True)
class Replica:
    """A running bridge over HTTP, its port, and the process ids of the bridge and OpenCode."""

    port: int
    pid: int
    opencode_pid: int

    @property
    def url(self) -> str:
        """The MCP endpoint."""
        return f"http://127.0.0.1:{self.port}/mcp"


@asynccontextmanager
async def open_replica(setup: BenchmarkSetup) -> AsyncGenerator[Replica]:
    """Start a bridge over HTTP."""
    port = free_port()
    [opencode_pid] = find_opencode_pids(f"HOME={setup.folder / 'home'}")
    async with run_server((*BRIDGE, "http", "--port", str(port)), setup.attached_environ, port) as process:
        yield Replica(port, process.pid, opencode_pid)


async def measure_unit_costs(setup: BenchmarkSetup) -> MeasuredCosts:
    """Measure all of them; the events of a task are counted as events, not as a part of the task."""
    async with open_replica(setup) as replica, setup.open_direct_client() as direct:
        call_cpu = await measure_calls(replica)
        task_cpu, task_events = await measure_tasks(replica, direct)
        memory = resident_bytes(replica.pid)
        session_memory = await measure_session_memory(replica)
    async with open_replica(setup) as replica, setup.open_direct_client() as direct:
        event, notification, subscriber_memory = await measure_subscribers(replica, direct)
    polling = await poll_tasks(setup, [setup.project] * TASKS, POLLING_SECONDS)
    return MeasuredCosts(
        call=call_cpu[0],
        poll=(polling.bridge_cpu - polling.idle_bridge_cpu) / polling.polls,
        notification=notification,
        task=max(0.0, task_cpu[0] - task_events * event),
        event=event,
        opencode_call=call_cpu[1],
        opencode_task=task_cpu[1],
        replica_memory=memory,
        session_memory=session_memory,
        subscriber_memory=subscriber_memory,
        opencode_memory=polling.opencode_memory,
    )


async def measure_calls(replica: Replica) -> list[float]:
    """Return the CPU of a read: of the bridge, and of OpenCode."""
    async with open_http_connection(replica.url, MODERN, TOKEN) as client:
        await call(client, HEALTH_TOOL)
        cpu = await cpu_of_work(
            (replica.pid, replica.opencode_pid),
            lambda: measure_cost(lambda: call(client, HEALTH_TOOL), CALLS, 16, replica.pid),
        )
        return [seconds / CALLS for seconds in cpu]


async def measure_tasks(replica: Replica, direct: httpx2.AsyncClient) -> tuple[list[float], float]:
    """Return the CPU of a task whose model answers at once, of the bridge and of OpenCode, and its number of events."""
    async with open_http_connection(replica.url, LEGACY, TOKEN) as client, EventCounter(direct) as counter:
        events = 0

        async def run(tasks: int) -> None:
            nonlocal events
            before = counter.count
            for _ in range(tasks):
                await call(client, "run_task", prompt="script:text hello", timeout_seconds=READ_SECONDS)
            events = counter.count - before

        await run(1)
        cpu = await cpu_of_work((replica.pid, replica.opencode_pid), lambda: run(TASK_COUNT))
        return [seconds / TASK_COUNT for seconds in cpu], events / TASK_COUNT


async def measure_session_memory(replica: Replica) -> float:
    """Return the memory of an open session of the handshake versions."""
    before = resident_bytes(replica.pid)
    for _ in range(SESSIONS):
        async with open_http_connection(replica.url, LEGACY, TOKEN):
            pass  # the session stays open without a connection
    return (resident_bytes(replica.pid) - before) / SESSIONS


async def measure_subscribers(replica: Replica, direct: httpx2.AsyncClient) -> tuple[float, float, float]:
    """Return the CPU of an event without a subscriber, the CPU of a notification, and the memory of a subscriber."""
    ids = [(await direct.post("/session", json={})).json()["id"] for _ in range(WATCHED)]
    async with AsyncExitStack() as stack, EventCounter(direct) as counter:

        async def add(session: str) -> None:
            client = await stack.enter_async_context(open_http_connection(replica.url, MODERN, TOKEN))
            await stack.enter_async_context(subscribe(client, session, recorder))

        recorder = LatencyRecorder()
        await add((await direct.post("/session", json={})).json()["id"])
        unfollowed, events = await change_sessions(replica, direct, ids, counter)
        before = resident_bytes(replica.pid)
        for number in range(SUBSCRIBERS):
            await add(ids[number % WATCHED])
        memory = (resident_bytes(replica.pid) - before) / SUBSCRIBERS
        followed, _ = await change_sessions(replica, direct, ids, counter)
    notifications = CHANGES * SUBSCRIBERS
    return unfollowed / events, max(0.0, followed - unfollowed) / notifications, memory


async def change_sessions(
    replica: Replica, direct: httpx2.AsyncClient, ids: list[str], counter: EventCounter
) -> tuple[float, int]:
    """Change each session some times; return the bridge's CPU and the number of events."""
    events = 0

    async def change() -> None:
        nonlocal events
        before = counter.count
        for turn in range(CHANGES):
            for session in ids:
                (await direct.patch(f"/session/{session}", json={"title": f"turn {turn}"})).raise_for_status()
            await asyncio.sleep(PAUSE_SECONDS)
        events = counter.count - before

    [cpu] = await cpu_of_work([replica.pid], change)
    return max(0.0, cpu), events


class EventCounter:
    """Counts the events of OpenCode while the block lasts."""

    def __init__(self, direct: httpx2.AsyncClient) -> None:
        self.count = 0
        self._direct = direct

    async def __aenter__(self) -> EventCounter:
        self._reader = asyncio.create_task(self._read())
        while not self.count:  # the first one is server.connected
            await asyncio.sleep(0.05)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()

    async def _read(self) -> None:
        async with self._direct.stream("GET", "/global/event", timeout=None) as response:
            async for event in httpx2.EventSource(response):
                payload: dict[str, Any] = json.loads(event.data)["payload"]
                self.count += bool(payload["type"])
