"""Since when a request is pending, and what is replied after too long a time without an answer."""

from __future__ import annotations

import time

import pytest

from opencode_mcp.opencode.models import PermissionRequest, QuestionInfo, QuestionRequest
from opencode_mcp.tasks.ask_timeout import overdue_requests, pending_seconds, rejection
from opencode_mcp.tasks.metadata import Rules


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


def test_a_rejection_has_words_so_that_the_model_goes_on() -> None:
    """Each question is answered with them, as OpenCode ends the turn of a rejected question."""
    question = QuestionInfo(question="Which?")
    asked = QuestionRequest(id="que_1", session_id="ses_1", questions=(question, question))
    rejected = rejection(permission(400), 2.5)
    assert rejected.reply == "reject"
    assert rejected.message.startswith("No answer was given within 2.5 minutes.")
    assert rejection(asked, 2.5).answers == ((rejected.message,), (rejected.message,))
