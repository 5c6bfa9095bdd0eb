"""Since when a request is pending, and what is replied after too long a time without an answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode.models import PermissionRequest, QuestionInfo, QuestionRequest
from opencode_mcp.tasks.ask_timeout import overdue_requests, pending_seconds, rejection
from opencode_mcp.tasks.metadata import Rules
from opencode_mcp.tasks.replies import send_reply


@dataclass
class RecordingOpenCode:
    """An OpenCode 1 that takes every answer; `sent` are the operations with the answers."""

    catalog: Catalog = field(default_factory=Catalog.from_snapshot)
    sent: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])

    async def call(self, name: str, /, **arguments: Any) -> None:
        """Record a call."""
        self.sent.append((name, arguments.get("answers")))


def permission(seconds_ago: float, counter: int = 1) -> PermissionRequest:
    """Return a request whose id has a time, as OpenCode makes it."""
    created = int((time.time() - seconds_ago) * 1000) * 0x1000 + counter
    request_id = f"per_{created & 0xFFFF_FFFF_FFFF:012x}001aBcDeFgHiJk"
    return PermissionRequest(id=request_id, session_id="ses_1", permission="bash")


@pytest.mark.parametrize("seconds", [0, 90, 86_400, 300 * 86_400])
def test_the_id_of_a_request_has_its_time(seconds: float) -> None:
    """OpenCode keeps only the lowest bits of it: these are enough for a year."""
    assert pending_seconds(permission(seconds, counter=0xFFF)) == pytest.approx(seconds, abs=5)


def test_an_id_of_the_future_or_without_a_time_is_not_overdue() -> None:
    """The clocks of two machines differ; a request must not be rejected too early for that."""
    foreign = PermissionRequest(id="per_x", session_id="ses_1", permission="bash")
    assert [pending_seconds(request) for request in (permission(-60), foreign)] == [0, 0]


def test_only_requests_beyond_the_limit_are_overdue() -> None:
    """Without a limit none is."""
    old, new = permission(400), permission(200)
    assert overdue_requests(Rules(ask_timeout_minutes=5), (old, new)) == [old]
    assert overdue_requests(Rules(), (old, new)) == []


@pytest.mark.anyio
async def test_a_rejection_has_words_so_that_the_model_goes_on() -> None:
    """Each question is answered with them, as OpenCode ends the turn of a rejected question."""
    question = QuestionInfo(question="Which?")
    asked = QuestionRequest(id="que_1", session_id="ses_1", questions=(question, question))
    opencode, rejected = RecordingOpenCode(), rejection(2.5)
    assert rejected.reply == "reject"
    assert rejected.message.startswith("No answer was given within 2.5 minutes.")
    await send_reply(cast("Any", opencode), "/project", asked, rejected)
    assert opencode.sent == [("question_reply", [[rejected.message], [rejected.message]])]
