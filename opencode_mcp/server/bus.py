"""The bus that carries resource updates from the watchers to the clients: within this process, or across replicas."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Protocol

from mcp.server.subscriptions import InMemorySubscriptionBus

from opencode_mcp.exceptions import SettingsError
from opencode_mcp.settings import Settings


class Watcher(Protocol):
    """Watches one resource, while it is this process that watches it."""

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
    """Carries updates to the clients of this process, which runs every watcher itself."""

    @asynccontextmanager
    async def lease(self, watcher: Watcher) -> AsyncGenerator[None]:
        """Run the watcher whenever this process holds its lease, for the duration of the block."""
        watcher.start()
        yield


def make_bus_factory(settings: Settings) -> Callable[[], AbstractAsyncContextManager[Bus]]:
    """Return the factory of the bus that the settings select.

    Raises:
        SettingsError: the extra for `--redis` is not installed, or its URL is not valid.
    """
    if not settings.redis:
        return lambda: nullcontext(Bus())
    try:
        from .fanout import check_redis_url, open_redis_bus
    except ImportError as error:
        raise SettingsError("--redis needs the extra: pip install 'opencode-mcp[redis]'") from error
    check_redis_url(settings.redis)
    return partial(open_redis_bus, settings.redis, " ".join(settings.urls.values()))
