"""Names to suggest in an error about a name that is not known."""

from __future__ import annotations

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
