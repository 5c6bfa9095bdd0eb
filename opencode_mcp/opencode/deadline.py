"""The deadline of a call, and the time limit of a task tool.

A request within a deadline fails shortly before it, instead of being cancelled. So a task tool with a time limit
returns in time even when OpenCode does not answer.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf

import anyio

from opencode_mcp.exceptions import LimitReached

DEFAULT_LIMIT_SECONDS = 18.0
"""The time limit of task tools that have no argument for one: they return within 20 s."""

GRACE_SECONDS = 1.8
"""How much longer than its time limit a call may take: to read the state once more, and to report it."""

START_GRACE_SECONDS = 1.0
"""The part of the grace period in which a task may still start; without a session by then, it is abandoned."""

_deadline: ContextVar[float] = ContextVar("deadline", default=inf)
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


@contextmanager
def time_limit(seconds: float) -> Generator[float]:
    """Bound everything in the block, and provide the time at which waiting must end.

    Raises:
        LimitReached: the block took longer. A request of it ends with a `RequestTimeout` shortly before.
    """
    deadline = anyio.current_time() + seconds
    with cancel_after(seconds + GRACE_SECONDS) as scope:
        yield deadline
    if scope.cancelled_caught:
        raise LimitReached(f"no response within {seconds:g} s")
