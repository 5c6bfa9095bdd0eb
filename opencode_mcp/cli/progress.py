"""What a call is doing, on stderr: one live line on a terminal, and every step that is over above it."""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.text import Text

from .output import printable

SPINNER_COLUMNS = 3

NOTHING_TO_SAY = "working"
"""What the server repeats while a call is silent."""


class Progress:
    """Shows progress while the block lasts. Without a terminal only the steps that are over are printed."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._status = self._console.status(Text("…"))
        self._begun = time.monotonic()
        self._last = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keep()
        self._status.stop()

    async def told(self, progress: float, total: float | None, message: str | None) -> None:
        """Take what the server says (an `mcp` progress callback)."""
        text = " ".join(printable(message or "").split())
        if text in {"", NOTHING_TO_SAY, self._last}:
            return
        if step(text) != step(self._last):
            self._keep()
        self._last = text
        live = Text(text)
        live.truncate(self._console.width - SPINNER_COLUMNS, overflow="ellipsis")
        self._status.update(live)

    def _keep(self) -> None:
        """Print the step that is over."""
        if self._last:
            self.say(f"{time.monotonic() - self._begun:6.1f} s  {self._last}", "dim")
            self._last = ""

    def say(self, text: str, style: str = "", end: str = "\n") -> None:
        """Print a text above the live line."""
        self._console.print(text, style=style or None, end=end, soft_wrap=True)

    @contextmanager
    def paused(self) -> Generator[None]:
        """Take the live line away while somebody types."""
        self._keep()
        self._status.stop()
        try:
            yield
        finally:
            if self._console.is_terminal:
                self._status.start()


def step(message: str) -> str:
    """Return what a message is about: the same thing further on is the same step."""
    return re.sub(r"\d+", "", message.partition(": ")[0])
