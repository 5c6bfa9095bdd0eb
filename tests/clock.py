"""A clock that a test sets."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import anyio
import pytest


@dataclass
class Clock:
    """The time of what is tested, in seconds: later than that of the event loop, whose deadlines do not pass."""

    now: float = field(default_factory=lambda: time.monotonic() + 1000)


def set_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Have `anyio.current_time` return the time of a clock."""
    clock = Clock()
    monkeypatch.setattr(anyio, "current_time", lambda: clock.now)
    return clock
