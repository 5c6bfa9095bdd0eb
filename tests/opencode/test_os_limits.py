"""What is said about an exhausted resource behind an error."""

from __future__ import annotations

import errno

import pytest

from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.os_limits import find_shortage_in_error

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("error", "advice"), [(OSError(errno.ENOSPC, "No space left on device"), "space"), (ValueError("wrong"), "")]
)
async def test_an_error_out_of_a_group_is_searched_once(error: Exception, advice: str) -> None:
    """It has the group that it was raised from as its context, and so is among its own causes."""

    async def fail() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        await gather(fail)

    found = find_shortage_in_error(raised.value)
    assert bool(found) == bool(advice)
    assert advice in found
