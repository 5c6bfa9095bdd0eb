"""Why the supervisor of a shared OpenCode cannot start it. On the standard library alone, for its script."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def explain(problem: str) -> Generator[None]:
    """Name the problem in an OSError, in words for the user."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{problem}: {error.strerror or error}") from error
