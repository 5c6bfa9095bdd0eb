"""Watchers: OpenCode's events about sessions become updates of resources; all subscribers of a URI share one.

event -> `WatcherIndex` (by session) -> `ResourceWatcher` (an update at once, and one after the last change) -> the bus

Each server has an index. A session's resource is watched on its server, the list of sessions on every one.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import anyio
from anyio.abc import TaskGroup
from mcp.server.subscriptions import ResourceUpdated

from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.events import Event, EventFeed, Listener, event_session_id
from opencode_mcp.tasks.session_state import read_family
from opencode_mcp.tasks.session_watch import event_parent_id

from .bus import Bus


@dataclass(frozen=True)
class ChangeFilter:
    """Which of OpenCode's events change a resource.

    `event_prefixes` are how the types of its session's own events begin; with `subagents` those of the session's
    descendants count as well.
    """

    event_prefixes: tuple[str, ...]
    subagents: bool = False


MIN_UPDATE_SECONDS = 0.5
"""Minimum time between two notifications of one resource; a burst of events becomes one notification."""

CONCERNS_ALL = frozenset(
    {"stream.connected", "stream.ready", "stream.lost", "server.instance.disposed", "global.disposed"}
)
"""Events after which anything may have changed, also whether OpenCode runs; events before them may have been missed."""

UNREADABLE = frozenset({"message.part.delta"})
"""Events that change nothing readable: OpenCode stores a text when it is complete (1.18.33)."""

ANY_SESSION = "*"
"""Stands for every session, also those that do not exist yet. No session has this id."""

log = logging.getLogger(__name__)


class WatcherIndex:
    """Dispatches each event to the watchers of its session.

    `subscribe` is that of the event feed; the index is subscribed while it has a watcher.
    """

    def __init__(self, subscribe: Callable[[Listener], AbstractContextManager[None]]) -> None:
        self._subscribe = subscribe
        self._subscription = ExitStack()
        self._watchers: set[ResourceWatcher] = set()
        self._by_session: defaultdict[str, set[ResourceWatcher]] = defaultdict(set)
        self._last_type = ""

    def add(self, watcher: ResourceWatcher, session_ids: Iterable[str]) -> bool:
        """Dispatch the events of these sessions to a watcher too; return whether any session was new to it."""
        if not self._watchers:
            self._subscription.enter_context(self._subscribe(self.dispatch))
        self._watchers.add(watcher)
        new = {session_id for session_id in session_ids if watcher not in self._by_session.get(session_id, ())}
        watcher.family |= new
        for session_id in new:
            self._by_session[session_id].add(watcher)
        return bool(new)

    def discard(self, watcher: ResourceWatcher) -> None:
        """Dispatch no more events of its family to a watcher."""
        self._watchers.discard(watcher)
        for session_id in watcher.family:
            self._by_session[session_id].discard(watcher)
            if not self._by_session[session_id]:
                del self._by_session[session_id]
        if not self._watchers:
            self._subscription.close()

    def dispatch(self, event: Event) -> None:
        """Dispatch an event. Each failed attempt to connect again is one more `stream.lost`, which changes nothing."""
        is_repeated, self._last_type = event["type"] == self._last_type == "stream.lost", event["type"]
        if is_repeated:
            return
        if event["type"] in CONCERNS_ALL:
            for watcher in self._watchers:
                watcher.mark_stale()
        elif (session_id := event_session_id(event)) is not None:
            for watcher in tuple(self._by_session.get(event_parent_id(event) or "", ())):
                if watcher.changes.subagents:
                    self.add(watcher, {session_id})
            for key in (session_id, ANY_SESSION):
                for watcher in self._by_session.get(key, ()):
                    watcher.on_event(event["type"])


@dataclass(eq=False)
class ResourceWatcher:
    """Watches one resource of a session, or of ANY_SESSION; each event that changes the resource sets `changed`.

    `family` holds the ids of the session and, with `changes.subagents`, of its descendants; if `family_stale`, some may
    be missing. `ready` is set once no later change is missed. A subscriber sets `subscriber_listening` when it listens
    to the bus; nothing is published before. `indexes` are those of the servers that have the resource.
    """

    uri: str
    session_id: str
    changes: ChangeFilter
    indexes: Sequence[WatcherIndex]
    family: set[str] = field(default_factory=set[str])
    changed: anyio.Event = field(default_factory=anyio.Event)
    family_stale: bool = False
    listening: bool = False
    subscriber_count: int = 0
    ready: anyio.Event = field(default_factory=anyio.Event)
    subscriber_listening: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def start(self) -> None:
        """Receive events from now on."""
        self.listening = True
        for index in self.indexes:
            index.add(self, {self.session_id})

    def stop(self) -> None:
        """Receive no more events."""
        if self.listening:
            self.listening = False
            for index in self.indexes:
                index.discard(self)
            self.family.clear()

    def mark_stale(self) -> None:
        """Assume that anything may have changed."""
        self.family_stale = True
        self.changed.set()

    def on_event(self, event_type: str) -> None:
        """Note a change if an event of this type, of a session that counts, is one."""
        if event_type.startswith((*self.changes.event_prefixes, "session.deleted")) and event_type not in UNREADABLE:
            self.changed.set()

    async def send_changes(self, send: Callable[[], Awaitable[None]]) -> None:
        """Send after every change: at once after the first, and always once more after the last."""
        await self.subscriber_listening.wait()
        while True:
            await self.changed.wait()
            self.changed = anyio.Event()
            await send()
            await anyio.sleep(MIN_UPDATE_SECONDS)


class WatcherPool:
    """One watcher for each subscribed URI: started by the first subscriber, stopped after the last."""

    def __init__(self, bus: Bus, tasks: TaskGroup) -> None:
        self._bus, self._tasks = bus, tasks
        self._indexes: dict[EventFeed, WatcherIndex] = {}
        self._watchers: dict[str, ResourceWatcher] = {}

    @property
    def subscriber_count(self) -> int:
        """The number of subscriptions."""
        return sum(watcher.subscriber_count for watcher in self._watchers.values())

    @asynccontextmanager
    async def watch(
        self, uri: str, session_id: str, changes: ChangeFilter, *servers: OpenCodeClient
    ) -> AsyncGenerator[ResourceWatcher]:
        """Publish the changes of a resource of these servers once the subscriber sets `subscriber_listening`.

        No change after the start of the block is missed: one before `subscriber_listening` is published then.
        """
        if (watcher := self._watchers.get(uri)) is None:
            indexes = [self._index_of(opencode.events) for opencode in servers]
            watcher = self._watchers[uri] = ResourceWatcher(uri, session_id, changes, indexes)
            self._tasks.start_soon(self._run, servers[0], watcher)
        watcher.subscriber_count += 1
        try:
            await watcher.ready.wait()
            yield watcher
        finally:
            watcher.subscriber_count -= 1
            if not watcher.subscriber_count:
                del self._watchers[uri]
                watcher.scope.cancel()

    def _index_of(self, events: EventFeed) -> WatcherIndex:
        return self._indexes.setdefault(events, WatcherIndex(events.subscribe))

    async def _run(self, opencode: OpenCodeClient, watcher: ResourceWatcher) -> None:
        with watcher.scope:
            try:
                async with self._bus.lease(watcher):
                    await self._refresh_family(opencode, watcher)
                    watcher.ready.set()
                    await watcher.send_changes(partial(self._publish, opencode, watcher))
            finally:
                watcher.stop()

    async def _publish(self, opencode: OpenCodeClient, watcher: ResourceWatcher) -> None:
        await self._bus.publish(ResourceUpdated(watcher.uri))
        if watcher.family_stale:
            self._tasks.start_soon(self._refresh_family, opencode, watcher)

    async def _refresh_family(self, opencode: OpenCodeClient, watcher: ResourceWatcher) -> None:
        """Find descendants of a session whose events were missed, on its server; a new one counts as a change."""
        watcher.family_stale = False
        if not (watcher.listening and watcher.changes.subagents):
            return
        try:
            family = await read_family(opencode.with_options(retry_seconds=()), watcher.session_id)
        except OpenCodeError as error:
            log.debug("the subagents of %s are not known: %s", watcher.session_id, error)
            watcher.family_stale = True  # read again after the next change; a reconnect of the stream is one
        else:
            if watcher.listening and watcher.indexes[0].add(watcher, family):
                watcher.changed.set()
