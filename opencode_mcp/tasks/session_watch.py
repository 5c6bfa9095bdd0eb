"""What the events of a session say while it is waited for: its steps, its errors, and reasons to read its state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import anyio

from opencode_mcp.opencode.events import Event, event_session_id
from opencode_mcp.opencode.models import Part
from opencode_mcp.opencode.responses import describe_error

from .transcript import summarize_parts

WAKEUP_EVENTS = frozenset(
    {
        "stream.connected",
        "stream.ready",
        "server.instance.disposed",
        "global.disposed",
        "session.created",
        "session.status",
        "session.idle",
        "session.error",
        "session.deleted",
        "message.updated",
        "message.removed",
        "permission.asked",
        "permission.replied",
        "question.asked",
        "question.replied",
        "question.rejected",
    }
)
"""Events that are a reason to read the state."""

BUSY_EVENTS = frozenset({"session.status", "message.updated"})
"""Events that may say no more than that a session is busy."""


@dataclass(frozen=True, slots=True)
class ReportedError:
    """The text of a session.error event, and when it was received (anyio.current_time())."""

    text: str
    received: float

    @classmethod
    def from_event(cls, event: Event) -> ReportedError:
        """Return that of a session.error event."""
        return cls(format_error(event), anyio.current_time())


@dataclass
class SessionWatch:
    """Listens to the events of one session's family; `wakeup` is set when one has arrived.

    `read_requested`: an event was a reason to read the state. `busy_reported`: an event said that the session is busy;
    `busy`: it was busy when last read; `was_busy`: in any read. `prompt_ids` are the ids of the user's messages, which
    have no steps. `steps` are those not reported yet, `activity` is the newest one; `known_steps` has the newest
    step of each part of a message, by the part's id. `error` is the last session.error event. `prompt_id` is the prompt
    that is waited for, once it is known; `is_queued`: it is not sent yet.
    """

    family: set[str]
    prompt_ids: set[str] = field(default_factory=set[str])
    wakeup: anyio.Event = field(default_factory=anyio.Event)
    read_requested: bool = True
    busy_reported: bool = False
    busy: bool = False
    was_busy: bool = False
    activity: str = ""
    steps: list[str] = field(default_factory=list[str])
    known_steps: dict[str, str] = field(default_factory=dict[str, str])
    error: ReportedError | None = None
    prompt_id: str | None = None
    is_queued: bool = False

    def on_event(self, event: Event) -> None:
        """Record an event."""
        event_type: str = event["type"]
        session_id = event_session_id(event)
        if session_id is None or session_id in self.family or event_parent_id(event) in self.family:
            is_known = event_type == "session.created" and session_id in self.family
            if session_id is not None and event_type == "session.created":
                self.family.add(session_id)
            if event_type == "session.error" and session_id in self.family:
                self.error = ReportedError.from_event(event)
            if event_type == "message.updated" and event["properties"]["info"]["role"] == "user":
                self.prompt_ids.add(event["properties"]["info"]["id"])
            if event_type == "message.part.updated" and event["properties"]["part"]["messageID"] not in self.prompt_ids:
                self.add_step(Part.model_validate(event["properties"]["part"]))
            if event_type in BUSY_EVENTS and is_busy(event):
                self.busy_reported = True
            elif event_type in WAKEUP_EVENTS and not is_known:
                self.read_requested = True
            self.wakeup.set()

    @property
    def needs_read(self) -> bool:
        """Whether there is a reason to read the state; that a session is busy is news only when it was idle."""
        return self.read_requested or (self.busy_reported and not self.busy)

    def add_step(self, part: Part) -> None:
        """Keep a part's step until it is reported, unless it is the one that the part had before."""
        step = summarize_parts([part])
        if step and step != self.known_steps.get(part.id):
            self.known_steps[part.id] = step
            if step != self.activity:
                self.activity = step
                self.steps.append(step)


def is_busy(event: Event) -> bool:
    """Whether an event says no more than that a session is busy."""
    status: dict[str, Any] = event["properties"].get("status") or {"type": "busy"}
    return status["type"] == "busy"


def event_parent_id(event: Event) -> str | None:
    """Return the parent of the session that an event announces."""
    info: dict[str, Any] = event.get("properties", {}).get("info") or {}
    return info.get("parentID")


def format_error(event: Event) -> str:
    """Return the words of a session.error event."""
    error: dict[str, Any] = event["properties"].get("error") or {}
    words = describe_error(str(error.get("name") or ""), error.get("data") or {})
    return f"{words}\n{words.advice}" if words.advice else str(words)
