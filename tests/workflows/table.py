"""A row of the scenario table: what is done, what must be seen of it, and within how many seconds."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
import pytest

from .bench import Bench, Config
from .seen import Seen

LIMIT_SECONDS = 90.0
"""A row's time limit where it has none of its own: on a busy machine OpenCode takes its time."""

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


async def play(row: Row, bench: Bench) -> None:
    """Play a row, and compare what is seen with what it expects.

    Raises:
        Failed: it hung, or what was seen differs.
    """
    with anyio.move_on_after(row.seconds) as limit:
        seen = await row.does(bench)
        assert seen.state == row.state, f"expected {row.state}, seen {seen.state}: {seen.text[:2000]}"
        assert re.search(row.words, seen.message), f"expected {row.words!r} in {seen.message[:2000]!r}"
    if limit.cancelled_caught:
        pytest.fail(f"hung: no end within {row.seconds:g} s", pytrace=False)
