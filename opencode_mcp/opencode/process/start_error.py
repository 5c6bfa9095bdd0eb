"""Why the supervisor of a shared OpenCode cannot start it. On the standard library alone, for its script."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager


class StartError(Exception):
    """The supervisor cannot start OpenCode, in words for the user."""


@contextmanager
def explain(problem: str) -> Generator[None]:
    """Turn an OSError into a StartError that names the problem."""
    try:
        yield
    except OSError as error:
        raise StartError(f"{problem}: {error.strerror or error}") from error
