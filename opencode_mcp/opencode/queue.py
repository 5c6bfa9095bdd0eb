"""A fair concurrency limiter: waiting callers get slots round-robin, so that none starves."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager

import anyio

from .server import Report


class FairQueue:
    """Allows `slots` holders at a time; the requests of one caller are served in order."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: dict[Hashable, deque[anyio.Event]] = {}

    @property
    def waiting(self) -> int:
        """The number of requests that wait for a slot."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def slot(self, caller: Hashable, report: Report) -> AsyncGenerator[None]:
        """Hold a slot while the block lasts; reports when it has to wait."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(caller, report)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, caller: Hashable, report: Report) -> None:
        ahead = self.waiting
        turn = anyio.Event()
        self._waiting.setdefault(caller, deque()).append(turn)
        try:
            await report(f"waiting for other calls to OpenCode; {ahead} calls are ahead")
            await turn.wait()
        except BaseException:  # cancelled: release the slot if it was granted meanwhile, else leave the queue
            if turn.is_set():
                self._pass_on()
            else:
                self._leave(caller, turn)
            raise

    def _pass_on(self) -> None:
        """Pass the slot to the next caller, and move the caller's other requests to the end."""
        if not self._waiting:
            self._free += 1
            return
        caller = next(iter(self._waiting))
        turns = self._waiting.pop(caller)
        turns.popleft().set()
        if turns:
            self._waiting[caller] = turns

    def _leave(self, caller: Hashable, turn: anyio.Event) -> None:
        turns = self._waiting[caller]
        turns.remove(turn)
        if not turns:
            del self._waiting[caller]
