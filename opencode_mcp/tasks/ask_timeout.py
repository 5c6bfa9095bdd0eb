"""Requests that get no answer in time: since when they are pending, and what is replied to them then.

OpenCode stores no time of a request, but its id begins with it, as those of all that OpenCode creates (1.18.33).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

from opencode_mcp.opencode.models import AgentRequest, Part

from .context import Decision
from .metadata import Rules

REQUEST_TIME = re.compile("(?:per|que|frm)_([0-9a-f]{12})")
COUNTER_BITS, TIME_BITS = 12, 36
"""An id's digits are the lowest 36 bits of the time in ms, then a counter."""

NO_ANSWER = "No answer was given within"
"""How the words begin that the model receives in place of an answer."""


def pending_seconds(request: AgentRequest) -> float:
    """Return how long a request has been pending, by OpenCode's clock at its start and this one now.

    It is 0 for an id without a time.
    """
    match = REQUEST_TIME.match(request.id)
    if match is None:
        return 0.0
    passed = int(time.time() * 1000) - (int(match[1], 16) >> COUNTER_BITS)
    passed %= 1 << TIME_BITS
    return passed / 1000 if passed < 1 << (TIME_BITS - 1) else 0.0  # one of the future: the clocks differ


def overdue_requests(rules: Rules, pending: Iterable[AgentRequest]) -> list[AgentRequest]:
    """Return the requests that have been pending for longer than a task's rules allow."""
    if rules.ask_timeout_minutes is None:
        return []
    limit = 60 * rules.ask_timeout_minutes
    return [request for request in pending if pending_seconds(request) > limit]


def rejection(minutes: float) -> Decision:
    """Return a reply that rejects a request, with words, after which the model goes on."""
    return Decision(
        reply="reject", message=f"{NO_ANSWER} {minutes:g} minutes. Go on without it, and say so in your answer."
    )


def was_unanswered(part: Part) -> bool:
    """Whether a tool call ended with the reply to a request that got no answer in time."""
    if part.state is None:
        return False
    return NO_ANSWER in (part.state.error or "") or (part.tool == "question" and NO_ANSWER in part.state.output)
