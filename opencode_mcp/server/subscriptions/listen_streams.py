"""The open streams of subscriptions/listen (protocol from 2026-07-28), and how many a process may have."""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import contextmanager

from mcp.server.subscriptions import ListenHandler, ServerEvent
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR

from .bus import Bus, FilteredBus

MAX_STREAMS = 1_024
"""Maximum number of open streams, the SDK's default; beyond it `subscriptions/listen` gets an error."""


class ListenStreams:
    """Provides the SDK's handler for each stream: it sends the events that its client has asked for."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._handlers: set[ListenHandler] = set()

    @contextmanager
    def reserve(self, events: Collection[ServerEvent]) -> Generator[ListenHandler]:
        """Provide the handler of a stream of these events, which counts as open for the duration of the block.

        Raises:
            MCPError: MAX_STREAMS are open, with the code and the message of the SDK's own limit.
        """
        if len(self._handlers) >= MAX_STREAMS:
            raise MCPError(INTERNAL_ERROR, "Subscription limit reached")
        handler = ListenHandler(FilteredBus(self._bus, events))
        self._handlers.add(handler)
        try:
            yield handler
        finally:
            self._handlers.discard(handler)

    def close(self) -> None:
        """End all streams with a result."""
        for handler in tuple(self._handlers):
            handler.close()
