"""Excerpts of texts that are redacted later: cut between words, as half a secret would not be recognized."""

from __future__ import annotations

import re


def to_one_line(text: str, limit: int = 300) -> str:
    """Put a text on one line of limited length."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit + 1].rpartition(" ")[0] + " …"


def beginning_of(text: str, limit: int) -> str:
    """Return the beginning of a text up to the end of a word; "" where the first word is longer than the limit."""
    if len(text) <= limit:
        return text
    return text[: next((index for index in range(limit, 0, -1) if text[index].isspace()), 0)]


def end_of(text: str, limit: int) -> str | None:
    """Return the end of a text from the start of a word on, None if there is none."""
    return (text if len(text) <= limit else "…" + re.sub(r"^\S*", "", text[-limit:])) or None
