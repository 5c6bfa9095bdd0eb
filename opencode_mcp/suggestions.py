"""Names to suggest in an error about a name that is not known."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

COMPARED_CHARS = 200
"""Comparing longer names takes seconds."""


def suggest(name: str, known: Iterable[str], otherwise: int = 0) -> str:
    """Return up to four known names, the most similar first, joined by commas.

    Where none is similar: the first `otherwise` known names, in their order.
    """
    names = list(known)
    return ", ".join(get_close_matches(name[:COMPARED_CHARS], names, n=4, cutoff=0.4) or names[:otherwise])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the most similar known name as a question; where none is similar, the known names."""
    names = list(known)
    if similar := get_close_matches(name[:COMPARED_CHARS], names, n=1, cutoff=0.6):
        return f"did you mean {similar[0]}?"
    return f"known: {', '.join(names[:12])}{', …' if len(names) > 12 else ''}" if names else "there are no arguments"


def aliases(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that differ from a name only in case, hyphens, dots and underscores."""
    return [other for other in known if bare_name(other) == bare_name(name)]


def bare_name(name: str) -> str:
    """Return a name without what differs between spellings of the same name."""
    return re.sub("[_.-]", "", name).casefold()
