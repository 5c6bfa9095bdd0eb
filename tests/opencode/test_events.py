"""The event stream that all listeners share."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field

import anyio
import httpx2
import pytest
from anyio.abc import TaskGroup
from anyio.streams.stapled import StapledObjectStream

from opencode_mcp.exceptions import TransportError
from opencode_mcp.opencode import events
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.opencode.event_readers import READERS
from opencode_mcp.opencode.events import SUBSCRIBE_LAG_SECONDS, EventFeed
from tests.eventually import eventually

pytestmark = pytest.mark.anyio


@dataclass
class Streams:
    """An OpenCode that is only event streams. `states` has "open" and "closed" for each connection."""

    states: list[str] = field(default_factory=list[str])
    sent: StapledObjectStream[bytes] = field(
        default_factory=lambda: StapledObjectStream(*anyio.create_memory_object_stream[bytes](10))
    )

    async def send(self, name: str) -> None:
        """Send an event on the open connection."""
        await self.sent.send(f"data: {json.dumps({'payload': {'type': name, 'properties': {}}})}\n\n".encode())

    async def lose_connection(self) -> None:
        """Let the open connection break."""
        await self.sent.send(b"")

    async def read(self) -> AsyncGenerator[bytes]:
        """Yield what is sent until the connection breaks."""
        async for data in self.sent:
            if not data:
                raise TransportError("the connection broke")
            yield data

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[httpx2.Response]:
        """Open a connection."""
        self.states.append("open")
        try:
            request = httpx2.Request("GET", "http://opencode.test")
            headers = {"content-type": "text/event-stream"}
            yield httpx2.Response(200, headers=headers, content=self.read(), request=request)
        finally:
            self.states.append("closed")

    def feed(self, tasks: TaskGroup) -> EventFeed:
        """Return a feed of the streams."""
        return EventFeed(self.connect, tasks, READERS[1])


@pytest.fixture
async def streams() -> AsyncGenerator[Streams]:
    """The event streams of an OpenCode that is not there."""
    streams = Streams()
    async with streams.sent:
        yield streams


@dataclass
class Heard:
    """The types of the events that a listener has received, and when it did."""

    types: list[str] = field(default_factory=list[str])
    times: list[float] = field(default_factory=list[float])

    def listen(self, event: events.Event) -> None:
        """Receive an event."""
        self.types.append(event["type"])
        self.times.append(anyio.current_time())


async def test_a_stream_stays_open_between_two_tasks(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second listener receives the next event, on the connection of the first."""
    monkeypatch.setattr(events, "LINGER_SECONDS", 60)
    first, second = Heard(), Heard()
    async with background_task_group() as tasks:
        feed = streams.feed(tasks)
        with feed.subscribe(first.listen):
            await eventually(lambda: "stream.ready" in first.types)
        await streams.send("session.updated")
        await anyio.wait_all_tasks_blocked()
        with feed.subscribe(second.listen):
            await streams.send("session.idle")
            await eventually(lambda: second.types)
    assert (second.types, streams.states) == (["session.idle"], ["open", "closed"])


async def test_a_stream_without_listeners_is_closed(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    """After LINGER_SECONDS; the next listener has a new one."""
    monkeypatch.setattr(events, "LINGER_SECONDS", 0.05)
    async with background_task_group() as tasks:
        feed = streams.feed(tasks)
        for expected in (["open"], ["open", "closed", "open"]):
            with feed.subscribe(lambda event: None):
                await eventually(lambda expected=expected: streams.states == expected)
            await eventually(lambda expected=expected: streams.states == [*expected, "closed"])


async def test_a_later_listener_keeps_the_stream(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time since an earlier one has left does not count."""
    monkeypatch.setattr(events, "LINGER_SECONDS", 0.1)
    async with background_task_group() as tasks:
        feed = streams.feed(tasks)
        with feed.subscribe(lambda event: None):
            await eventually(lambda: streams.states)
        with feed.subscribe(lambda event: None):
            await anyio.sleep(0.2)
            assert streams.states == ["open"]


async def test_a_lost_connection_is_made_again(streams: Streams) -> None:
    """The listener receives that it was lost, and when events are complete again."""
    heard = Heard()
    async with background_task_group() as tasks:
        with streams.feed(tasks).subscribe(heard.listen):
            await eventually(lambda: "stream.ready" in heard.types)
            await streams.lose_connection()
            await eventually(lambda: heard.types.count("stream.ready") == 2)
    assert heard.types == ["stream.connected", "stream.ready", "stream.lost", "stream.connected", "stream.ready"]


async def test_a_connection_is_ready_by_its_own_time(streams: Streams) -> None:
    """That an earlier one would have been ready says nothing of it: OpenCode may not send all its events yet."""
    heard = Heard()
    async with background_task_group() as tasks:
        with streams.feed(tasks).subscribe(heard.listen):
            await streams.lose_connection()
            await eventually(lambda: "stream.ready" in heard.types)
    assert heard.types == ["stream.connected", "stream.lost", "stream.connected", "stream.ready"]
    assert heard.times[3] - heard.times[2] > 0.9 * SUBSCRIBE_LAG_SECONDS


async def test_a_lost_connection_never_is_ready(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener that waits for it waits for the next one."""
    monkeypatch.setattr(events, "SUBSCRIBE_LAG_SECONDS", 0.02)
    monkeypatch.setattr(events, "RECONNECT_SECONDS", (0.1,))
    heard = Heard()
    async with background_task_group() as tasks:
        with streams.feed(tasks).subscribe(heard.listen):
            await streams.lose_connection()
            await eventually(lambda: heard.types.count("stream.connected") == 2)
    assert heard.types[:3] == ["stream.connected", "stream.lost", "stream.connected"]


async def test_a_connection_that_nothing_listens_to_is_not_made_again(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connecting starts OpenCode, which the user may have stopped."""
    monkeypatch.setattr(events, "RECONNECT_SECONDS", (0.0,))
    async with background_task_group() as tasks:
        feed = streams.feed(tasks)
        with feed.subscribe(lambda event: None):
            await eventually(lambda: streams.states)
        await streams.lose_connection()
        await eventually(lambda: streams.states == ["open", "closed"])
        await anyio.sleep(0.05)
        await anyio.wait_all_tasks_blocked()
        assert streams.states == ["open", "closed"]

        with feed.subscribe(lambda event: None):
            await eventually(lambda: streams.states == ["open", "closed", "open"])


async def test_a_connection_is_not_made_once_the_listener_has_left(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it leaves in the pause before the next attempt."""
    monkeypatch.setattr(events, "RECONNECT_SECONDS", (0.05,))
    heard = Heard()
    async with background_task_group() as tasks:
        with streams.feed(tasks).subscribe(heard.listen):
            await eventually(lambda: streams.states)
            await streams.lose_connection()
            await eventually(lambda: "stream.lost" in heard.types)
        await anyio.sleep(0.1)
        await anyio.wait_all_tasks_blocked()
    assert streams.states == ["open", "closed"]


async def test_a_listener_may_outlive_the_client(streams: Streams) -> None:
    """As a task of a library's user does: its own error is raised. Later it cannot subscribe."""
    tasks = anyio.create_task_group()
    feed = streams.feed(tasks)
    with pytest.raises(KeyError), ExitStack() as stack:
        async with tasks:
            stack.enter_context(feed.subscribe(lambda event: None))
            await eventually(lambda: streams.states)
            tasks.cancel_scope.cancel()
        raise KeyError("of the task")

    with pytest.raises(RuntimeError), feed.subscribe(lambda event: None):
        pass
    assert (feed.listener_count, streams.states) == (0, ["open", "closed"])
