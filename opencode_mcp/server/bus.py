"""The bus that carries resource updates from the watchers to the clients: within this process, or across replicas."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Protocol

from mcp.server.subscriptions import InMemorySubscriptionBus

from opencode_mcp.exceptions import SettingsError
from opencode_mcp.settings import Settings


class Watch(Protocol):
    """Watches one resource, while it is this process that watches it."""

    uri: str
    hearing: bool

    def hear(self) -> None:
        """Start to watch."""
        ...

    def rest(self) -> None:
        """Stop watching."""
        ...

    def doubt(self) -> None:
        """Assume that the resource may have changed."""
        ...


class Bus(InMemorySubscriptionBus):
    """Carries updates to the clients of this process, which runs every watcher itself."""

    @asynccontextmanager
    async def lease(self, watch: Watch) -> AsyncGenerator[None]:
        """Run the watcher whenever this process holds its lease, for the duration of the block."""
        watch.hear()
        yield


def bus_of(settings: Settings) -> Callable[[], AbstractAsyncContextManager[Bus]]:
    """Return the factory of the bus that the settings select.

    Raises:
        SettingsError: the extra for `--redis` is not installed, or its URL is not valid.
    """
    if not settings.redis:
        return lambda: nullcontext(Bus())
    try:
        from .fanout import check, replicated
    except ImportError as error:
        raise SettingsError("--redis needs the extra: pip install 'opencode-mcp[redis]'") from error
    check(settings.redis)
    return partial(replicated, settings.redis, " ".join(settings.urls.values()))
