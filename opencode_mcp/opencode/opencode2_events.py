"""OpenCode 2's events in OpenCode 1's words, which tasks and subscriptions listen to.

    {"id", "created", "type", "data", "location", "durable"}  →  {"type", "properties"}, as many as it takes

An event is only a reason to read the state, so it is translated as far as listeners look at it. One without a
counterpart keeps its type, with its data as properties. Fields that an event lacks are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]
"""A JSON object."""

Translation = Callable[["Opencode2Events", Json], Iterator[dict[str, Any]]]

ABORTED = "MessageAbortedError"
"""OpenCode 1's name for the error of a reply that was cut short."""


@dataclass(eq=False)
class Opencode2Events:
    """Translates the events of one connection, in their order.

    `calls` are the tool calls that have begun, by session and id: later events have neither their names nor arguments.
    """

    calls: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict[tuple[str, str], dict[str, Any]])

    def read(self, frame: Json) -> Iterator[dict[str, Any]]:
        """Yield what the data of one frame says."""
        kind = str(frame.get("type", ""))
        data: Json = frame.get("data") or {}
        translate = TRANSLATIONS.get(kind)
        yield from translate(self, data) if translate else [{"type": kind, "properties": data}]


def part_id(message_id: str, key: str) -> str:
    """Return the id of a part: `key` is a tool call's id, or what a text is and its number among those, from 0."""
    return f"{message_id}.{key}"


def to_message_error(error: Json) -> dict[str, Any]:
    """Return an error of OpenCode 2 as the error of a reply: its type is the name, its fields are the data."""
    data = {**error, **({"statusCode": error["status"]} if "status" in error else {})}
    return {"name": ABORTED if error.get("type") == "aborted" else str(error.get("type", "")), "data": data}


def event(kind: str, data: Json, **properties: Any) -> dict[str, Any]:
    """Return an event about the session of another one."""
    about = {"sessionID": data["sessionID"]} if "sessionID" in data else {}
    return {"type": kind, "properties": {**about, **properties}}


