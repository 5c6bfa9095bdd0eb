"""The bus that carries resource updates from the watchers to the clients: within this process, or across replicas."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

from mcp.server.subscriptions import InMemorySubscriptionBus


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


class Bus(InMemorySubscriptionBus):
    """Carries updates to the clients of this process, which runs all watchers itself."""

    @asynccontextmanager
    async def lease(self, watcher: Watcher) -> AsyncGenerator[None]:
        """Run the watcher whenever this process holds its lease, for the duration of the block."""
        watcher.start()
        yield
