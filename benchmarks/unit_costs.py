"""What one call, poll, task, session, subscriber, event and notification cost a replica over HTTP, and OpenCode."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.bridge import find_opencode_pids

from .calls import HEALTH_TOOL, measure_cost
from .connections import LEGACY, MODERN, HttpConnection, call, open_http_connection
from .events import LatencyRecorder, subscribe
from .polling import POLLING_SECONDS, TASKS, poll_tasks
from .processes import cpu_seconds, resident_bytes
from .setup import BRIDGE, READ_SECONDS, TOKEN, BenchmarkSetup, free_port, run_server

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
    """Measure all of them."""
    async with open_replica(setup) as replica:
        call_cpu, task_cpu = await measure_calls(replica), await measure_tasks(replica)
        memory = resident_bytes(replica.pid)
        session_memory = await measure_session_memory(replica)
    async with open_replica(setup) as replica, setup.open_direct_client() as direct:
        event, notification, subscriber_memory = await measure_subscribers(replica, direct)
        opencode_memory = resident_bytes(replica.opencode_pid)
    polling = await poll_tasks(setup, TASKS, POLLING_SECONDS)
    return MeasuredCosts(
        call=call_cpu[0],
        poll=polling.bridge_cpu / polling.polls,
        notification=notification,
        task=task_cpu[0],
        event=event,
        opencode_call=call_cpu[1],
        opencode_task=task_cpu[1],
        replica_memory=memory,
        session_memory=session_memory,
        subscriber_memory=subscriber_memory,
        opencode_memory=opencode_memory,
    )


async def measure_calls(replica: Replica) -> tuple[float, float]:
    """Return the CPU of a read: of the bridge, and of OpenCode."""
    async with open_http_connection(replica.url, MODERN, TOKEN) as client:
        await call(client, HEALTH_TOOL)
        before = cpu_seconds(replica.opencode_pid)
        cost = await measure_cost(lambda: call(client, HEALTH_TOOL), CALLS, 16, replica.pid)
        return cost.cpu, (cpu_seconds(replica.opencode_pid) - before) / CALLS


async def measure_tasks(replica: Replica) -> tuple[float, float]:
    """Return the CPU of a task whose model answers at once: of the bridge, and of OpenCode."""

    async def run(client: HttpConnection) -> None:
        await call(client, "run_task", prompt="script:text hello", timeout_seconds=READ_SECONDS)

    async with open_http_connection(replica.url, LEGACY, TOKEN) as client:
        await run(client)
        before = cpu_seconds(replica.opencode_pid)
        cost = await measure_cost(lambda: run(client), TASK_COUNT, 1, replica.pid)
        return cost.cpu, (cpu_seconds(replica.opencode_pid) - before) / TASK_COUNT


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
    cpu, events = cpu_seconds(replica.pid), counter.count
    for turn in range(CHANGES):
        for session in ids:
            (await direct.patch(f"/session/{session}", json={"title": f"turn {turn}"})).raise_for_status()
        await asyncio.sleep(PAUSE_SECONDS)
    return cpu_seconds(replica.pid) - cpu, counter.count - events


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
