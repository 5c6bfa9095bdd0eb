"""Reads that many callers share: one that began recently enough answers all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio

from opencode_mcp.exceptions import OpenCodeError

T = TypeVar("T")

MAX_SHARED_READS = 1000
"""How many values are kept; the oldest keys are forgotten."""


@dataclass(eq=False)
class SharedRead:
    """The last read of one key that has ended: when it began and ended (anyio.current_time()), its value or its error.

    `began` is None before the first one.
    """

    began: float | None = None
    ended: float = 0.0
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

    async def read(self, key: tuple[str, str], max_age: float, read: Callable[[], Awaitable[T]]) -> T:
        """Return what `read` returns, or has returned for this key where that began at most `max_age` seconds ago.

        Raises:
            OpenCodeError: what `read` raises; callers that wait for the same read get the same error, later ones do
                not.
        """
        asked = anyio.current_time()
        shared = self._reads[key] = self._reads.pop(key, None) or SharedRead()
        if len(self._reads) > MAX_SHARED_READS:
            del self._reads[next(iter(self._reads))]
        async with shared.lock:
            is_old = shared.began is None or shared.began < asked - max_age
            if is_old or (shared.error is not None and shared.ended < asked):
                await shared.repeat(read)
            if shared.error is not None:
                raise shared.error.with_traceback(None)
            return shared.value

    def count(self, about: str, seconds: float) -> int:
        """Return how many keys that are about something were read in the last seconds."""
        oldest = anyio.current_time() - seconds
        return sum(
            key[0] == about and shared.began is not None and shared.began >= oldest
            for key, shared in self._reads.items()
        )