def renamed(kind: str) -> Translation:
    """Translate an event to one with other words for the type only."""

    def translate(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
        yield event(kind, data, **data)

    return translate


def session_created(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A session is there; `parentID` is the session whose subagent it is."""
    yield event("session.created", data, info={**data, "id": data.get("sessionID")})


def session_forked(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A copy of a session is there, which is not below it: `parentID` is the session that was copied."""
    yield event("session.created", data, info={"id": data.get("sessionID")})


def session_updated(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """Something about a session has changed, but not what it does."""
    yield event("session.updated", data)


def execution_started(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A session works."""
    yield event("session.status", data, status={"type": "busy"})


def execution_ended(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A session works no longer."""
    for key in [key for key in events.calls if key[0] == data.get("sessionID")]:
        del events.calls[key]
    yield event("session.status", data, status={"type": "idle"})
    yield event("session.idle", data)


def execution_failed(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A turn has failed."""
    yield event("session.error", data, error=to_message_error(data.get("error") or {}))
    yield from execution_ended(events, data)


def execution_interrupted(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A turn was interrupted: `reason` is `user`, `shutdown`, `superseded` or `inactivity`."""
    error = {"type": "aborted", "message": f"interrupted ({data.get('reason', 'unknown')})"}
    yield from execution_failed(events, {**data, "error": error})


def retry_scheduled(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A model call has failed and is made again."""
    error: Json = data.get("error") or {}
    message = error.get("message", "")
    status = {"type": "retry", "attempt": data.get("attempt", 0), "message": message, "next": data.get("at", 0)}
    yield event("session.status", data, status=status)


def shell_ended(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A session's command has ended, and so has its message."""
    yield from reply_updated(events, data)
    yield event("session.idle", data)


def prompt_updated(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A message that no model has written was added or has changed; some events do not say which one."""
    yield message_updated(data, "user", data.get("inboxID", ""))


def prompt_removed(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A prompt was cancelled before it was delivered."""
    yield event("message.removed", data, messageID=data.get("inboxID"))


def messages_removed(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A conversation was cut; `to` is the first message that is gone."""
    yield event("message.removed", data, messageID=data.get("to"))


def reply_updated(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A reply was begun, or has changed."""
    yield message_updated(data, "assistant", data.get("assistantMessageID", ""))


def message_updated(data: Json, role: str, message_id: str) -> dict[str, Any]:
    """Return the event of a message."""
    info = {"id": message_id, "sessionID": data.get("sessionID"), "role": role}
    return event("message.updated", data, info=info)


def compacted(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A conversation was compacted."""
    yield event("session.compacted", data)
    yield from prompt_updated(events, data)


def text_updated(kind: str) -> Translation:
    """Translate the start and the end of a text or a reasoning; the start has no text."""

    def translate(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
        yield part_updated(data, text_part_id(kind, data), type=kind, text=data.get("text", ""))

    return translate


def text_streamed(kind: str) -> Translation:
    """Translate a piece of a text or a reasoning."""

    def translate(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
        yield part_delta(data, text_part_id(kind, data))

    return translate


def text_part_id(kind: str, data: Json) -> str:
    """Return the id of the text that an event is about."""
    return part_id(data.get("assistantMessageID", ""), f"{kind}{data.get('ordinal', 0)}")


def call_part_id(data: Json) -> str:
    """Return the id of the call that an event is about."""
    return part_id(data.get("assistantMessageID", ""), data.get("id", ""))


def arguments_streamed(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A piece of a call's arguments was written."""
    yield part_delta(data, call_part_id(data))


def part_delta(data: Json, id_: str) -> dict[str, Any]:
    """Return the event of a piece of a part."""
    return event("message.part.delta", data, messageID=data.get("assistantMessageID"), partID=id_)


def part_updated(data: Json, id_: str, **fields: Any) -> dict[str, Any]:
    """Return the event of a part."""
    about = {"id": id_, "sessionID": data.get("sessionID"), "messageID": data.get("assistantMessageID", "")}
    return event("message.part.updated", data, part={**about, **fields})


def call_announced(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A model has begun to write a call: only this event has the name of its tool."""
    events.calls[call_key(data)] = {"name": data.get("name", ""), "input": {}}
    yield from call_updated(events, data, "pending")


def call_started(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A call runs: only this event has its arguments."""
    if (call := events.calls.get(call_key(data))) is not None:
        call["input"] = data.get("input") or {}
    yield from call_updated(events, data, "running")


def call_progressed(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A call has done more."""
    yield from call_updated(events, data, "running")


def call_succeeded(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A call has ended."""
    yield from call_updated(events, data, "completed")
    events.calls.pop(call_key(data), None)


def call_failed(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A call has failed."""
    yield from call_updated(events, data, "error")
    events.calls.pop(call_key(data), None)


def call_updated(events: Opencode2Events, data: Json, status: str) -> Iterator[dict[str, Any]]:
    """Yield the event of a call, or of its reply where the connection began after the call."""
    call = events.calls.get(call_key(data))
    if call is None:
        yield from reply_updated(events, data)
    else:
        metadata: Json = data.get("metadata") or {}
        title = call["input"].get("description") if "sessionID" in metadata else None  # that of a subagent
        state: Json = {"status": status, "input": call["input"], "metadata": metadata, "title": title}
        yield part_updated(data, call_part_id(data), type="tool", tool=call["name"], state=state)


def call_key(data: Json) -> tuple[str, str]:
    """Return the key of the call that an event is about."""
    return data.get("sessionID", ""), data.get("id", "")


def form_created(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
    """A form waits for an answer; its session may be `global`."""
    form: Json = data.get("form") or {}
    yield event("question.asked", form, id=form.get("id"))


def form_settled(kind: str) -> Translation:
    """Translate that a form waits no longer."""

    def translate(events: Opencode2Events, data: Json) -> Iterator[dict[str, Any]]:
        yield event(kind, data, requestID=data.get("id"))

    return translate


UPDATES = (
    *("agent.selected", "model.selected", "moved", "renamed", "metadata.updated", "permissions", "viewed"),
    *("archived", "unarchived", "usage.updated", "revert.staged", "revert.cleared"),
)
"""What changes about a session, beside what it does."""

TRANSLATIONS: Mapping[str, Translation] = {
    "location.shutdown": renamed("server.instance.disposed"),
    "session.created": session_created,
    "session.forked": session_forked,
    **dict.fromkeys((f"session.{name}" for name in UPDATES), session_updated),
    "session.execution.started": execution_started,
    "session.execution.succeeded": execution_ended,
    "session.execution.failed": execution_failed,
    "session.execution.interrupted": execution_interrupted,
    "session.retry.scheduled": retry_scheduled,
    "session.shell.started": execution_started,
    "session.shell.ended": shell_ended,
    "session.inbox.enqueued": prompt_updated,
    "session.inbox.delivered": prompt_updated,
    "session.inbox.delivery.changed": prompt_updated,
    "session.inbox.cancelled": prompt_removed,
    "session.synthetic": prompt_updated,
    "session.skill.activated": prompt_updated,
    "session.instructions.updated": prompt_updated,
    "session.compaction.started": prompt_updated,
    "session.compaction.delta": arguments_streamed,
    "session.compaction.ended": compacted,
    "session.compaction.failed": prompt_updated,
    "session.revert.committed": messages_removed,
    "session.step.started": reply_updated,
    "session.step.streamed": reply_updated,
    "session.step.ended": reply_updated,
    "session.step.failed": reply_updated,
    "session.text.started": text_updated("text"),
    "session.text.delta": text_streamed("text"),
    "session.text.ended": text_updated("text"),
    "session.reasoning.started": text_updated("reasoning"),
    "session.reasoning.delta": text_streamed("reasoning"),
    "session.reasoning.ended": text_updated("reasoning"),
    "session.tool.input.started": call_announced,
    "session.tool.input.delta": arguments_streamed,
    "session.tool.input.ended": arguments_streamed,
    "session.tool.called": call_started,
    "session.tool.progress": call_progressed,
    "session.tool.success": call_succeeded,
    "session.tool.failed": call_failed,
    "filesystem.changed": renamed("file.watcher.updated"),
    "form.created": form_created,
    "form.replied": form_settled("question.replied"),
    "form.cancelled": form_settled("question.rejected"),
}
"""By the type of OpenCode 2's event. Those of permissions have the same words in both."""
