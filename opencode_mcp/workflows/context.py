"""What a workflow is given besides its arguments: OpenCode, progress, and a way to ask the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from opencode_mcp.opencode import OpenCode, Report
from opencode_mcp.opencode.models import PermissionRequest, QuestionRequest

from .metadata import Permissions

PermissionReply = Literal["once", "always", "reject"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided: a reply to a permission (with words for the model), or answers to questions.

    `answers` has one list of labels or free texts for each question; None rejects the questions.
    """

    reply: PermissionReply = "reject"
    message: str = ""
    answers: tuple[tuple[str, ...], ...] | None = None


class InputRequired(Exception):
    """The client must ask its user and call again: protocol 2026-07-28 has no requests by the server."""

    def __init__(self, request: PermissionRequest | QuestionRequest, state: Mapping[str, Any]) -> None:
        self.request = request
        self.state = state
        super().__init__(request.id)


class Asker(Protocol):
    """Asks the user through the client."""

    async def ask(self, request: PermissionRequest | QuestionRequest, state: Mapping[str, Any]) -> Decision | None:
        """Return the decision, or None when the user did not decide.

        Raises:
            InputRequired: the call must end with the question; `state` comes back with the answer.
        """
        ...


@dataclass(frozen=True)
class Context:
    """`asker` is None when the client cannot ask; `resumed` is the state of an `InputRequired` call before.

    `default_permissions` holds for sessions that are no tasks of ours: nobody is asked about those,
    unless this very call prompted them. `answer_chars` is how much of answers one result holds; the
    rest is read with `answer_offset`.
    """

    opencode: OpenCode
    report: Report
    asker: Asker | None = None
    resumed: Mapping[str, Any] | None = None
    depth: int = 0
    default_permissions: Permissions = "report"
    answer_chars: int = 20_000
