"""Which events change a resource, and how often updates are sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import anyio
import anyio.lowlevel
import mcp_types as types
import pytest
from mcp.server.subscriptions import ResourceUpdated, ServerEvent

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import TransportError, UnexpectedResponse
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.opencode.events import Event
from opencode_mcp.opencode.models import parse_model
from opencode_mcp.server.resources.handlers import match_uri
from opencode_mcp.server.subscriptions import handlers as module
from opencode_mcp.server.subscriptions.bus import Bus
from opencode_mcp.server.subscriptions.watcher import (
    ANY_SESSION,
    MIN_UPDATE_SECONDS,
    ChangeFilter,
    ResourceWatcher,
    WatcherIndex,
    WatcherPool,
)
from tests.eventually import eventually
from tests.fake_event_stream import FakeEventStream

pytestmark = pytest.mark.anyio


def make_event(kind: str, session_id: str, **properties: Any) -> Event:
    """Return an event of OpenCode."""
    return {"type": kind, "properties": {"sessionID": session_id, **properties}}


CREATED = make_event("session.created", "ses_child", info={"id": "ses_child", "parentID": "ses_parent"})
ASKED = make_event("permission.asked", "ses_child", id="per_1")
DISPOSED: Event = {"type": "global.disposed", "properties": dict[str, Any]()}
CONNECTED: Event = {"type": "stream.connected", "properties": dict[str, Any]()}
LOST: Event = {"type": "stream.lost", "properties": {"reason": "closed"}}
HEARTBEAT: Event = {"type": "server.heartbeat", "properties": dict[str, Any]()}
SESSION = {"id": "ses_child", "directory": "/project", "time": {"created": 1}}
EVERYTHING = ChangeFilter(("",), subagents=True)
TODO = ChangeFilter(("todo.",))


@pytest.mark.parametrize(
    ("changes", "events", "told"),
    [
        (EVERYTHING, [make_event("message.updated", "ses_parent")], True),
        (EVERYTHING, [CREATED], True),
        (EVERYTHING, [ASKED], False),
        (EVERYTHING, [CREATED, None, ASKED], True),
        (EVERYTHING, [make_event("message.part.delta", "ses_parent")], False),
        (EVERYTHING, [HEARTBEAT], False),
        (EVERYTHING, [DISPOSED], True),
        (EVERYTHING, [CONNECTED], True),
        (EVERYTHING, [LOST], True),
        (EVERYTHING, [CONNECTED, LOST, None, LOST], False),
        (EVERYTHING, [LOST, CONNECTED, None, LOST], True),
        (TODO, [make_event("message.updated", "ses_parent")], False),
        (TODO, [make_event("todo.updated", "ses_parent")], True),
        (TODO, [make_event("session.deleted", "ses_parent")], True),
        (TODO, [CREATED, make_event("todo.updated", "ses_child")], False),
        (TODO, [make_event("todo.updated", ANY_SESSION)], False),
    ],
)
async def test_a_watcher_selects_events_by_session_and_kind(
    changes: ChangeFilter, events: list[Event | None], told: bool
) -> None:
    """A session's own report changes with its subagents, a view only with events of its kind."""
    index = WatcherIndex(lambda notice: nullcontext())
    watch = ResourceWatcher("opencode://session/ses_parent", "ses_parent", changes, [index])
    watch.start()
    for one in events:
        if one is None:  # told meanwhile
            watch.changed = anyio.Event()
        else:
            index.dispatch(one)

    assert watch.changed.is_set() is told


LIST = match_uri("opencode://sessions", Catalog.from_snapshot())[0].changes


@pytest.mark.parametrize(
    ("event", "changed"),
    [
        (CREATED, True),
        (make_event("session.updated", "ses_new", info={"id": "ses_new"}), True),
        (make_event("session.deleted", "ses_gone", info={"id": "ses_gone"}), True),
        (make_event("session.status", "ses_1", status={"type": "busy"}), True),
        (make_event("message.updated", "ses_1"), True),
        (make_event("message.part.updated", "ses_1"), True),
        (ASKED, True),
        (make_event("permission.replied", "ses_1"), True),
        (make_event("question.asked", "ses_1"), True),
        (CONNECTED, True),
        (DISPOSED, True),
        (make_event("message.part.delta", "ses_1"), False),
        (make_event("todo.updated", "ses_1"), False),
        (HEARTBEAT, False),
    ],
)
async def test_the_list_of_sessions_changes_with_any_of_them(event: Event, changed: bool) -> None:
    """Also with one that has been created or deleted; what the list does not show does not count."""
    assert LIST is not None
    index = WatcherIndex(lambda notice: nullcontext())
    watcher = ResourceWatcher("opencode://sessions", ANY_SESSION, LIST, [index])
    other = ResourceWatcher("opencode://session/ses_other", "ses_other", EVERYTHING, [index])
    for each in (watcher, other):
        each.start()
    index.dispatch(event)

    assert watcher.changed.is_set() is changed
    assert other.changed.is_set() is (event in (CONNECTED, DISPOSED))
    watcher.stop()
    watcher.changed = anyio.Event()
    index.dispatch(event)
    assert not watcher.changed.is_set()


