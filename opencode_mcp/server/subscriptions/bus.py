"""The bus that carries resource updates from the watchers to the clients: within this process, or across replicas."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import anyio.lowlevel
from mcp.server.subscriptions import ServerEvent

log = logging.getLogger(__name__)

EventListener = Callable[[ServerEvent], None]
ALL_EVENTS = (None,)


class Watcher(Protocol):
    """Watches one resource for the clients of all replicas, while this process holds its lease."""

    uri: str
    listening: bool

    def start(self) -> None:
        """Start to watch."""
        ...

    def stop(self) -> None:
        """Stop watching."""
        ...

    def mark_stale(self) -> None:
        """Assume that the resource may have changed."""
        ...


class Bus:
    """Carries updates to the clients of this process, which runs all watchers itself.

    Listeners are found by the event: publishing takes no time for those of other events.
    """

    def __init__(self) -> None:
        self._listeners: dict[ServerEvent | None, dict[object, EventListener]] = {}

    async def publish(self, event: ServerEvent) -> None:
        """Call the listeners of an event, and those of all events; one that raises does not keep it from the others."""
        for key in (event, *ALL_EVENTS):
            for listener in tuple(self._listeners.get(key, {}).values()):
                try:
                    listener(event)
                except Exception:
                    log.exception("a listener of updates failed")
        await anyio.lowlevel.checkpoint()  # listeners of a burst read between two events

    def subscribe(
        self, listener: EventListener, events: Collection[ServerEvent | None] = ALL_EVENTS
    ) -> Callable[[], None]:
        """Call `listener` with each of these events; return a function that ends it, and may be called twice."""
        token = object()
        for event in events:
            self._listeners.setdefault(event, {})[token] = listener

        def unsubscribe() -> None:
            for event in events:
                listeners = self._listeners.get(event, {})
                listeners.pop(token, None)
                if not listeners:
                    self._listeners.pop(event, None)

        return unsubscribe

    @asynccontextmanager
    async def lease(self, watcher: Watcher) -> AsyncGenerator[None]:
        """Run the watcher whenever this process holds its lease, for the duration of the block."""
        watcher.start()
        yield


@dataclass(frozen=True)
class FilteredBus:
    """A bus for a subscriber that does not say which events it expects, as the SDK's `ListenHandler`."""

    bus: Bus
    events: Collection[ServerEvent]

    async def publish(self, event: ServerEvent) -> None:
        """Publish any event."""
        await self.bus.publish(event)

    def subscribe(self, listener: EventListener) -> Callable[[], None]:
        """Call `listener` with each of `events`; return a function that ends it."""
        return self.bus.subscribe(listener, self.events)
