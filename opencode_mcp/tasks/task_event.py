"""What the operator's command gets about a task that waits or has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel

from .session_state import TaskState

VERSION = 1


class WaitingRequest(BaseModel):
    """What a task waits for: a permission or a question, and what it is about in one line."""

    kind: Literal["permission", "question"]
    wants: str


class TaskEvent(BaseModel):
    """A task that waits or has ended. `version` grows with a change that a command may not understand.

    `time` is when that was read (ISO 8601, UTC), `cost` what the session and its subagents have spent (US dollars), and
    `message` what matters most in one line: what the task waits for, the error, or the end of the answer. Texts are
    redacted.
    """

    version: int = VERSION
    time: str
    session_id: str
    title: str
    state: TaskState
    directory: str
    server: str | None
    message: str
    pending: list[WaitingRequest]
    answer: str | None
    error: str | None
    cost: float
    elapsed_seconds: float


SendEvent = Callable[[TaskEvent], None]
"""Sends an event to the operator's command; must return without blocking."""
