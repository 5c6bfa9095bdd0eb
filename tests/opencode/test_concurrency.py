"""Calls that are made at once."""

from __future__ import annotations

import anyio
import pytest

from opencode_mcp.opencode.concurrency import first_completed

pytestmark = pytest.mark.anyio


async def test_first_completed_returns_the_first_result_and_cancels_the_others() -> None:
    """A call that is cancelled can clean up."""
    ended: list[str] = []

    async def slow() -> str:
        try:
            await anyio.sleep_forever()
            return "slow"
        finally:
            ended.append("slow")

    async def quick() -> str:
        return "quick"

    assert await first_completed(slow, quick) == "quick"
    assert ended == ["slow"]


async def test_first_completed_raises_the_error_of_the_first_to_end_as_it_is() -> None:
    """A task group alone would wrap it in an exception group."""

    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await first_completed(anyio.sleep_forever, fail)


async def test_first_completed_prefers_a_result_that_comes_before_the_cancellation() -> None:
    """What was carried out is not reported as an error."""

    async def fail() -> str:
        raise ValueError("broken")

    async def carried_out() -> str:
        return "result"

    assert await first_completed(fail, carried_out) == "result"


async def test_first_completed_is_cancelled_from_outside_with_its_calls() -> None:
    """No call outlives it."""
    with anyio.move_on_after(0) as limit:
        await first_completed(anyio.sleep_forever, anyio.sleep_forever)

    assert limit.cancelled_caught
