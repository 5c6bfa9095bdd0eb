"""The events of 1.18.33 below /api as those of OpenCode 2."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2

from opencode_mcp.opencode.events import MAX_EVENT_BYTES
from tests.opencode2.store import Json, new_id

from . import renames
from .renames import pick
from .turns import messages_of
from .upstream import Upstream, UpstreamError

STEP = ("sessionID", "assistantMessageID")
Translate = Callable[[Json], Json]


def keep(*names: str) -> Translate:
    """Return a translation that keeps these values."""
    return lambda data: pick(data, *names)


def part(prefix: str, *names: str) -> Translate:
    """Return that of a text: its number is part of its id."""
    return lambda data: {
        **pick(data, *STEP, *names),
        "ordinal": int("".join(filter(str.isdigit, data[f"{prefix}ID"])) or 0),
    }


def tool(*names: str) -> Translate:
    """Return that of a tool call."""

    def translate(data: Json) -> Json:
        found = {**pick(data, *STEP, *names), "id": data["callID"], **pick(data.get("provider", {}), "executed")}
        if "name" in found:
            found["name"] = renames.rename_tool(found["name"])
        if "structured" in data:
            found["metadata"] = data["structured"]
        if "error" in data:
            found["error"] = renames.error_of(data["error"])
        return found

    return translate


def admitted(data: Json) -> Json:
    """The item of the inbox is the prompt."""
    prompt: Json = data["prompt"]
    payload = {"text": prompt["text"], **renames.files_of(prompt), **pick(prompt, "agents")}
    item = {"type": "user", "payload": payload, "delivery": data["delivery"]}
    return {"sessionID": data["sessionID"], "inboxID": data["messageID"], "item": item}


def created(data: Json) -> Json:
    """A session's facts are not in `info`."""
    info: Json = data["info"]
    names = ("projectID", "parentID", "slug", "title", "metadata", "version")
    return {"sessionID": info["id"], "location": {"directory": info["directory"]}, **pick(info, *names)}


def failed(data: Json) -> Json:
    """A step that failed."""
    return {**pick(data, *STEP), "error": renames.error_of(data["error"])}


TRANSLATIONS: Mapping[str, tuple[str, Translate]] = {
    "server.connected": ("server.connected", keep()),
    "session.created": ("session.created", created),
    "session.deleted": ("session.deleted", lambda data: {"sessionID": data["info"]["id"]}),
    "session.next.agent.switched": ("session.agent.selected", keep("sessionID", "agent")),
    "session.next.model.switched": ("session.model.selected", keep("sessionID", "model")),
    "session.next.prompt.admitted": ("session.inbox.enqueued", admitted),
    "session.next.prompted": (
        "session.inbox.delivered",
        lambda data: {"sessionID": data["sessionID"], "inboxID": data["messageID"]},
    ),
    "session.next.step.started": (
        "session.step.started",
        lambda data: {**pick(data, *STEP, "agent", "model", "snapshot"), "started": int(data["timestamp"])},
    ),
    "session.next.step.ended": ("session.step.ended", keep(*STEP, "finish", "cost", "tokens", "snapshot", "files")),
    "session.next.step.failed": ("session.step.failed", failed),
    "session.next.text.started": ("session.text.started", part("text")),
    "session.next.text.delta": ("session.text.delta", part("text", "delta")),
    "session.next.text.ended": ("session.text.ended", part("text", "text")),
    "session.next.reasoning.started": ("session.reasoning.started", part("reasoning")),
    "session.next.reasoning.delta": ("session.reasoning.delta", part("reasoning", "delta")),
    "session.next.reasoning.ended": ("session.reasoning.ended", part("reasoning", "text")),
    "session.next.tool.input.started": ("session.tool.input.started", tool("name")),
    "session.next.tool.input.delta": ("session.tool.input.delta", tool("delta")),
    "session.next.tool.input.ended": ("session.tool.input.ended", tool("text")),
    "session.next.tool.called": ("session.tool.called", tool("input")),
    "session.next.tool.success": ("session.tool.success", tool("content")),
    "session.next.tool.failed": ("session.tool.failed", tool("content")),
    "permission.v2.asked": ("permission.asked", renames.permission_of),
    "permission.v2.replied": ("permission.replied", keep("sessionID", "requestID", "reply")),
    "question.v2.asked": ("form.created", lambda data: {"form": renames.form_of(data)}),
    "question.v2.replied": (
        "form.replied",
        lambda data: {
            "id": renames.form_id(data["requestID"]),
            "sessionID": data["sessionID"],
            "answer": renames.answer_of(data["answers"]),
        },
    ),
    "question.v2.rejected": (
        "form.cancelled",
        lambda data: {"id": renames.form_id(data["requestID"]), "sessionID": data["sessionID"]},
    ),
}
"""By the type in 1.18.33: the type in OpenCode 2, and the translation of what it says. Others have no counterpart."""

ENDS = {"session.step.ended", "session.step.failed", "session.tool.failed"}
"""Events after which a session may be idle."""


def translate_event(event: Json) -> Json | None:
    """Return an event as OpenCode 2 has it, None if that has none."""
    if event["type"] not in TRANSLATIONS:
        return None
    kind, translate = TRANSLATIONS[event["type"]]
    data: Json = event["data"]
    created = {} if kind == "server.connected" else {"created": data.get("timestamp", time.time() * 1000)}
    location = {"location": pick(event["location"], "directory")} if "location" in event else {}
    return {**pick(event, "id", "durable"), **created, **location, "type": kind, "data": translate(data)}


@dataclass
class Executions:
    """Which sessions run, to say when one begins and ends: 1.18.33 has no event of that."""

    upstream: Upstream
    running: set[str] = field(default_factory=set[str])

    async def changes(self) -> list[Json]:
        """Return an event for each session that has begun or ended since the last call."""
        active = {*(await self.upstream.get("/api/session/active"))["data"]}
        begun, over = active - self.running, self.running - active
        self.running = active
        ends = [await self.end_event(session_id) for session_id in over]
        return [*(execution_event(session_id, "started") for session_id in begun), *filter(None, ends)]

    async def end_event(self, session_id: str) -> Json | None:
        """Return the event of an end, with the outcome that the messages show; None if the session was deleted."""
        with suppress(UpstreamError):
            return execution_event(session_id, **await self.read_outcome(session_id))
        return None

    async def read_outcome(self, session_id: str) -> Json:
        """Read how the newest turn of a session has ended."""
        messages = messages_of(await self.upstream.messages(session_id), False, self.upstream.seen)
        idle: Json = next((item for item in messages[::-1] if item["type"] == "idle"), {"outcome": "interrupted"})
        reason = {"reason": "user"} if idle["outcome"] == "interrupted" else {}
        return {"name": idle["outcome"], **pick(idle, "error"), **reason}


def execution_event(session_id: str, name: str, **data: Any) -> Json:
    """Return an event about the work of a session. Its place in the log is not known."""
    return {
        "id": new_id("evt"),
        "created": time.time() * 1000,
        "type": f"session.execution.{name}",
        "durable": {"aggregateID": session_id, "seq": 0, "version": 1},
        "data": {"sessionID": session_id, **data},
    }


async def iter_upstream(upstream: Upstream) -> AsyncGenerator[Json]:
    """Yield the events of OpenCode that have a counterpart, until it ends the stream."""
    async with upstream.http.stream("GET", "/api/event", timeout=None) as response:
        async for frame in httpx2.EventSource(response, max_event_size=MAX_EVENT_BYTES):
            event = translate_event(json.loads(frame.data))
            if event is not None:
                yield event
