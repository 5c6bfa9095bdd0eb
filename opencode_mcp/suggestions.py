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


def did_you_mean(name: str, known: Iterable[str], most: int = 1) -> str:
    """Return a question with the known names that begin so or, without any, the similar ones; "" if there are none."""
    names = list(known)
    nearest = [other for other in names if name and other.startswith(name)]
    nearest = nearest or get_close_matches(name[:COMPARED_CHARS], names, n=most, cutoff=0.65)
    return f"did you mean {', '.join(nearest[:most])}?" if nearest else ""


def aliases(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that differ from a name only in case, hyphens, dots and underscores."""
    return [other for other in known if bare_name(other) == bare_name(name)]


def bare_name(name: str) -> str:
    """Return a name without what differs between spellings of the same name."""
    return re.sub("[_.-]", "", name).casefold()
