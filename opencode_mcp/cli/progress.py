"""Progress of a call on stderr: one live line on a terminal, with every finished step above it."""

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

IDLE_MESSAGE = "working"
"""The server's message while a call reports nothing."""


class ProgressDisplay:
    """Shows progress for the duration of the block. Without a terminal only finished steps are printed."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._status = self._console.status(Text("…"))
        self._started_at = time.monotonic()
        self._current = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._print_current()
        self._status.stop()

    async def on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Show a progress notification (an `mcp` progress callback)."""
        text = " ".join(printable(message or "").split())
        if text in {"", IDLE_MESSAGE, self._current}:
            return
        if step_key(text) != step_key(self._current):
            self._print_current()
        self._current = text
        line = Text(text)
        line.truncate(self._console.width - SPINNER_COLUMNS, overflow="ellipsis")
        self._status.update(line)

    def _print_current(self) -> None:
        """Print the finished step."""
        if self._current:
            self.print_line(f"{time.monotonic() - self._started_at:6.1f} s  {self._current}", "dim")
            self._current = ""

    def print_line(self, text: str, style: str = "", end: str = "\n") -> None:
        """Print a text above the live line."""
        self._console.print(text, style=style or None, end=end, soft_wrap=True)

    @contextmanager
    def pause(self) -> Generator[None]:
        """Hide the live line while the user types."""
        self._print_current()
        self._status.stop()
        try:
            yield
        finally:
            if self._console.is_terminal:
                self._status.start()


def step_key(message: str) -> str:
    """Return the subject of a message, without its numbers: messages with the same key are one step."""
    return re.sub(r"\d+", "", message.partition(": ")[0])
