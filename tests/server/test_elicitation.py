"""How long a user has had a form, which tells a user's refusal from that of a client without one."""

from __future__ import annotations

import time

import anyio
import pytest

from opencode_mcp.opencode.models import PermissionRequest
from opencode_mcp.server import elicitation
from opencode_mcp.server.elicitation import DECLINED_AT_ONCE, ResultElicitor
from opencode_mcp.tasks.context import Undecided

pytestmark = pytest.mark.anyio

DECLINE = {"action": "decline"}


async def test_a_slow_opencode_does_not_make_a_refusal_a_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time until the answer came counts, not that until OpenCode said what is asked."""
    monkeypatch.setattr(elicitation, "MIN_READING_SECONDS", 0.05)
    request = PermissionRequest(id="per_1", session_id="ses_1", permission="bash")
    at_once = ResultElicitor({"per_1": DECLINE}, 1, time.time())
    read = ResultElicitor({"per_1": DECLINE}, 1, time.time() - 0.1)
    await anyio.sleep(0.1)

    assert await at_once.elicit(request, {}) == Undecided(DECLINED_AT_ONCE)
    decision = await read.elicit(request, {})
    assert not isinstance(decision, Undecided)
    assert decision.reply == "reject"
