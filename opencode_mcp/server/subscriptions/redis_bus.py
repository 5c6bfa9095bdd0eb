"""Subscriptions across replicas: one replica watches a resource, and all replicas receive its updates through Redis.

a change -> the listeners of this process, and one channel of Redis -> the listeners of every other replica

The replica that holds the lease of a URI, a key of Redis that expires unless it is renewed, watches it. A replica that
takes a lease over publishes one update, as changes may have been missed. While Redis is unreachable every replica
watches for its own clients; after the reconnect they get one update for each subscribed URI. Redis carries only URIs.
"""

# The annotations of Redis' client are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from hashlib import sha256
from secrets import token_hex
from typing import Any

import anyio
from mcp.server.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import RedisError

from opencode_mcp.exceptions import SettingsError
from opencode_mcp.opencode.concurrency import background_task

from .bus import Bus, Watcher

LEASE_SECONDS = 3.0
LEASE_RENEW_SECONDS = LEASE_SECONDS / 3
REDIS_TIMEOUT_SECONDS = 1.0
"""Redis answers within milliseconds; if it does not, clients must not wait for it."""
FINAL_POLL_SECONDS = 0.1
RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0)

ACQUIRE_SCRIPT = """
local taken = {}
for number, key in ipairs(KEYS) do
    local owner = redis.call('GET', key)
    if not owner or owner == ARGV[1] then redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end
    taken[number] = (not owner or owner == ARGV[1]) and 1 or 0
end
return taken
"""
"""Acquires or renews leases; returns 1 for each that this replica holds now."""

RELEASE_SCRIPT = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"

REDIS_ERRORS = (RedisError, OSError)

EVENT_TYPES = {
    event_type.__name__: event_type
    for event_type in (ResourceUpdated, PromptsListChanged, ResourcesListChanged, ToolsListChanged)
}

log = logging.getLogger(__name__)