async def test_the_list_of_sessions_is_watched_on_every_server() -> None:
    """Each has an event stream, which is open until the last subscriber has left."""
    bus, feeds, updates = Bus(), [FakeEventStream(), FakeEventStream()], list[ServerEvent]()
    servers = [cast("Any", SimpleNamespace(events=feed)) for feed in feeds]
    bus.subscribe(updates.append)
    assert LIST is not None
    async with background_task_group() as tasks:
        pool = WatcherPool(bus, tasks)
        async with pool.watch("opencode://sessions", ANY_SESSION, LIST, *servers) as watcher:
            watcher.subscriber_listening.set()
            async with pool.watch("opencode://session/ses_1/todo", "ses_1", TODO, servers[1]):
                pass
            for count, feed in enumerate(feeds, 1):
                feed.dispatch(CREATED)
                await eventually(lambda count=count: len(updates) == count)
        await anyio.wait_all_tasks_blocked()
        assert [feed.listener_count for feed in feeds] == [0, 0]
    assert updates == [ResourceUpdated("opencode://sessions")] * 2


async def test_bursts_are_notified_once_and_the_last_event_always() -> None:
    """A change during a send, or in the pause after it, is sent when the pause is over."""
    watch = ResourceWatcher(
        "opencode://session/ses_parent", "ses_parent", EVERYTHING, [WatcherIndex(lambda notice: nullcontext())]
    )
    times, over = list[float](), anyio.Event()
    watch.subscriber_listening.set()

    async def late() -> None:
        watch.on_event("message.updated")

    async def send() -> None:
        times.append(anyio.current_time())
        if len(times) == 1:
            for _ in range(100):
                watch.on_event("message.updated")
        elif len(times) == 2:
            tasks.start_soon(late)  # runs as soon as the pause begins
        else:
            over.set()

    async with background_task_group() as tasks:
        tasks.start_soon(watch.send_changes, send)
        watch.on_event("message.updated")
        with anyio.fail_after(30):
            await over.wait()

    assert len(times) == 3
    assert all(after - before > 0.9 * MIN_UPDATE_SECONDS for before, after in pairwise(times))


async def test_changes_before_delivery_starts_are_notified_when_it_does() -> None:
    """A subscriber to several URIs gets no update before all are watched, and misses none."""
    bus, feed, heard = Bus(), FakeEventStream(), list[ServerEvent]()
    opencode = cast("Any", SimpleNamespace(events=feed))
    async with background_task_group() as tasks:
        watches = WatcherPool(bus, tasks)
        async with watches.watch("opencode://session/ses_1/todo", "ses_1", TODO, opencode) as watch:
            feed.dispatch(CONNECTED)
            await anyio.wait_all_tasks_blocked()
            bus.subscribe(heard.append)
            await anyio.wait_all_tasks_blocked()
            assert not heard
            watch.subscriber_listening.set()
            await anyio.wait_all_tasks_blocked()
            assert heard == [ResourceUpdated("opencode://session/ses_1/todo")]
        await anyio.wait_all_tasks_blocked()
        assert feed.listener_count == 0


async def test_subagents_are_read_again_after_a_failed_read() -> None:
    """An answer that is none of OpenCode's ends neither the watch nor the bridge."""
    bus, feed, heard = Bus(), FakeEventStream(), list[ServerEvent]()
    bus.subscribe(heard.append)
    answers: list[Any] = [[{"id": 7}], [SESSION], []]

    async def call_as(kind: type[Any], name: str, **arguments: Any) -> Any:
        return parse_model(name, kind, answers.pop(0))

    def with_options(**options: object) -> SimpleNamespace:
        return opencode

    opencode = SimpleNamespace(catalog=Catalog.from_snapshot(), events=feed, call_as=call_as, with_options=with_options)
    async with background_task_group() as tasks:
        watches = WatcherPool(bus, tasks)
        async with watches.watch(
            "opencode://session/ses_parent", "ses_parent", EVERYTHING, cast("Any", opencode)
        ) as watch:
            watch.subscriber_listening.set()
            assert watch.family == {"ses_parent"}
            feed.dispatch(make_event("message.updated", "ses_parent"))
            await eventually(lambda: "ses_child" in watch.family)
            await eventually(lambda: len(heard) == 2)


