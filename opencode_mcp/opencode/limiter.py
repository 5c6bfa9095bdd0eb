"""Fair concurrency limiters: waiting callers get slots round-robin, so that none starves."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import asynccontextmanager
from functools import partial

import anyio

from .endpoint import OpenCodeServer, ProgressCallback

MAX_CONCURRENT_REQUESTS = 32
"""More concurrent requests do not make 1.18.33 faster, and use more of its memory."""
MAX_CONCURRENT_PROMPTS = 32
"""Prompts: 500 at once block every other response of 1.18.33 for 17 s."""
FEW_REQUESTS = 2
"""With so few, a bridge gives its share of the slots back to others."""


class FairLimiter:
    """Allows as many holders at a time as `capacity` returns; the requests of one caller are served in order.

    `report_demand` is called with True when a caller must wait, and with False once few slots are held again.
    """

    def __init__(
        self, capacity: Callable[[], int], report_demand: Callable[[bool], None] = lambda waits: None, few: int = 0
    ) -> None:
        self._capacity = capacity
        self._report_demand = report_demand
        self._few = few
        self._held = 0
        self._in_demand = False
        self._waiters: dict[Hashable, deque[anyio.Event]] = {}

    @property
    def waiting_count(self) -> int:
        """The number of requests that wait for a slot."""
        return sum(map(len, self._waiters.values()))

    @asynccontextmanager
    async def slot(self, caller: Hashable, report_progress: ProgressCallback) -> AsyncGenerator[None]:
        """Hold a slot while the block lasts; reports when it has to wait."""
        if self._held < self._capacity():
            self._held += 1
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
        self._in_demand = True
        self._report_demand(True)
        try:
            await report_progress(f"waiting for other calls to OpenCode; {ahead} calls are ahead")
            await event.wait()
        except BaseException:  # cancelled: release the slot if it was granted meanwhile, else leave the queue
            if event.is_set():
                self._release()
            else:
                self._remove_waiter(caller, event)
            raise

    def grant(self) -> None:
        """Grant free slots to the waiting callers, each in turn; call it when the capacity has grown."""
        while self._waiters and self._held < self._capacity():
            caller = next(iter(self._waiters))
            events = self._waiters.pop(caller)
            events.popleft().set()
            self._held += 1
            if events:
                self._waiters[caller] = events  # the caller's other requests move to the end

    def _release(self) -> None:
        self._held -= 1
        if self._waiters:
            self.grant()
        if self._in_demand and self._held <= self._few and not self._waiters:
            self._in_demand = False
            self._report_demand(False)

    def _remove_waiter(self, caller: Hashable, event: anyio.Event) -> None:
        events = self._waiters[caller]
        events.remove(event)
        if not events:
            del self._waiters[caller]


class BridgeLimiters:
    """The limiters of one bridge: of prompts, and of all other requests. Each has this bridge's share of the slots."""

    def __init__(self, server: OpenCodeServer) -> None:
        self._server = server
        self._in_demand = set[str]()
        self.requests = self._create("requests", MAX_CONCURRENT_REQUESTS)
        self.prompts = self._create("prompts", MAX_CONCURRENT_PROMPTS)

    def _create(self, name: str, slots: int) -> FairLimiter:
        def report_demand(waits: bool) -> None:
            (self._in_demand.add if waits else self._in_demand.discard)(name)
            self._server.publish(waits=bool(self._in_demand))

        limiter = FairLimiter(partial(self._server.share_of, slots), report_demand, FEW_REQUESTS)
        self._server.on_bridges_changed(limiter.grant)
        return limiter

    @property
    def waiting_count(self) -> int:
        """The number of requests that wait for a slot."""
        return self.requests.waiting_count + self.prompts.waiting_count
