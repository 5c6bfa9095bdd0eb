"""Output to a terminal or a pipe. Text from a model cannot move the cursor or hide characters."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from rich.console import Console


def printable(text: str) -> str:
    """Replace escape sequences, direction marks and the like: they could disguise a command."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


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
