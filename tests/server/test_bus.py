"""Which listeners an event reaches, and how many streams a process serves."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import mcp_types as types
import pytest
from anyio.abc import TaskGroup
from mcp import MCPError
from mcp.server.subscriptions import ListenHandler, PromptsListChanged, ResourceUpdated, ServerEvent, ToolsListChanged

from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.server.subscriptions import handlers
from opencode_mcp.server.subscriptions.bus import ALL_EVENTS, Bus
from opencode_mcp.server.subscriptions.listen_streams import MAX_STREAMS, ListenStreams
from opencode_mcp.server.subscriptions.watcher import ChangeFilter, WatcherPool
from tests.fake_event_stream import FakeEventStream

pytestmark = pytest.mark.anyio

SCALING = Path(__file__).parents[2] / "docs/scaling.md"


class CountingBus(Bus):
    """Counts the calls of its listeners."""

    calls = 0

    def subscribe(self, listener: Any, events: Any = ALL_EVENTS) -> Any:
        """Subscribe a listener that counts its calls."""

        def count(event: ServerEvent) -> None:
            self.calls += 1
            listener(event)

        return super().subscribe(count, events)


@dataclass
class Subscriptions:
    """The handlers with a bus and watchers, whose OpenCode has every session, and what the clients were sent."""

    tasks: TaskGroup
    bus: CountingBus = field(default_factory=CountingBus)
    feed: FakeEventStream = field(default_factory=FakeEventStream)
    sent: list[str] = field(default_factory=list[str])
    resolved: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        """Open what outlives a request."""
        self.lifespan = SimpleNamespace(
            tasks=self.tasks,
            bus=self.bus,
            watchers=WatcherPool(self.bus, self.tasks),
            listen_streams=ListenStreams(self.bus),
            servers=SimpleNamespace(
                default=SimpleNamespace(server=SimpleNamespace(wait_until_started=anyio.sleep_forever))
            ),
        )

    async def resolve_target(self, lifespan: object, uri: str) -> tuple[str, str, ChangeFilter, object]:
        """Find the session of a URI."""
        self.resolved.append(uri)
        return uri, uri.rpartition("/")[2], ChangeFilter(("todo.",)), SimpleNamespace(events=self.feed)

    async def send_updated(self, uri: str) -> None:
        """Take a notification of the handshake versions."""
        self.sent.append(uri)

    async def send_notification(self, notification: Any, related_request_id: object) -> None:
        """Take a notification of a stream."""
        if isinstance(notification, types.ResourceUpdatedNotification):
            self.sent.append(notification.params.uri)
        elif not isinstance(notification, types.SubscriptionsAcknowledgedNotification):
            self.sent.append(notification.method)

    async def subscribe(self, uri: str) -> None:
        """Subscribe as a client of a handshake version."""
        connection = SimpleNamespace(state={}, exit_stack=ExitStack(), send_resource_updated=self.send_updated)
        session = SimpleNamespace(_connection=connection)
        context = cast("Any", SimpleNamespace(lifespan_context=self.lifespan, session=session))
        await handlers.subscribe(context, types.SubscribeRequestParams(uri=uri))

    async def listen(self, **wanted: Any) -> None:
        """Listen as a client of 2026-07-28, until this is cancelled."""
        context = SimpleNamespace(lifespan_context=self.lifespan, session=self, request_id="1")
        params = types.SubscriptionsListenRequestParams.model_validate({"notifications": wanted, "_meta": META})
        await handlers.listen(cast("Any", context), params)


META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
}


@asynccontextmanager
async def open_subscriptions(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Subscriptions]:
    """Provide the handlers."""
    async with background_task_group() as tasks:
        subscriptions = Subscriptions(tasks)
        monkeypatch.setattr(handlers, "resolve_target", subscriptions.resolve_target)
        yield subscriptions


def uri_of(number: int) -> str:
    """Return the URI of a session."""
    return f"opencode://session/ses_{number}"


async def test_an_update_calls_only_the_listeners_of_its_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    """In both protocol generations, so that a change does not cost more with more subscribers of other resources."""
    async with open_subscriptions(monkeypatch) as subscriptions:
        for uri in map(uri_of, range(50)):
            await subscriptions.subscribe(uri)
            subscriptions.tasks.start_soon(lambda uri=uri: subscriptions.listen(resourceSubscriptions=[uri]))
        await anyio.wait_all_tasks_blocked()
        assert len(subscriptions.resolved) == 100
        await subscriptions.bus.publish(ResourceUpdated(uri_of(7)))
        await subscriptions.bus.publish(ResourceUpdated(uri_of(99)))
        await anyio.wait_all_tasks_blocked()
        assert subscriptions.bus.calls == 2
        assert subscriptions.sent == [uri_of(7), uri_of(7)]


async def test_a_stream_gets_the_events_that_its_client_has_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_subscriptions(monkeypatch) as subscriptions:
        subscriptions.tasks.start_soon(lambda: subscriptions.listen(promptsListChanged=True))
        subscriptions.tasks.start_soon(lambda: subscriptions.listen(resourceSubscriptions=[uri_of(1), uri_of(2)]))
        subscriptions.tasks.start_soon(subscriptions.listen)
        await anyio.wait_all_tasks_blocked()
        for event in (PromptsListChanged(), ToolsListChanged(), ResourceUpdated(uri_of(2)), ResourceUpdated(uri_of(3))):
            await subscriptions.bus.publish(event)
        await anyio.wait_all_tasks_blocked()

        assert subscriptions.sent == ["notifications/prompts/list_changed", uri_of(2)]


async def test_a_stream_beyond_the_limit_is_rejected_before_anything_is_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither a request to OpenCode nor a lease is for nothing; the end of another stream makes room."""
    async with open_subscriptions(monkeypatch) as subscriptions:
        async with background_task_group() as listening:
            for _ in range(MAX_STREAMS):
                listening.start_soon(lambda: subscriptions.listen(resourceSubscriptions=[uri_of(1)]))
            await anyio.wait_all_tasks_blocked()
            watchers = subscriptions.lifespan.watchers
            assert watchers.subscriber_count == MAX_STREAMS
            with anyio.fail_after(60), pytest.raises(MCPError, match="Subscription limit reached") as raised:
                await subscriptions.listen(resourceSubscriptions=[uri_of(2)])
            assert raised.value.code == types.INTERNAL_ERROR
            assert uri_of(2) not in subscriptions.resolved
        assert watchers.subscriber_count == 0
        subscriptions.tasks.start_soon(lambda: subscriptions.listen(resourceSubscriptions=[uri_of(2)]))
        await anyio.wait_all_tasks_blocked()
        assert watchers.subscriber_count == 1
        subscriptions.lifespan.listen_streams.close()
        await anyio.wait_all_tasks_blocked()
        assert watchers.subscriber_count == 0


