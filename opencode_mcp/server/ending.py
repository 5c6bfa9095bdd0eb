"""The end of the server: no call begins any more, those that run have a while, and then end with an error."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import anyio

from opencode_mcp.exceptions import ServerEnding

DRAIN_SECONDS = 5.0
"""Less than the ten seconds that container engines give a process between SIGTERM and SIGKILL."""
CLEAN_UP_SECONDS = 3.0
"""What a call that is cut off may take to stop what it has begun in OpenCode."""
FLUSH_SECONDS = 0.2
"""What the last results may take from the handler to the wire, which nothing tells of."""


class Ending:
    """Knows the calls that run. `last` is what is called when none does: it ends what would not end by itself."""

    def __init__(self) -> None:
        self.last: list[Callable[[], None]] = []
        self._running: set[anyio.CancelScope] = set()
        self._changed = anyio.Event()
        self._begun = False

    @contextmanager
    def running(self) -> Generator[None]:
        """Count a call while the block lasts.

        Raises:
            ServerEnding: it may not begin, or was cut off.
        """
        if self._begun:
            raise ServerEnding("This server is shutting down; nothing was sent. Call again when it has restarted.")
        scope = anyio.CancelScope()
        self._running.add(scope)
        try:
            with scope:
                yield
        finally:
            self._running.discard(scope)
            self._changed.set()
        if scope.cancelled_caught:
            raise ServerEnding(
                f"This server is shutting down, and cancelled the call after {DRAIN_SECONDS:g} s. A task that it had "
                "started was asked to stop; call report_task for its state when the server has restarted."
            )

    async def drain(self) -> None:
        """Wait until no call runs, and cut off those that run too long."""
        self._begun = True
        await self._until_none_runs(DRAIN_SECONDS)
        for scope in self._running:
            scope.cancel()
        await self._until_none_runs(CLEAN_UP_SECONDS)
        for end in self.last:
            end()
        await anyio.sleep(FLUSH_SECONDS)

    async def _until_none_runs(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            while self._running:
                self._changed = anyio.Event()
                await self._changed.wait()
