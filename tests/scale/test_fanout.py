"""Replicas in front of one OpenCode and one Redis: one of them watches, all are told, and none is left deaf."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.server.subscriptions import PromptsListChanged, ResourceUpdated, ServerEvent
from redis.asyncio import Redis as AnyRedis

from opencode_mcp.opencode import Endpoint, events
from opencode_mcp.server.subscriptions import redis_bus
from opencode_mcp.server.subscriptions.redis_bus import (
    LEASE_RENEW_SECONDS,
    LEASE_SECONDS,
    RedisBus,
    open_redis_bus,
)
from opencode_mcp.settings import Settings
from tests.bridge import environ_for
from tests.conftest import Connect, RecordFigure
from tests.eventually import eventually
from tests.server.conftest import CLIENT_MODES, call, new_session
from tests.server.connections import run_http_bridge_process
from tests.server.tcp_proxy import RecordingProxy, open_recording_proxy
from tests.server.test_subscriptions import UpdateRecorder, subscribe_while, wait_until_quiet

from .redis import PASSWORD, RedisServer, run_redis_server
from .subscribers import SUBSCRIBERS

pytestmark = [pytest.mark.anyio, pytest.mark.scale]

Redis: Any = AnyRedis  # it has annotations, but not all of them


@pytest.fixture
async def redis() -> AsyncGenerator[RedisServer]:
    """A Redis."""
    async with run_redis_server() as server:
        yield server


@pytest.fixture
async def proxy(endpoint: Endpoint) -> AsyncGenerator[RecordingProxy]:
    """A way to OpenCode that counts the event streams of all replicas."""
    async with open_recording_proxy(endpoint) as relay:
        yield relay


@pytest.fixture
def shared(attached: Settings, proxy: RecordingProxy, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of every replica, whose streams end with their last listener, so that they can be counted."""
    monkeypatch.setattr(events, "LINGER_SECONDS", 0.0)
    return replace(attached, url=proxy.url, redis=redis.url)


@pytest.fixture(params=CLIENT_MODES)
def era(request: pytest.FixtureRequest) -> str:
    """The protocol era."""
    return request.param


async def wait_for_streams(proxy: RecordingProxy, number: int) -> None:
    """Wait until so many event streams are open: who was kept from renewing its lease may have one for a while."""
    await eventually(lambda: proxy.open_streams, lambda open_now: open_now == number)


async def rename(client: Client, uri: str) -> None:
    """Change a session, past all that watch it."""
    await call(client, "session_update", sessionID=uri.rpartition("/")[2], title="renamed")


async def expect_notifications(client: Client, uri: str, *clients: UpdateRecorder) -> None:
    """See that every client is told of a change, after having been told of nothing for a while."""
    await wait_until_quiet(*clients)
    await rename(client, uri)
    for updates in clients:
        await updates.wait_for_update(uri)


async def test_concurrent_changes_are_each_published_once(redis: RedisServer) -> None:
    """As when a replica takes over, or its event stream is back: more than the client of Redis has connections."""
    heard = list[ServerEvent]()
    async with open_redis_bus(redis.url, "one") as mine, open_redis_bus(redis.url, "one") as other:
        await eventually(lambda: mine.connected and other.connected)
        other.subscribe(heard.append)
        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(mine.publish, ResourceUpdated(f"opencode://session/ses_{number}"))
        await eventually(lambda: len(heard) >= 200)
        await anyio.sleep(LEASE_RENEW_SECONDS)

    assert len(heard) == len(set(heard)) == 200


@dataclass(eq=False)
class LeasedWatcher:
    """A watcher that counts how often it was started."""

    uri: str
    listening: bool = False
    starts: int = 0

    def start(self) -> None:
        """Start to watch."""
        self.listening, self.starts = True, self.starts + 1

    def stop(self) -> None:
        """Stop watching."""
        self.listening = False

    def mark_stale(self) -> None:
        """Ignore what may have changed."""


