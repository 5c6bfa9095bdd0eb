"""A simulation of replicas with many subscribers on a real Redis: the bridge's bus and watchers, without HTTP.

python -m benchmarks.fanout REDIS_URL NUMBER REPLICAS SUBSCRIBERS runs every PROCESSES-th replica, each with a bus and
watchers of its own. It reads when to begin from stdin, and writes its `ProcessFigures` to stdout. Every replica gets
each event, as from the event stream of one OpenCode; the one that holds the session's lease publishes it. Each session
has ten subscribers, on two neighbouring replicas, so that half of the notifications cross Redis.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from math import inf
from time import perf_counter
from typing import cast

import anyio
from mcp.server.subscriptions import ResourceUpdated, ServerEvent

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.opencode.events import Event, Listener
from opencode_mcp.server.subscriptions.bus import Bus
from opencode_mcp.server.subscriptions.redis_bus import open_redis_bus
from opencode_mcp.server.subscriptions.watcher import ChangeFilter, WatcherPool
from tests.server.connections import free_port

from .processes import cpu_seconds, resident_bytes
from .results import percentile
from .setup import REPOSITORY, run_server

PROCESSES = 4
SUBSCRIBERS_OF_SESSION, REPLICAS_OF_SESSION = 10, 2
CHANGES_PER_SECOND = 10
SETTLE_SECONDS, IDLE_SECONDS, SECONDS, LAST_SECONDS = 10.0, 15.0, 20.0, 20.0
STEP = 7_919
"""A prime: the changes visit the sessions in no order that a replica's share follows."""
SUBSCRIBED_AT_ONCE = 10
CHANGES = ChangeFilter(("session.",))


@dataclass(frozen=True)
class ProcessFigures:
    """What a process has measured: seconds from when each change was due, seconds of CPU each second, bytes.

    `lost` notifications did not arrive within LAST_SECONDS. `cpu` is with changes, `idle_cpu` without.
    """

    latencies: Sequence[float]
    lost: int
    idle_cpu: float
    cpu: float
    memory: int


@dataclass(frozen=True)
class FanoutFigures:
    """The figures of all processes, and Redis' seconds of CPU each second."""

    replicas: int
    subscribers: int
    processes: Sequence[ProcessFigures]
    redis_idle_cpu: float
    redis_cpu: float

    @property
    def watched(self) -> int:
        """The number of resources that replicas watch, or would if they held the lease."""
        return self.subscribers * REPLICAS_OF_SESSION // SUBSCRIBERS_OF_SESSION

    @property
    def lost(self) -> int:
        """The notifications that did not arrive."""
        return sum(process.lost for process in self.processes)

    @property
    def idle_cpu(self) -> float:
        """The replicas' seconds of CPU each second without changes."""
        return sum(process.idle_cpu for process in self.processes)

    @property
    def cpu_of_change(self) -> float:
        """A replica's seconds of CPU for a change of any session."""
        more = sum(process.cpu for process in self.processes) - self.idle_cpu
        return more / CHANGES_PER_SECOND / self.replicas

    @property
    def redis_cpu_of_change(self) -> float:
        """Redis' seconds of CPU for a change, for each replica that gets it."""
        return (self.redis_cpu - self.redis_idle_cpu) / CHANGES_PER_SECOND / self.replicas

    def latency(self, percent: float) -> float:
        """A percentile of the seconds from a change to each subscriber."""
        return percentile([one for process in self.processes for one in process.latencies], percent)


class SimulatedFeed:
    """The events of an OpenCode, as the event feed of a client provides them."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []

    @contextmanager
    def subscribe(self, listener: Listener) -> Generator[None]:
        """Call `listener` with every event while the block lasts."""
        self.listeners.append(listener)
        try:
            yield
        finally:
            self.listeners.remove(listener)

    def dispatch(self, event: Event) -> None:
        """Call all listeners with an event."""
        for listener in self.listeners:
            listener(event)


@dataclass(frozen=True)
class SimulatedOpenCode:
    """What a watcher without subagents uses of a client."""

    events: SimulatedFeed


def sessions_of(replica: int, replicas: int, subscribers: int) -> list[int]:
    """Return the sessions that the subscribers of a replica follow."""
    sessions = range(subscribers // SUBSCRIBERS_OF_SESSION)
    return [one for one in sessions if replica in {(one + at) % replicas for at in range(REPLICAS_OF_SESSION)}]


def changed_session(number: int, subscribers: int) -> int:
    """Return the session that a change is about; the first ones are all about different sessions."""
    return number * STEP % (subscribers // SUBSCRIBERS_OF_SESSION)


def session_id(session: int) -> str:
    """Return an id as long as OpenCode's."""
    return f"ses_{session:026d}"


