"""The time limit of a call: a request within it ends with an error, shortly before the limit would cancel it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf

import anyio

_limit: ContextVar[float] = ContextVar("limit", default=inf)
"""When the innermost `limited` block ends, on the clock of the event loop."""


@contextmanager
def limited(seconds: float) -> Generator[anyio.CancelScope]:
    """Cancel the block after so many seconds, and let requests in it end shortly before."""
    deadline = min(anyio.current_time() + seconds, _limit.get())
    with anyio.CancelScope(deadline=deadline) as scope:
        token = _limit.set(deadline)
        try:
            yield scope
        finally:
            _limit.reset(token)


def seconds_left() -> float:
    """Return the time until the end of the `limited` block; infinite where none holds, as behind a shield.

    Other cancel scopes do not count: their owner wants the call to be cancelled, not to fail.
    """
    cancelled_at = anyio.current_effective_deadline()
    limit = _limit.get()
    return limit - anyio.current_time() if -inf < cancelled_at <= limit < inf else inf
