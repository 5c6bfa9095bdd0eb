"""The deadline of a call: a request within it fails shortly before it, instead of being cancelled."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf

import anyio

_deadline: ContextVar[float] = ContextVar("limit", default=inf)
"""When the innermost `cancel_after` block ends, on the clock of the event loop."""


@contextmanager
def cancel_after(seconds: float) -> Generator[anyio.CancelScope]:
    """Cancel the block after `seconds`; requests in it fail shortly before."""
    deadline = min(anyio.current_time() + seconds, _deadline.get())
    with anyio.CancelScope(deadline=deadline) as scope:
        token = _deadline.set(deadline)
        try:
            yield scope
        finally:
            _deadline.reset(token)


def seconds_left() -> float:
    """Return the seconds until the deadline of `cancel_after`; infinite if there is none or a shield hides it.

    Other cancel scopes do not count: they cancel the call, which must not fail instead.
    """
    cancelled_at = anyio.current_effective_deadline()
    deadline = _deadline.get()
    return deadline - anyio.current_time() if -inf < cancelled_at <= deadline < inf else inf
