"""Watches: what OpenCode tells of its sessions becomes updates of resources, one watch for all that follow a URI.

event -> `Index`: the watches of its session -> `Watches`: an update at once, and one after the last -> the bus
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import anyio
from anyio.abc import TaskGroup
from mcp.server.subscriptions import ResourceUpdated

from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.events import Event, EventFeed, Listener, event_session_id
from opencode_mcp.workflows.truth import read_family
from opencode_mcp.workflows.wait import event_parent_id

from .bus import Bus
from .resources import Changes

UPDATE_SECONDS = 0.5
"""Minimum time between two notifications of one resource; a burst of events becomes one notification."""

CONCERNS_ALL = frozenset({"stream.connected", "stream.heard", "server.instance.disposed", "global.disposed"})
"""Events after which anything may have changed; events before them may have been missed."""

UNREADABLE = frozenset({"message.part.delta"})
"""Events that change nothing readable: OpenCode stores a text when it is complete (1.18.33)."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Watch:
    """What is heard of one resource of a session; `changed` is set by each event that changes it.

    `family` are the session and, where they count, its descendants; `doubted` says that some may be unknown.
    `ready` says that nothing is missed any more; nothing is told before `begun`, which a follower that hears it sets.
    """

    uri: str
    session_id: str
    changes: Changes
    index: Index
    family: set[str] = field(default_factory=set[str])
    changed: anyio.Event = field(default_factory=anyio.Event)
    doubted: bool = False
    hearing: bool = False
    followers: int = 0
    ready: anyio.Event = field(default_factory=anyio.Event)
    begun: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def hear(self) -> None:
        """Receive events from now on."""
        self.hearing = True
        self.index.add(self, {self.session_id})

    def rest(self) -> None:
        """Receive no more events."""
        if self.hearing:
            self.hearing = False
            self.index.discard(self)

    def doubt(self) -> None:
        """Assume that anything may have changed."""
        self.doubted = True
        self.changed.set()

    def on_event(self, event_type: str) -> None:
        """Handle an event of the session or its descendants."""
        if event_type.startswith((*self.changes.events, "session.deleted")) and event_type not in UNREADABLE:
            self.changed.set()

    async def tell(self, send: Callable[[], Awaitable[None]]) -> None:
        """Send after every change: at once after the first, and always once more after the last."""
        await self.begun.wait()
        while True:
            await self.changed.wait()
            self.changed = anyio.Event()
            await send()
            await anyio.sleep(UPDATE_SECONDS)


class Index:
    """Passes each event on to the watches of the session that it is about, and to no other.

    `subscribe` is that of the event feed: it is heard while there is a watch.
    """

    def __init__(self, subscribe: Callable[[Listener], AbstractContextManager[None]]) -> None:
        self._heard_by = subscribe
        self._heard = ExitStack()
        self._hearing: set[Watch] = set()
        self._watches: defaultdict[str, set[Watch]] = defaultdict(set)

    def add(self, watch: Watch, sessions: Iterable[str]) -> bool:
        """Dispatch the events of these sessions to a watcher too; return whether any session was new to it."""
        if not self._hearing:
            self._heard.enter_context(self._heard_by(self.notice))
        self._hearing.add(watch)
        new = set(sessions) - watch.family
        watch.family |= new
        for session_id in new:
            self._watches[session_id].add(watch)
        return bool(new)

    def discard(self, watch: Watch) -> None:
        """Dispatch no more events to a watcher."""
        self._hearing.discard(watch)
        for session_id in watch.family:
            self._watches[session_id].discard(watch)
            if not self._watches[session_id]:
                del self._watches[session_id]
        watch.family.clear()
        if not self._hearing:
            self._heard.close()

    def notice(self, event: Event) -> None:
        """Dispatch an event."""
        if event["type"] in CONCERNS_ALL:
            for watch in self._hearing:
                watch.doubt()
        elif (session_id := event_session_id(event)) is not None:
            for watch in tuple(self._watches.get(event_parent_id(event) or "", ())):
                if watch.changes.subagents:
                    self.add(watch, {session_id})
            for watch in self._watches.get(session_id, ()):
                watch.on_event(event["type"])


class Watches:
    """One watcher for each subscribed URI: started by the first subscriber, stopped after the last."""

    def __init__(self, bus: Bus, tasks: TaskGroup) -> None:
        self._bus, self._tasks = bus, tasks
        self._indexes: dict[EventFeed, Index] = {}
        self._watches: dict[str, Watch] = {}

    @property
    def followers(self) -> int:
        """The number of subscriptions."""
        return sum(watch.followers for watch in self._watches.values())

    @asynccontextmanager
    async def followed(
        self, uri: str, session_id: str, changes: Changes, opencode: OpenCodeClient
    ) -> AsyncGenerator[Watch]:
        """Publish the changes of a session's resource from when the follower says that the watch has begun.

        None is missed from the block's begin on: a change that comes in between is told then.
        """
        if (watch := self._watches.get(uri)) is None:
            index = self._indexes.setdefault(opencode.events, Index(opencode.events.subscribe))
            watch = self._watches[uri] = Watch(uri, session_id, changes, index)
            self._tasks.start_soon(self._keep, opencode, watch)
        watch.followers += 1
        try:
            await watch.ready.wait()
            yield watch
        finally:
            watch.followers -= 1
            if not watch.followers:
                del self._watches[uri]
                watch.scope.cancel()

    async def _keep(self, opencode: OpenCodeClient, watch: Watch) -> None:
        with watch.scope:
            try:
                async with self._bus.lease(watch):
                    await self._find_family(opencode, watch)
                    watch.ready.set()
                    await watch.tell(partial(self._publish, opencode, watch))
            finally:
                watch.rest()

    async def _publish(self, opencode: OpenCodeClient, watch: Watch) -> None:
        await self._bus.publish(ResourceUpdated(watch.uri))
        if watch.doubted:
            self._tasks.start_soon(self._find_family, opencode, watch)

    async def _find_family(self, opencode: OpenCodeClient, watch: Watch) -> None:
        """Find descendants whose events were missed; a new one counts as a change."""
        watch.doubted = False
        if not (watch.hearing and watch.changes.subagents):
            return
        try:
            family = await read_family(opencode.with_options(retry_seconds=()), watch.session_id)
        except OpenCodeError as error:
            log.debug("the subagents of %s are not known: %s", watch.session_id, error)
            watch.doubted = True  # until after the next change, which the stream's return is as well
        else:
            if watch.hearing and watch.index.add(watch, family):
                watch.changed.set()
