"""What counts as work of other bridges, when OpenCode answers with an error."""

from __future__ import annotations

import httpx2
import pytest

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.other_work import is_running

from .conftest import Wire

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("status", "runs"), [(404, False), (400, True), (500, True)])
async def test_only_a_deleted_session_is_known_not_to_run(
    opencode: OpenCodeClient, wire: Wire, status: int, runs: bool
) -> None:
    """In a directory with a wrong configuration, OpenCode answers 400 for every session."""
    wire.answer = lambda request: httpx2.Response(status, json={"name": "ConfigInvalidError", "data": {}})
    assert await is_running(opencode, "ses_1") is runs
