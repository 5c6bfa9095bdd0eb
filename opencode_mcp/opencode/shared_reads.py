"""Reads that many callers share: one that began recently enough answers all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeVar

import anyio

from opencode_mcp.exceptions import OpenCodeError

T = TypeVar("T")

MAX_SHARED_READS = 1000
"""How many values are kept; the oldest keys are forgotten."""

ASKED_SECONDS = 10.0
"""How long a key takes its turn after it was last asked for: twice the longest pause between two polls of a task."""


@dataclass(eq=False)
class SharedRead:
    """The last read of one key that has ended: when it began and ended (anyio.current_time()), its value or its error.

    `began` is None before the first one. `asked` is when the value was last asked for in turn.
    """

    began: float | None = None
    ended: float = 0.0
    asked: float = -inf
    value: Any = None
    error: OpenCodeError | None = None
    lock: anyio.Lock = field(default_factory=anyio.Lock)

    async def repeat(self, read: Callable[[], Awaitable[Any]]) -> None:
        """Read again; a read that is cancelled changes nothing."""
        began, value, error = anyio.current_time(), None, None
        try:
            value = await read()
        except OpenCodeError as failure:
            error = failure
        self.began, self.ended, self.value, self.error = began, anyio.current_time(), value, error


class SharedReads:
    """What was read of a server, by key: what it is about, and of which directory or session."""

    def __init__(self) -> None:
        self._reads: dict[tuple[str, str], SharedRead] = {}
        self._last_turns: dict[str, float] = {}

    async def read(self, key: tuple[str, str], max_age: float, read: Callable[[], Awaitable[T]]) -> T:
        """Return what `read` returns, or has returned for this key where that began at most `max_age` seconds ago.

        Raises:
            OpenCodeError: what `read` raises; callers that wait for the same read get the same error, later ones do
                not.
        """
        asked, shared = anyio.current_time(), self._find(key)
        async with shared.lock:
            is_old = shared.began is None or shared.began < asked - max_age
            if is_old or (shared.error is not None and shared.ended < asked):
                await shared.repeat(read)
            if shared.error is not None:
                raise shared.error.with_traceback(None)
            return shared.value

    async def read_in_turn(
        self, key: tuple[str, str], since: float, pause: float, read: Callable[[], Awaitable[T]]
    ) -> T | None:
        """Return the newest value whose read began at `since` (anyio.current_time()) or later, None if there is none.

        Of all keys about the same that are asked for, one is read in `pause` seconds: that which was read the longest
        time ago. One that is asked for too seldom to have its turn is read after twice the time that a round takes.

        Raises:
            OpenCodeError: what `read` raises, if this call waited for it.
        """
        now, shared = anyio.current_time(), self._find(key)
        shared.asked = now
        if shared.lock.locked():
            return await self.read(key, now - since, read)
        if self._is_due(key, shared, since, pause, now):
            self._last_turns[key[0]] = now
            return await self.read(key, 0, read)
        is_newer = shared.error is None and shared.began is not None and shared.began >= since
        return shared.value if is_newer else None

    def _is_due(self, key: tuple[str, str], shared: SharedRead, since: float, pause: float, now: float) -> bool:
        """Whether a key must be read now."""
        age = now - max(since, shared.began or since)
        if age < pause:
            return False
        round_of = [
            other for (about, _), other in self._reads.items() if about == key[0] and other.asked >= now - ASKED_SECONDS
        ]
        if age >= 2 * pause * len(round_of):
            return True
        oldest = min(-inf if other.began is None else other.began for other in round_of)
        is_oldest = shared.began is None or shared.began <= oldest
        return is_oldest and now - self._last_turns.get(key[0], -inf) >= pause

    def _find(self, key: tuple[str, str]) -> SharedRead:
        """Return the last read of a key, which is forgotten after those of all others."""
        shared = self._reads[key] = self._reads.pop(key, None) or SharedRead()
        if len(self._reads) > MAX_SHARED_READS:
            del self._reads[next(iter(self._reads))]
        return shared
