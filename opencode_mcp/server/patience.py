"""A time limit for incoming HTTP requests: uvicorn alone waits without limit."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_TIMEOUT_SECONDS = 10.0
"""A connection whose request is incomplete after this time (twice this time for the body of a later one) is closed."""


class RequestTimeoutProtocol(H11Protocol):
    """Closes a connection whose request does not complete in time; one that waits for its response stays open."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Start the timer."""
        super().connection_made(transport)
        self._last_cycle: Any = None
        self._timer = self.loop.call_later(REQUEST_TIMEOUT_SECONDS, self._check_progress)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer."""
        self._timer.cancel()
        super().connection_lost(exc)

    def _check_progress(self) -> None:
        # While a connection is idle between two requests uvicorn has a timer of its own.
        head_incomplete = self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None
        body_incomplete = self.conn.their_state is h11.SEND_BODY
        if (head_incomplete or body_incomplete) and self.cycle is self._last_cycle:
            self.transport.abort()
            return
        self._last_cycle = self.cycle
        self._timer = self.loop.call_later(REQUEST_TIMEOUT_SECONDS, self._check_progress)
