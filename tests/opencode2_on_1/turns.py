"""Messages of 1.18.33 as those of OpenCode 2: the same but for names, and for the message at the end of each turn.

1.18.33 writes none. There a turn is over when the session is not active; it has ended well if its last step has a
`finish` other than `tool-calls`, and was interrupted if the last step has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.opencode2.store import Json

from .renames import error_of, files_of, pick, rename_tool
from .upstream import Seen


def messages_of(found: list[Json], is_active: bool, seen: Seen) -> list[Json]:
    """Return the messages of a session, oldest first, with an idle message after each turn that is over."""
    return [*iter_messages(found, is_active, seen)]


def iter_messages(found: list[Json], is_active: bool, seen: Seen) -> Iterator[Json]:
    """Yield the messages of a session, and idle ones."""
    last: Json | None = None
    for message in found:
        if message["type"] == "user" and last is not None and may_end(last):
            yield idle_after(last)
        if message["type"] in ("user", "assistant"):
            last = message
        yield message_of(message, seen)
    if last is not None and not is_active and (last["type"] == "assistant" or last["id"] in seen.interrupted):
        yield idle_after(last)


def may_end(message: Json) -> bool:
    """Whether a turn may end with a message that another prompt follows; a prompt that steers follows tool calls."""
    return message["type"] == "assistant" and message.get("finish") != "tool-calls"


def idle_after(last: Json) -> Json:
    """Return the idle message of the turn that a message has ended."""
    created = last["time"].get("completed", last["time"]["created"])
    idle: Json = {"id": f"{last['id']}z", "type": "idle", "time": {"created": created}}
    if "error" in last:
        error = error_of(last["error"])
        outcome = "interrupted" if error["type"] == "aborted" else "failed"
        return {**idle, "outcome": outcome, **({"error": error} if outcome == "failed" else {})}
    return {**idle, "outcome": "succeeded" if last.get("finish", "tool-calls") != "tool-calls" else "interrupted"}


def message_of(message: Json, seen: Seen) -> Json:
    """Return a message as OpenCode 2 has it."""
    match message["type"]:
        case "user":
            return {**message, **files_of(message)}
        case "assistant":
            content = [content_of(item, seen) for item in message["content"]]
            error = {"error": error_of(message["error"])} if "error" in message else {}
            return {**message, "content": content, **error}
        case _:
            return message


def content_of(item: Json, seen: Seen) -> Json:
    """Return a part of a step."""
    if item["type"] != "tool":
        return pick(item, "type", "text", "time")
    state: Json = {**pick(item["state"], "status", "input", "content")}
    if "structured" in item["state"]:
        state["metadata"] = item["state"]["structured"]
    if "error" in item["state"]:
        rejection = seen.rejected_calls.get(item["id"])
        error = error_of(item["state"]["error"])
        state["error"] = error if rejection is None else {"type": "aborted", "message": rejection}
    if state["status"] == "pending":
        state["status"] = "streaming"
    executed: dict[str, Any] = pick(item.get("provider", {}), "executed")
    return {**pick(item, "type", "id", "time"), "name": rename_tool(item["name"]), **executed, "state": state}


def totals_of(messages: list[Json]) -> Json:
    """Return what the steps of a session have used. In 1.18.33 the v2 engine adds up nothing."""
    steps = [message for message in messages if "tokens" in message]
    counts = {name: sum(step["tokens"][name] for step in steps) for name in ("input", "output", "reasoning")}
    cache = {name: sum(step["tokens"]["cache"][name] for step in steps) for name in ("read", "write")}
    return {"cost": sum(step.get("cost", 0) for step in steps), "tokens": {**counts, "cache": cache}}
