"""A bound on what is asked of OpenCode at once. Of those who wait, callers take turns: none starves behind another."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager

import anyio

from .server import Report


class FairQueue:
    """Lets `slots` in at a time; a caller's own are let in in their order."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: dict[Hashable, deque[anyio.Event]] = {}

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def slot(self, caller: Hashable, report: Report) -> AsyncGenerator[None]:
        """Hold a slot while the block lasts; waiting for one is told."""
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
        except BaseException:  # cancelled: the slot that it was given meanwhile, or its place, is others'
            if turn.is_set():
                self._pass_on()
            else:
                self._leave(caller, turn)
            raise

    def _pass_on(self) -> None:
        """Give a slot to the caller who has waited longest for a turn, and put what else it has at the end."""
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
