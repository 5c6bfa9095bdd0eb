"""How long a check may take, whatever the limits of its task."""

from __future__ import annotations

import time

import pytest
from mcp import Client

from opencode_mcp.tasks import follower
from tests.scenarios.observed import ObservedResult

pytestmark = [pytest.mark.anyio, pytest.mark.unchanged_project]


async def test_a_check_that_takes_too_long_is_aborted(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task has then failed its check, without an exit code."""
    assert follower.CHECK_SECONDS == 600
    monkeypatch.setattr(follower, "CHECK_SECONDS", 5.0)
    began = time.monotonic()

    result = await client.call_tool(
        "run_task",
        {"prompt": "script:text fine", "check": ["sleep 300"], "timeout_seconds": 120},
    )

    report = ObservedResult.from_result(result)
    assert (report.state, report["error"]) == ("check_failed", "the check took longer than 5 s")
    assert "exit_code" not in report["check"]  # it did not end by itself
    assert 0 < report["check"]["seconds"] < time.monotonic() - began
