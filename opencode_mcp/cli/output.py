"""Output to a terminal or a pipe. Text from a model cannot move the cursor or hide characters."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, cast

from rich.console import Console, RenderableType
from rich.text import Text

PIPE_COLUMNS = 200
TAB_COLUMNS = 4


def printable(text: str) -> str:
    """Replace escape sequences, direction marks and the like: they could disguise a command."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


def printable_text(text: str) -> str:
    """Return a text of several lines as `printable`, with tabs and line ends of Windows in the form of spaces and
    newlines."""
    return printable(text.replace("\r\n", "\n").expandtabs(TAB_COLUMNS))


def stdout_console() -> Console:
    """Return a console on stdout; in a pipe, which has no width, lines are not wrapped."""
    return Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False, markup=False)


def print_lines(lines: Iterable[RenderableType]) -> None:
    """Print texts and tables on stdout; what its encoding lacks is escaped. A `str` is printed as it is: fast."""
    cast("io.TextIOWrapper", sys.stdout).reconfigure(errors="backslashreplace")
    console = stdout_console()
    with ignore_broken_pipe():
        for line in lines:
            if isinstance(line, str):
                print(line)  # noqa: T201 - the answer
            else:
                console.print(line, soft_wrap=isinstance(line, Text))


def print_json(value: Any) -> None:
    """Print JSON on stdout: coloured on a terminal, plain in a pipe."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    with ignore_broken_pipe():
        if sys.stdout.isatty():
            escaped = "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)
            Console().print_json(escaped, ensure_ascii=False)
        else:
            print(text if is_encodable(text) else json.dumps(value, indent=2))  # noqa: T201 - the answer


def is_encodable(text: str) -> bool:
    """Whether stdout's encoding can encode a text: no encoding has a lone surrogate."""
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def ignore_broken_pipe() -> Generator[None]:
    """Write to stdout in the block; a reader that closes the pipe (`| head`) is not an error."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout again at exit, which would fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def format_age(since: float) -> str:
    """Return the time since a time of the epoch."""
    minutes, seconds = divmod(int(time.time() - since), 60)
    hours, minutes = divmod(minutes, 60)
    days, rest = divmod(hours, 24)
    if days:
        return f"{days} d {rest} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{seconds} s"