class RedisBus(Bus):
    """Carries updates between the replicas of a deployment, and elects the replica that watches a URI."""

    def __init__(self, redis: Redis, deployment: str) -> None:
        self._redis = redis
        self._prefix = f"opencode-mcp:{sha256(deployment.encode()).hexdigest()[:16]}"
        self._replica = token_hex(8)
        self._watchers: set[Watcher] = set()
        self._unsent: dict[ServerEvent, None] = {}
        self._send_lock = anyio.Lock()
        self.connected: bool | None = None
        super().__init__()

    async def publish(self, event: ServerEvent) -> None:
        """Deliver an event to the listeners of this process, and to those of the others."""
        await super().publish(event)
        if self.connected:
            self._unsent[event] = None
            with suppress(*REDIS_ERRORS):  # `run` gets the same error, and sends the event after the reconnect
                await self._send()

    @asynccontextmanager
    async def lease(self, watcher: Watcher) -> AsyncGenerator[None]:
        """Run the watcher whenever this replica holds its lease, for the duration of the block."""
        self._watchers.add(watcher)
        try:
            await self._claim(watcher)
            yield
        finally:
            self._watchers.discard(watcher)
            if all(other.uri != watcher.uri for other in self._watchers):  # else another watcher uses the lease
                with anyio.move_on_after(REDIS_TIMEOUT_SECONDS, shield=True), suppress(*REDIS_ERRORS):
                    await self._redis.eval(RELEASE_SCRIPT, 1, self._lease_key(watcher), self._replica)

    async def _claim(self, watcher: Watcher) -> None:
        """Try to acquire the lease; without an answer from Redis this replica watches."""
        if self.connected is not False:  # else the subscriber would wait for a timeout of Redis
            try:
                await self._acquire([watcher])
                return
            except REDIS_ERRORS as error:
                log.debug("the lease of %s is unknown: %s", watcher.uri, error)
        watcher.start()

    async def run(self) -> None:
        """Receive the events of other replicas and renew the leases; reconnect when Redis was unreachable."""
        failures = 0
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(f"{self._prefix}:events")
                    received_at, renewed_at = anyio.current_time(), float("-inf")
                    while True:
                        now = anyio.current_time()
                        # After a pause of this process a message may be waiting: poll once more.
                        overdue = now - received_at >= LEASE_SECONDS
                        if not overdue and now - renewed_at >= LEASE_RENEW_SECONDS:
                            await self._renew(channel)
                            failures, renewed_at = 0, now
                        wait = FINAL_POLL_SECONDS if overdue else max(0.0, renewed_at + LEASE_RENEW_SECONDS - now)
                        if message := await channel.get_message(timeout=wait):
                            received_at = anyio.current_time()
                            await self._receive(message)
                        elif overdue:
                            break
                self._on_disconnect("it does not answer PING")
            except REDIS_ERRORS as error:
                self._on_disconnect(error)
            await anyio.sleep(RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)])
            failures += 1

    async def _renew(self, channel: PubSub) -> None:
        """Renew the leases, acquire expired ones, send pending events, and ping the channel."""
        await self._acquire(list(self._watchers))
        await self._send()
        await channel.ping()

    async def _receive(self, message: Mapping[str, Any]) -> None:
        """Deliver an event of another replica; after a (re)subscription, publish every URI, as events may have been
        missed."""
        if message["type"] == "subscribe":
            self.connected = True
            for uri in {watcher.uri for watcher in self._watchers}:
                await super().publish(ResourceUpdated(uri))
        elif message["type"] == "message":
            await self._deliver(message["data"])

    async def _deliver(self, text: str) -> None:
        try:
            replica, kind, fields = json.loads(text)
            event = EVENT_TYPES[kind](**fields)
        except (ValueError, KeyError, TypeError):
            log.warning("ignored an event from Redis that this version does not know: %.200s", text)
            return
        if replica != self._replica:
            await super().publish(event)

    async def _send(self) -> None:
        async with self._send_lock:  # one sender at a time, and no event twice
            while self._unsent:
                event = next(iter(self._unsent))
                del self._unsent[event]  # before the send: a change meanwhile is a new event
                text = json.dumps([self._replica, type(event).__name__, asdict(event)])
                try:
                    await self._redis.publish(f"{self._prefix}:events", text)
                except BaseException:
                    self._unsent[event] = None
                    raise

    async def _acquire(self, watchers: list[Watcher]) -> None:
        """Acquire or renew leases; run the watchers whose lease this replica holds, and stop the others."""
        keys = [self._lease_key(watcher) for watcher in watchers]
        acquired = await self._redis.eval(
            ACQUIRE_SCRIPT, len(keys), *keys, self._replica, str(int(LEASE_SECONDS * 1000))
        )
        for watcher, is_holder in zip(watchers, acquired, strict=True):
            if is_holder or self.connected is False:  # else no replica would watch until Redis is back
                self._take_over(watcher)
            else:
                watcher.stop()

    def _take_over(self, watcher: Watcher) -> None:
        if watcher in self._watchers and not watcher.listening:  # it may have ended meanwhile
            watcher.start()
            watcher.mark_stale()

    def _on_disconnect(self, error: Exception | str) -> None:
        if self.connected is not False:
            log.warning("Redis is unreachable, so this replica runs all its watchers until it is back: %s", error)
        self.connected = False
        for watcher in self._watchers:
            self._take_over(watcher)

    def _lease_key(self, watcher: Watcher) -> str:
        return f"{self._prefix}:watch:{watcher.uri}"


@asynccontextmanager
async def open_redis_bus(url: str, deployment: str) -> AsyncGenerator[RedisBus]:
    """Provide the bus of a deployment: the replicas whose --url or --server are literally the same."""
    pool = BlockingConnectionPool.from_url(
        url,
        timeout=REDIS_TIMEOUT_SECONDS,  # of the wait for a connection: many clients may subscribe at once
        decode_responses=True,
        encoding_errors="replace",
        socket_timeout=REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 1),
    )
    async with Redis.from_pool(pool) as redis:
        bus = RedisBus(redis, deployment)
        async with background_task(bus.run):
            yield bus


def check_redis_url(url: str) -> None:
    """Check that Redis' client accepts a URL.

    Raises:
        SettingsError: it is not valid; the reason is left out, as it may quote a password.
    """
    try:
        parse_url(url)
    except ValueError:
        raise SettingsError("--redis is not a Redis URL") from None
