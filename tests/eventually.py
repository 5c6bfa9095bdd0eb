"""Wait for what nothing tells of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeVar, cast

import anyio

T = TypeVar("T")

POLL_SECONDS = 0.02
LAST_LOOK_SECONDS = 30.0


async def eventually(
    look: Callable[[], T | Awaitable[T]], until: Callable[[T], object] = bool, within: float = 60
) -> T:
    """Look again and again, and return the first value that is as it should be: by default, that is true.

    Raises:
        AssertionError: there was none in time; it shows the last value.
    """
    value: T | None = None
    with anyio.move_on_after(within):
        while True:
            seen = look()
            value = cast("T", await seen if isawaitable(seen) else seen)
            if until(value):
                return value
            await anyio.sleep(POLL_SECONDS)
    with anyio.move_on_after(LAST_LOOK_SECONDS):  # whoever waits may have been kept from looking
        seen = look()
        value = cast("T", await seen if isawaitable(seen) else seen)
        if until(value):
            return value
    raise AssertionError(f"not within {within:g} s; at last it was {value!r}")
