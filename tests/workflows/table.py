"""The truth table: what is done, what must be seen of it, and within how many seconds."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import anyio

from .bench import Bench, Config
from .seen import Seen

LIMIT_SECONDS = 90.0
"""A row's time limit where it has none of its own. Several rows are played at once, on whatever machine this is."""

Deed = Callable[[Bench], Awaitable[Seen]]
"""Acts on a bench, and returns the call that tells what came of it."""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    `state` is that of the report which `does` returns, or "error" for a call that failed without one;
    `words` is found in what is said of that state. A row that changes more than its own sessions, or
    reads what changed, has a project of its own, with this configuration of OpenCode.
    """

    name: str
    does: Deed
    state: str
    words: str = ""
    seconds: float = LIMIT_SECONDS
    project: Config | None = None


@dataclass(frozen=True)
class Outcome:
    """What was seen of a row; `fault` is "" when it was the truth."""

    row: Row
    seen: str
    seconds: float
    fault: str = ""

    @property
    def hung(self) -> bool:
        """Whether the row did not end within its limit."""
        return self.seen == "hung"


async def play(row: Row, bench: Bench) -> Outcome:
    """Play a row."""
    began = time.monotonic()
    outcome = Outcome(row, "hung", row.seconds, f"nothing within {row.seconds:g} s")
    with anyio.move_on_after(row.seconds):
        try:
            seen = await row.does(bench)
        except Exception as error:
            outcome = broken(row, error)
        else:
            outcome = Outcome(row, seen.state, 0, difference(row, seen))
    return replace(outcome, seconds=time.monotonic() - began)


def broken(row: Row, error: Exception) -> Outcome:
    """Return the outcome of a row that did not come to its end."""
    return Outcome(row, "broken off", 0, "".join(traceback.format_exception(error)))


def difference(row: Row, seen: Seen) -> str:
    """Say how what was seen differs from what the row expects, or nothing."""
    if seen.state != row.state:
        return f"expected {row.state}, seen {seen.state}: {seen.text[:2000]}"
    if not re.search(row.words, seen.words):
        return f"expected {row.words!r} in {seen.words[:2000]!r}"
    return ""
