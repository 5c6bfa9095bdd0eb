"""Graceful shutdown: reject new calls, drain running ones, then cancel them with an error."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import anyio

from opencode_mcp.exceptions import ServerEnding

DRAIN_SECONDS = 5.0
"""Less than the ten seconds that container engines give a process between SIGTERM and SIGKILL."""
CLEAN_UP_SECONDS = 3.0
"""Time for a cancelled call to stop what it started in OpenCode."""
FLUSH_SECONDS = 0.2
"""Time for the last results to reach the wire; the SDK gives no signal for it."""


class Shutdown:
    """Tracks the running calls. `callbacks` run when no call is left: they close what would not end by itself."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []
        self._scopes: set[anyio.CancelScope] = set()
        self._changed = anyio.Event()
        self._started = False

    @contextmanager
    def track_call(self) -> Generator[None]:
        """Track a call for the duration of the block.

        Raises:
            ServerEnding: the call was rejected, or cancelled.
        """
        if self._started:
            raise ServerEnding("This server is shutting down; nothing was sent. Call again when it has restarted.")
        scope = anyio.CancelScope()
        self._scopes.add(scope)
        try:
            with scope:
                yield
        finally:
            self._scopes.discard(scope)
            self._changed.set()
        if scope.cancelled_caught:
            raise ServerEnding(
                f"This server is shutting down, and cancelled the call after {DRAIN_SECONDS:g} s. A task that it had "
                "started was asked to stop; call report_task for its state when the server has restarted."
            )

    async def drain(self) -> None:
        """Reject new calls, wait for the running ones, and cancel those that exceed DRAIN_SECONDS."""
        self._started = True
        await self._wait_until_idle(DRAIN_SECONDS)
        for scope in self._scopes:
            scope.cancel()
        await self._wait_until_idle(CLEAN_UP_SECONDS)
        for callback in self.callbacks:
            callback()
        await anyio.sleep(FLUSH_SECONDS)

    async def _wait_until_idle(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            while self._scopes:
                self._changed = anyio.Event()
                await self._changed.wait()
