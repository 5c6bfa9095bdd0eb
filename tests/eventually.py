"""Wait for what nothing tells of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeVar, cast

import anyio

T = TypeVar("T")

POLL_SECONDS = 0.02
LAST_READ_SECONDS = 30.0


async def eventually(
    read: Callable[[], T | Awaitable[T]], until: Callable[[T], object] = bool, within: float = 60
) -> T:
    """Look again and again, and return the first value that is as it should be: by default, that is true.

    Raises:
        AssertionError: there was none in time; it shows the last value.
    """
    value: T | None = None
    with anyio.move_on_after(within):
        while True:
            result = read()
            value = cast("T", await result if isawaitable(result) else result)
            if until(value):
                return value
            await anyio.sleep(POLL_SECONDS)
    with anyio.move_on_after(LAST_READ_SECONDS):  # the loop may have been kept from reading in time
        result = read()
        value = cast("T", await result if isawaitable(result) else result)
        if until(value):
            return value
    raise AssertionError(f"not within {within:g} s; at last it was {value!r}")