def test_the_limit_of_streams_is_that_of_the_sdk_and_of_the_documentation() -> None:
    assert signature(ListenHandler).parameters["max_subscriptions"].default == MAX_STREAMS
    assert f"{MAX_STREAMS:,} streams" in SCALING.read_text(encoding="utf-8")


async def test_a_listener_that_raises_keeps_no_event_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    bus, received = Bus(), list[ServerEvent]()
    update = ResourceUpdated(uri_of(1))

    def fail(event: ServerEvent) -> None:
        raise ValueError(event)

    for events in ([update], (None,)):
        bus.subscribe(fail, events)
        bus.subscribe(received.append, events)
    await bus.publish(update)

    assert received == [update, update]
    assert [record.message for record in caplog.records] == ["a listener of updates failed"] * 2


async def test_nothing_remains_of_an_ended_subscription() -> None:
    """A listener may end its subscription while it is called, and twice."""
    bus, received = Bus(), list[ServerEvent]()
    updates = [ResourceUpdated(uri_of(1)), ResourceUpdated(uri_of(2))]

    def end(event: ServerEvent) -> None:
        received.append(event)
        unsubscribe()

    unsubscribe = bus.subscribe(end, updates)
    unsubscribe_other = bus.subscribe(received.append, updates[1:])
    for update in (*updates, *updates):
        await bus.publish(update)
    unsubscribe()
    unsubscribe_other()

    assert received == [updates[0], updates[1], updates[1]]
    assert vars(bus) == vars(Bus())
