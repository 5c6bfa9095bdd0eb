"""Time limits of task tools: a call returns in time even when OpenCode does not answer."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import anyio

from opencode_mcp.exceptions import LimitReached
from opencode_mcp.opencode.deadline import cancel_after

GRACE_SECONDS = 1.8
"""What a call may take beyond its time limit, for the last look and the report."""

START_GRACE_SECONDS = 1.0
"""Of these so much is for a task that is being started; one that has no session then is given up."""

DEFAULT_LIMIT_SECONDS = 18.0
"""The time limit of task tools that have no argument for one: they answer within 20 s."""


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