@pytest.mark.parametrize(
    ("failures", "told"),
    [([TransportError("gone"), TransportError("gone")], True), ([UnexpectedResponse("odd")], False)],
)
async def test_the_prompt_list_changes_once_opencode_can_be_reached(
    monkeypatch: pytest.MonkeyPatch, failures: list[Exception], told: bool
) -> None:
    """It may have been away at the first look; what it answers with is not asked for again."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    sent = list[str]()

    async def call(name: str) -> list[Any]:
        if failures:
            raise failures.pop(0)
        return []

    async def until_running() -> None:
        await anyio.lowlevel.checkpoint()

    async def send() -> None:
        sent.append("told")

    opencode = SimpleNamespace(call=call, server=SimpleNamespace(wait_until_started=until_running))
    with anyio.fail_after(30):
        await module.send_prompts_changed(cast("Any", opencode), send)

    assert (sent, failures) == (["told"] if told else [], [])


async def test_a_cancelled_subscription_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that cancelled while it waited gets updates when it subscribes again."""
    uri, sent, ready = "opencode://session/ses_1", list[str](), anyio.Event()

    async def send(uri: str) -> None:
        sent.append(uri)

    async def followable(life: object, uri: str) -> tuple[str, str, ChangeFilter, object]:
        return uri, "ses_1", EVERYTHING, life

    @asynccontextmanager
    async def followed(*followed: object) -> AsyncGenerator[ResourceWatcher]:
        await ready.wait()
        yield ResourceWatcher(uri, "ses_1", EVERYTHING, [WatcherIndex(lambda notice: nullcontext())])

    monkeypatch.setattr(module, "resolve_target", followable)
    connection = SimpleNamespace(state={}, exit_stack=ExitStack(), send_resource_updated=send)
    bus = Bus()
    async with background_task_group() as tasks:
        life = SimpleNamespace(tasks=tasks, bus=bus, watchers=SimpleNamespace(watch=followed))
        context = cast("Any", SimpleNamespace(lifespan_context=life, session=SimpleNamespace(_connection=connection)))
        wanted = types.SubscribeRequestParams(uri=uri)
        with anyio.move_on_after(0.05):
            await module.subscribe(context, wanted)
        ready.set()
        await module.subscribe(context, wanted)
        await bus.publish(ResourceUpdated(uri))
        await anyio.wait_all_tasks_blocked()

    assert sent == [uri]


@dataclass
class StuckClient:
    """A client that takes nothing more until it is released."""

    released: anyio.Event = field(default_factory=anyio.Event)
    sent: int = 0

    async def send_resource_updated(self, uri: str) -> None:
        """Take a notification, after a while."""
        self.sent += 1
        await self.released.wait()


@dataclass
class FakeLifespan:
    """What `forward_updates` needs of the server's life: the bus, and a watch of everything."""

    bus: Bus = field(default_factory=Bus)

    @property
    def watchers(self) -> FakeLifespan:
        """Itself."""
        return self

    def watch(
        self, uri: str, session_id: str, changes: ChangeFilter, opencode: object
    ) -> AbstractAsyncContextManager[ResourceWatcher]:
        """Watch nothing: the test publishes."""
        return nullcontext(ResourceWatcher(uri, session_id, changes, [WatcherIndex(lambda notice: nullcontext())]))


async def test_a_client_that_does_not_read_blocks_no_publisher_and_is_notified_once() -> None:
    """Publishing does not wait for it; one notification is pending, however many changes there were."""
    life, stuck, scope = FakeLifespan(), StuckClient(), anyio.CancelScope()
    anyone, heard = cast("Any", life), list[ServerEvent]()
    life.bus.subscribe(heard.append)
    async with anyio.create_task_group() as tasks:
        await tasks.start(
            module.forward_updates, anyone, ("opencode://session/ses_1", "ses_1", EVERYTHING, anyone), stuck, scope
        )
        with anyio.fail_after(30):
            for _ in range(1000):
                await life.bus.publish(ResourceUpdated("opencode://session/ses_1"))
                await life.bus.publish(ResourceUpdated("opencode://session/ses_2"))
        assert (len(heard), stuck.sent) == (2000, 1)
        stuck.released.set()
        await anyio.wait_all_tasks_blocked()
        assert stuck.sent == 2
        scope.cancel()