def due_times(subscribers: int) -> dict[str, float]:
    """Return the seconds after which each changed session changes, by its URI."""
    count = min(round(SECONDS * CHANGES_PER_SECOND), subscribers // SUBSCRIBERS_OF_SESSION)
    return {uri_of(changed_session(number, subscribers)): number / CHANGES_PER_SECOND for number in range(count)}


def uri_of(session: int) -> str:
    """Return the URI of a session's resource."""
    return f"opencode://session/{session_id(session)}"


Subscriber = tuple[str, int]
"""The URI that a subscriber follows, and its number among those of the URI and the replica."""


@dataclass
class Replica:
    """A replica's bus, watchers and subscribers: when each change is due on the clock of all, and what has arrived."""

    bus: Bus
    pool: WatcherPool
    feed: SimulatedFeed
    stack: AsyncExitStack
    due: dict[Subscriber, float] = field(default_factory=dict[Subscriber, float])
    latencies: list[float] = field(default_factory=list[float])

    async def subscribe(self, sessions: Iterable[int]) -> None:
        """Subscribe to sessions, as the handlers do, and stay subscribed."""
        opencode = cast(OpenCodeClient, SimulatedOpenCode(self.feed))
        for session in sessions:
            target = uri_of(session), session_id(session), CHANGES, opencode
            for subscriber in subscribers_of(uri_of(session)):
                watcher = await self.stack.enter_async_context(self.pool.watch(*target))
                self.bus.subscribe(self.listener(subscriber), [ResourceUpdated(subscriber[0])])
                watcher.subscriber_listening.set()

    def listener(self, subscriber: Subscriber) -> Callable[[ServerEvent], None]:
        """Return a listener as `forward_updates` registers it."""

        def on_event(_: ServerEvent) -> None:
            if (now := perf_counter()) >= self.due.get(subscriber, inf):
                self.latencies.append(now - self.due.pop(subscriber))

        return on_event


def subscribers_of(uri: str) -> list[Subscriber]:
    """Return the subscribers of a URI on a replica."""
    return [(uri, number) for number in range(SUBSCRIBERS_OF_SESSION // REPLICAS_OF_SESSION)]


async def wait_until_quiet(replicas: Iterable[Replica]) -> None:
    """Wait until nothing is published for SETTLE_SECONDS: each new lease publishes a change to all replicas."""
    last = perf_counter()

    def note(event: ServerEvent) -> None:
        nonlocal last
        last = perf_counter()

    for replica in replicas:
        replica.bus.subscribe(note)
    while perf_counter() - last < SETTLE_SECONDS:
        await anyio.sleep(0.5)


async def sleep_until(moment: float) -> None:
    """Sleep until a moment of `perf_counter`."""
    await anyio.sleep(max(0.0, moment - perf_counter()))


async def open_replica(url: str, number: int, replicas: int, total: int, stack: AsyncExitStack) -> Replica:
    """Open a replica, and subscribe to its sessions."""
    bus = await stack.enter_async_context(open_redis_bus(url, "simulation"))
    tasks = await stack.enter_async_context(background_task_group())
    replica = Replica(bus, WatcherPool(bus, tasks), SimulatedFeed(), stack)
    remaining = iter(sessions_of(number, replicas, total))
    async with anyio.create_task_group() as group:
        for _ in range(SUBSCRIBED_AT_ONCE):
            group.start_soon(replica.subscribe, remaining)
    return replica


async def change_sessions(replicas: Sequence[Replica], begin: float, times: Mapping[str, float]) -> None:
    """Dispatch the event of each session when it is due."""
    for uri, after in times.items():
        await sleep_until(begin + after)
        for replica in replicas:
            replica.feed.dispatch({"type": "session.updated", "properties": {"info": {"id": uri.rpartition("/")[2]}}})
    await sleep_until(begin + SECONDS)


async def run_process(url: str, number: int, count: int, total: int) -> None:
    """Subscribe, wait for the other processes, and measure."""
    pid, times = os.getpid(), due_times(total)
    async with AsyncExitStack() as stack:
        replicas = {one: await open_replica(url, one, count, total, stack) for one in range(number, count, PROCESSES)}
        await wait_until_quiet(replicas.values())
        print("ready", flush=True)
        begin = float(await anyio.to_thread.run_sync(sys.stdin.readline))
        for one, replica in replicas.items():
            followed = {uri_of(session) for session in sessions_of(one, count, total)} & {*times}
            replica.due = {
                subscriber: begin + IDLE_SECONDS + times[uri] for uri in followed for subscriber in subscribers_of(uri)
            }
        await sleep_until(begin)
        readings = [cpu_seconds(pid)]
        await sleep_until(begin + IDLE_SECONDS)
        readings.append(cpu_seconds(pid))
        await change_sessions([*replicas.values()], begin + IDLE_SECONDS, times)
        readings.append(cpu_seconds(pid))
        with anyio.move_on_after(LAST_SECONDS):
            while any(replica.due for replica in replicas.values()):
                await anyio.sleep(0.05)
        figures = ProcessFigures(
            [one for replica in replicas.values() for one in replica.latencies],
            sum(len(replica.due) for replica in replicas.values()),
            (readings[1] - readings[0]) / IDLE_SECONDS,
            (readings[2] - readings[1]) / SECONDS,
            resident_bytes(pid),
        )
        print(json.dumps(asdict(figures)), flush=True)
        os._exit(0)  # ending thousands of subscriptions one by one takes longer than the measurement


@asynccontextmanager
async def run_redis() -> AsyncGenerator[tuple[str, int]]:
    """Run a Redis on loopback that stores nothing; return its URL and process id.

    Raises:
        RuntimeError: there is none on PATH.
    """
    if (program := shutil.which("redis-server")) is None:
        raise RuntimeError("redis-server is not on PATH")
    port = free_port()
    command = (program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no")
    async with run_server(command, {}, port) as redis:
        yield f"redis://127.0.0.1:{port}/0", redis.pid


async def simulate(replicas: int, subscribers: int) -> FanoutFigures:
    """Run replicas with a number of subscribers in all.

    Raises:
        RuntimeError: a process has ended early.
    """
    async with run_redis() as (url, redis_pid):
        command = (sys.executable, "-m", "benchmarks.fanout", url)
        processes = [
            await asyncio.create_subprocess_exec(
                *command,
                str(number),
                str(replicas),
                str(subscribers),
                cwd=REPOSITORY,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=64 * 1024 * 1024,
            )
            for number in range(PROCESSES)
        ]
        try:
            await asyncio.gather(*(read_line(process) for process in processes))
            begin = perf_counter() + SETTLE_SECONDS  # perf_counter is CLOCK_MONOTONIC, which all processes share
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(f"{begin}\n".encode())
            readings: list[float] = []
            for at in (0.0, IDLE_SECONDS, IDLE_SECONDS + SECONDS):
                await sleep_until(begin + at)
                readings.append(cpu_seconds(redis_pid))
            lines = await asyncio.gather(*(read_line(process) for process in processes))
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
                await process.wait()
    idle, busy = (readings[1] - readings[0]) / IDLE_SECONDS, (readings[2] - readings[1]) / SECONDS
    return FanoutFigures(replicas, subscribers, [ProcessFigures(**json.loads(line)) for line in lines], idle, busy)


async def read_line(process: asyncio.subprocess.Process) -> bytes:
    """Return the next line of a process.

    Raises:
        RuntimeError: it has ended.
    """
    assert process.stdout is not None
    if not (line := await process.stdout.readline()):
        raise RuntimeError("a process of the simulation has ended early")
    return line


if __name__ == "__main__":
    url, *numbers = sys.argv[1:]
    number, count, total = map(int, numbers)
    anyio.run(run_process, url, number, count, total)
