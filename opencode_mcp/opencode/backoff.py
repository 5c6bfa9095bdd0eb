"""When a server that ends right after its start may be started again, and what usually makes it end."""

from __future__ import annotations

import errno
import os
import re
import time

SHORT_SECONDS = 10.0
"""A server that ends earlier than this after it listened counts as one that did not start."""
DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds between the end of one short life and the next start: at once after the first, then longer and longer."""

CAUSES = (
    (
        re.compile(r"ENOSPC|SQLITE_FULL|database or disk is full|no space left on device|EDQUOT|quota exceeded", re.I),
        "A disk is full: the one of OpenCode's data (~/.local/share/opencode or XDG_DATA_HOME) or of temporary files "
        "(TMPDIR). Free some space, then call again.",
    ),
    (
        re.compile(r"EMFILE|ENFILE|too many open files|ProcessFdQuotaExceeded|SystemFdQuotaExceeded", re.I),
        "Too many files are open at once. Raise the limit (`ulimit -n 4096`) where this server is started, then "
        "restart it.",
    ),
    (
        re.compile(r"ENOMEM|cannot allocate memory|out of memory", re.I),
        "The machine has too little free memory. Free some, then call again.",
    ),
    (
        re.compile(r"EROFS|read-only file system", re.I),
        "A folder that OpenCode writes to is read-only: ~/.local/share/opencode (XDG_DATA_HOME) or TMPDIR.",
    ),
)
"""Words of Linux, macOS, SQLite and Bun, as OpenCode 1.18.33 prints them before it ends, and what to do."""


def cause_of(output: str) -> str:
    """Name the exhausted resource that a text tells of, and what to do; "" when it tells of none."""
    return next((advice for pattern, advice in CAUSES if pattern.search(output)), "")


def describe_os_error(error: OSError) -> str:
    """Describe an error of the operating system, with what to do about it where that is known."""
    name = errno.errorcode.get(error.errno or 0, "")
    words = os.strerror(error.errno) if error.errno else str(error)
    advice = cause_of(f"{name} {words}")
    return f"{error}\n{advice}" if advice else str(error)


class Backoff:
    """Counts the short lives of a server in a row. Seconds are of the monotonic clock."""

    def __init__(self) -> None:
        self.short_lives = 0
        self._next_start = float("-inf")

    def ended(self, listened_seconds: float | None) -> None:
        """Record an end: how long the server had listened, None when it never did."""
        if listened_seconds is not None and listened_seconds >= SHORT_SECONDS:
            self.short_lives = 0
            return
        delay = DELAYS[min(self.short_lives, len(DELAYS) - 1)]
        self.short_lives += 1
        self._next_start = time.monotonic() + delay

    @property
    def remaining(self) -> float:
        """Seconds until the next start may be tried."""
        return max(0.0, self._next_start - time.monotonic()) if self.short_lives else 0.0
