"""Delays before a server that keeps exiting right after its start is started again."""

from __future__ import annotations

import time

SHORT_LIFE_SECONDS = 10.0
"""A server that exits sooner than this after it listened counts as not started."""
RESTART_DELAY_SECONDS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds between an early exit and the next start, by the number of early exits before it."""


class Backoff:
    """Counts early exits in a row. Times are those of the monotonic clock."""

    def __init__(self) -> None:
        self.short_lives = 0
        self._next_start = float("-inf")

    def record_exit(self, listened_seconds: float | None) -> None:
        """Record an exit and for how long the server had listened, None if it never did."""
        if listened_seconds is not None and listened_seconds >= SHORT_LIFE_SECONDS:
            self.short_lives = 0
            return
        delay = RESTART_DELAY_SECONDS[min(self.short_lives, len(RESTART_DELAY_SECONDS) - 1)]
        self.short_lives += 1
        self._next_start = time.monotonic() + delay

    @property
    def remaining_seconds(self) -> float:
        """Seconds until the next start may be tried."""
        return max(0.0, self._next_start - time.monotonic()) if self.short_lives else 0.0
