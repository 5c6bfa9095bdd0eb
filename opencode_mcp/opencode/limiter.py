"""A fair concurrency limiter: waiting callers get slots round-robin, so that none starves."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager

import anyio

from .endpoint import ProgressCallback


class FairLimiter:
    """Allows `slots` holders at a time; the requests of one caller are served in order."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiters: dict[Hashable, deque[anyio.Event]] = {}

    @property
    def waiting_count(self) -> int:
        """The number of requests that wait for a slot."""
        return sum(map(len, self._waiters.values()))

    @asynccontextmanager
    async def slot(self, caller: Hashable, report_progress: ProgressCallback) -> AsyncGenerator[None]:
        """Hold a slot while the block lasts; reports when it has to wait."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(caller, report_progress)
        try:
            yield
        finally:
            self._release()

    async def _wait(self, caller: Hashable, report_progress: ProgressCallback) -> None:
        ahead = self.waiting_count
        event = anyio.Event()
        self._waiters.setdefault(caller, deque()).append(event)
        try:
            await report_progress(f"waiting for other calls to OpenCode; {ahead} calls are ahead")
            await event.wait()
        except BaseException:  # cancelled: release the slot if it was granted meanwhile, else leave the queue
            if event.is_set():
                self._release()
            else:
                self._remove_waiter(caller, event)
            raise

    def _release(self) -> None:
        """Pass the slot to the next caller, and move the caller's other requests to the end."""
        if not self._waiters:
            self._free += 1
            return
        caller = next(iter(self._waiters))
        events = self._waiters.pop(caller)
        events.popleft().set()
        if events:
            self._waiters[caller] = events

    def _remove_waiter(self, caller: Hashable, event: anyio.Event) -> None:
        events = self._waiters[caller]
        events.remove(event)
        if not events:
            del self._waiters[caller]
