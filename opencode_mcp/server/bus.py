"""The bus that carries what has changed from the watches to the clients: within this process, or over replicas."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from mcp.server.subscriptions import InMemorySubscriptionBus

from opencode_mcp.exceptions import SettingsError
from opencode_mcp.settings import Settings

if TYPE_CHECKING:
    from .watching import Watch


class Bus(InMemorySubscriptionBus):
    """Carries changes to the clients of this process, which watches for itself."""

    @asynccontextmanager
    async def lease(self, watch: Watch) -> AsyncGenerator[None]:
        """Have a watch hear whenever it is this process that is to watch, while the block lasts."""
        watch.hear()
        yield


def bus_of(settings: Settings) -> Callable[[], AbstractAsyncContextManager[Bus]]:
    """Return what opens the bus that the settings choose.

    Raises:
        SettingsError: what `--redis` needs is missing, or its URL makes no sense.
    """
    if not settings.redis:
        return lambda: nullcontext(Bus())
    try:
        from .fanout import check, replicated
    except ImportError as error:
        raise SettingsError("--redis needs the extra: pip install 'opencode-mcp[redis]'") from error
    check(settings.redis)
    return partial(replicated, settings.redis, " ".join(settings.urls.values()))