async def test_each_of_many_leases_that_are_taken_at_once_has_one_holder(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the client of Redis has connections; and each is released at once. No time limit counts here."""
    monkeypatch.setattr(redis_bus, "REDIS_TIMEOUT_SECONDS", 60.0)
    monkeypatch.setattr(redis_bus, "LEASE_SECONDS", 600.0)
    uris = [f"opencode://session/ses_{number}" for number in range(300)]
    starts: list[int] = []
    held, ended = anyio.Semaphore(0), anyio.Event()

    async def hold(bus: RedisBus, watcher: LeasedWatcher) -> None:
        async with bus.lease(watcher):
            held.release()
            await ended.wait()

    async with (
        open_redis_bus(redis.url, "one") as mine,
        open_redis_bus(redis.url, "one") as other,
        Redis.from_url(redis.url) as client,
    ):
        await eventually(lambda: mine.connected and other.connected)
        watchers = [(bus, LeasedWatcher(uri)) for uri in uris for bus in (mine, other)]
        async with anyio.create_task_group() as tasks:
            for bus, watcher in watchers:
                tasks.start_soon(hold, bus, watcher)
            for _ in watchers:
                await held.acquire()
            starts += [watcher.starts for _, watcher in watchers]
            ended.set()
        assert await client.keys() == []

    assert [sum(pair) for pair in zip(starts[::2], starts[1::2], strict=True)] == [1] * len(uris)


async def test_one_replica_watches_for_all(connect: Connect, shared: Settings, proxy: RecordingProxy, era: str) -> None:
    """Each replica's clients are told, by one event stream; when its last subscriber goes another one takes over."""
    mine, others = UpdateRecorder(), UpdateRecorder()
    async with connect(shared, mode=era, message_handler=others.record) as other:
        uri = f"opencode://session/{await new_session(other)}"
        async with (
            connect(shared, mode=era, message_handler=mine.record) as client,
            AsyncExitStack() as following_first,
        ):
            await following_first.enter_async_context(subscribe_while(client, uri))
            await wait_for_streams(proxy, 1)
            async with subscribe_while(other, uri):
                await expect_notifications(client, uri, mine, others)
                await wait_for_streams(proxy, 1)
                opened = proxy.streams_opened
                await following_first.aclose()
                await eventually(lambda: proxy.streams_opened > opened)
                await wait_for_streams(proxy, 1)
                await expect_notifications(client, uri, others)
        await wait_for_streams(proxy, 0)


async def test_a_subscriber_of_a_new_replica_is_notified(
    connect: Connect, shared: Settings, proxy: RecordingProxy
) -> None:
    """Clients of both eras, at replicas of their own, follow one session; subagents count wherever they are seen."""
    async with AsyncExitStack() as stack:
        heard = [UpdateRecorder() for _ in range(4)]
        clients = [
            await stack.enter_async_context(connect(shared, mode=era, message_handler=updates.record))
            for era, updates in zip(2 * CLIENT_MODES, heard, strict=True)
        ]
        id = await new_session(clients[0])
        uri = f"opencode://session/{id}"
        for client in clients:
            await stack.enter_async_context(subscribe_while(client, uri))
        child = await new_session(clients[0], parentID=id)
        await wait_until_quiet(*heard)
        await rename(clients[0], f"opencode://session/{child}")
        for updates in heard:
            await updates.wait_for_update(uri)
        await wait_for_streams(proxy, 1)


async def test_the_list_of_sessions_is_watched_by_one_replica(
    connect: Connect, shared: Settings, proxy: RecordingProxy
) -> None:
    """Clients of both eras, at replicas of their own, are notified of a session that none of them subscribed to."""
    uri = "opencode://sessions"
    async with AsyncExitStack() as stack:
        recorders = [UpdateRecorder() for _ in CLIENT_MODES]
        clients = [
            await stack.enter_async_context(connect(shared, mode=era, message_handler=updates.record))
            for era, updates in zip(CLIENT_MODES, recorders, strict=True)
        ]
        for client in clients:
            await stack.enter_async_context(subscribe_while(client, uri))
        await wait_until_quiet(*recorders)
        await new_session(clients[0])
        for updates in recorders:
            await updates.wait_for_update(uri)
        await wait_for_streams(proxy, 1)


async def test_redis_receives_only_uris(connect: Connect, shared: Settings, redis: RedisServer) -> None:
    """Its keys are this deployment's, name what is watched, and are gone with the last subscriber."""
    async with Redis.from_url(redis.url, decode_responses=True) as looking, connect(shared) as client:
        uri = f"opencode://session/{await new_session(client)}"
        async with subscribe_while(client, uri):
            [key] = await eventually(looking.keys)
            assert key.startswith("opencode-mcp:")
            assert key.endswith(uri)
            assert 0 < await looking.pttl(key) <= LEASE_SECONDS * 1000
        await eventually(looking.keys, lambda keys: keys == [])


async def test_events_of_other_deployments_are_ignored(redis: RedisServer) -> None:
    """Events come as they went; another OpenCode's replicas on the same Redis do not hear them."""
    events: list[ServerEvent] = [ResourceUpdated("opencode://session/ses_1"), PromptsListChanged()]
    heard: dict[str, list[ServerEvent]] = {"sender": [], "same": [], "other": []}
    async with (
        open_redis_bus(redis.url, "http://one") as sender,
        open_redis_bus(redis.url, "http://one") as same,
        open_redis_bus(redis.url, "http://other") as other,
        Redis.from_url(redis.url) as looking,
    ):
        for name, bus in {"sender": sender, "same": same, "other": other}.items():
            bus.subscribe(heard[name].append)
        await eventually(lambda: sender.connected and same.connected and other.connected)
        for channel in await looking.pubsub_channels():
            await looking.publish(channel, "no event")
        for event in events:
            await sender.publish(event)
        await eventually(lambda: heard["same"], lambda some: len(some) == 2)

    assert heard == {"sender": events, "same": events, "other": []}


async def test_another_replica_watches_when_one_is_killed(
    connect: Connect, shared: Settings, proxy: RecordingProxy, environ: Mapping[str, str], record_figure: RecordFigure
) -> None:
    """Another one takes over what it watched, and tells the clients of all, who may have missed something."""
    heard, told = [UpdateRecorder() for _ in CLIENT_MODES], [anyio.Event() for _ in CLIENT_MODES]
    async with (
        connect(shared, mode=CLIENT_MODES[0], message_handler=heard[0].record) as client,
        connect(shared, mode=CLIENT_MODES[1], message_handler=heard[1].record) as other,
        anyio.create_task_group() as tasks,
    ):
        uri = f"opencode://session/{await new_session(client)}"
        async with run_http_bridge_process(replica_environ(shared, environ)) as (process, url):
            for era, event in zip(CLIENT_MODES, told, strict=True):
                await tasks.start(SUBSCRIBERS[era], url, uri, event.set)
            async with subscribe_while(client, uri), subscribe_while(other, uri):
                await wait_for_streams(proxy, 1)
                await expect_notifications(client, uri, *heard)
                await wait_for_streams(proxy, 1)
                await wait_until_quiet(*heard)
                process.kill()
                began = anyio.current_time()
                for updates in heard:
                    await updates.wait_for_update(uri)
                record_figure(f"killed replica: taken over after {anyio.current_time() - began:.2f} s")
                assert anyio.current_time() - began < 3 * LEASE_SECONDS
                await expect_notifications(client, uri, *heard)
        assert all(event.is_set() for event in told)
        tasks.cancel_scope.cancel()


def replica_environ(settings: Settings, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment of a replica that is a process of its own."""
    return {**environ, **environ_for(settings)}


async def test_notifications_continue_while_redis_is_down(
    connect: Connect, shared: Settings, proxy: RecordingProxy, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Meanwhile each replica watches for itself and warns once; afterwards each client is told, and one watches."""
    one, two = UpdateRecorder(), UpdateRecorder()
    async with (
        connect(shared, mode=CLIENT_MODES[0], message_handler=one.record) as client,
        connect(shared, mode=CLIENT_MODES[1], message_handler=two.record) as other,
    ):
        uri = f"opencode://session/{await new_session(client)}"
        async with subscribe_while(client, uri), subscribe_while(other, uri):
            await expect_notifications(client, uri, one, two)
            for outage in (1, 2):
                await redis.stop()
                await wait_for_streams(proxy, 2)
                await expect_notifications(client, uri, one, two)
                warnings = [one for one in caplog.records if one.levelno == logging.WARNING]
                assert len(warnings) == 2 * outage
                await wait_until_quiet(one, two)
                await redis.start()
                for updates in (one, two):
                    await updates.wait_for_update(uri)
                await wait_for_streams(proxy, 1)
                await expect_notifications(client, uri, one, two)

    assert PASSWORD not in caplog.text
