"""What counts as work of other bridges: sessions that run in either API, and those of which OpenCode says nothing."""

from __future__ import annotations

from typing import Any

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


@pytest.mark.parametrize(
    ("busy", "active", "runs"),
    [({}, {}, False), ({"ses_1": {"type": "busy"}}, {}, True), ({}, {"ses_1": {"type": "running"}}, True)],
)
async def test_a_session_runs_in_either_api(
    opencode: OpenCodeClient, wire: Wire, busy: dict[str, Any], active: dict[str, Any], runs: bool
) -> None:
    """The list of those that are busy has no turn of the v2 API."""
    answers = {
        "/session/ses_1": {"directory": "/project"},
        "/session/status": busy,
        "/api/session/active": {"data": active},
    }
    wire.answer = lambda request: httpx2.Response(200, json=answers[request.url.path])
    assert await is_running(opencode, "ses_1") is runs
