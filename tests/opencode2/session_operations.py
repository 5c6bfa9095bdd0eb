"""The operations of sessions: life, prompts, inbox, messages, changes."""

from __future__ import annotations

import base64
import json
import mimetypes
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .calls import OperationCall, OperationError
from .store import NO_TOKENS, Json, Session, new_id, now

MESSAGE_PAGE, SESSION_PAGE, MAX_PAGE = 50, 50, 200
"""Facts, messages: the default and the most of a page."""


def create(call: OperationCall) -> Json:
    """Facts, create: the location comes from the body; a child is made at its parent's. No directory is refused."""
    body = {**call.body}
    location: Json = body.pop("location", {})
    directory: str = location.get("directory", call.directory)
    if parent_id := body.get("parentID"):
        directory = call.find_session(parent_id).directory
    if (session_id := body.get("id")) in call.engine.store.sessions:
        return {"data": call.find_session(session_id).info}
    return {"data": call.engine.create_session(directory, **body).info}


def get(call: OperationCall) -> Json:
    """Facts, create: Session.Info has neither a status nor a summary."""
    return {"data": call.session.info}


def list_sessions(call: OperationCall) -> Json:
    """Facts, operations: newest first; `parentID=null` are roots, `directory` is a filter."""
    sessions = sorted(call.engine.store.sessions.values(), key=lambda session: session.id)
    parent, archived = call.query.get("parentID"), call.query.get("archived") == "true"
    found = [
        session.info
        for session in sessions
        if parent is None or session.parent_id == (None if parent == "null" else parent)
        if ("archived" in session.info["time"]) == archived
        if call.query.get("directory", session.directory) == session.directory
        if call.query.get("project", session.info["projectID"]) == session.info["projectID"]
        if call.query.get("search", "").lower() in session.info.get("title", "").lower()
    ]
    return make_page(call, found, SESSION_PAGE)


def make_page(call: OperationCall, found: list[Json], size: int, has_order: bool = True) -> Json:
    """Return a page of what was found, oldest first, in the requested order.

    Facts, messages: newest first by default; `next` is on the last page too, an empty page ends.
    """
    order, offset = call.query.get("order", "desc"), 0
    if "cursor" in call.query:
        try:
            order, offset = json.loads(base64.urlsafe_b64decode(call.query["cursor"]))
        except ValueError as reason:
            raise OperationError(400, "InvalidCursorError", "Invalid cursor") from reason
    ordered = found if order == "asc" else found[::-1]
    limit = min(call.number("limit", size), MAX_PAGE)
    page = ordered[max(offset, 0) : max(offset, 0) + limit]
    if not page:
        return {"data": [], "cursor": {}}
    cursors = {"previous": [order, offset - limit], "next": [order, offset + limit]}
    return {
        "data": page,
        "cursor": {
            name: base64.urlsafe_b64encode(json.dumps(value).encode()).decode() for name, value in cursors.items()
        },
    }


def active(call: OperationCall) -> Json:
    """Facts, running: what this process runs, of all directories, also while it waits for the user."""
    return {"data": {session_id: {"type": "running"} for session_id in call.engine.executions.active}}


def update(call: OperationCall) -> None:
    """Facts, permissions: the list of rules is replaced."""
    session, events = call.session, call.engine.events
    for name, event in (("title", "renamed"), ("metadata", "metadata.updated"), ("permissions", "permissions")):
        if name in call.body:
            session.info[name] = call.body[name]
            events.publish(f"session.{event}", session, **{name: call.body[name]})
    if "archived" in call.body:
        session.info["time"].pop("archived", None)
        if call.body["archived"]:
            session.info["time"]["archived"] = now()
        events.publish("session.archived" if call.body["archived"] else "session.unarchived", session)
    session.info["time"]["updated"] = now()


def remove(call: OperationCall) -> None:
    """Facts, operations: with its children."""
    call.engine.remove_session(call.session)


def switch_agent(call: OperationCall) -> None:
    """Facts, create: an unknown agent is accepted; the switch is a message."""
    select(call.engine.events.publish, call.session, "agent", call.body["agent"])


def switch_model(call: OperationCall) -> None:
    """Facts, create: an unknown model is accepted, and fails the next turn."""
    select(call.engine.events.publish, call.session, "model", call.body["model"])


def select(publish: Any, session: Session, name: str, value: Any) -> None:
    """Give a session its agent or model, with a message."""
    fields: Json = {name: value}
    if name in session.info:
        fields["previous"] = session.info[name]
    session.info[name] = value
    session.messages.append({"id": new_id("msg"), "type": f"{name}-switched", "time": {"created": now()}, **fields})
    publish(f"session.{name}.selected", session, **fields)


def prompt(call: OperationCall) -> Json:
    """Facts, prompt: admitted at once; the id is an idempotency key, also across sessions."""
    names = ("text", "agents", "metadata")
    payload: Json = {name: call.body[name] for name in names if name in call.body}
    if files := [attach(item) for item in call.body.get("files", [])]:
        payload["files"] = files
    return admit(call, "user", payload)


def synthetic(call: OperationCall) -> Json:
    """A text that no user wrote."""
    names = ("text", "description", "metadata")
    return admit(call, "synthetic", {name: call.body[name] for name in names if name in call.body})


def compact(call: OperationCall) -> Json:
    """Facts, compaction: an admission, which steers by default."""
    return admit(call, "compaction", {})


def admit(call: OperationCall, kind: str, payload: Json) -> Json:
    """Admit once what has an id. Facts, prompt: one of another session is a conflict. Source: so is another kind.

    Source: the first admission counts, whatever the body of the second one says.
    """
    session, message_id = call.session, call.body.get("id")
    for owner in call.engine.store.sessions.values():
        if message_id in owner.admissions:
            item = owner.admissions[message_id]
            if owner is session and item["type"] == kind:
                return {"data": item}
            raise OperationError(409, "ConflictError", f"{message_id} is used already", resource=message_id)
    delivery, resume = call.body.get("delivery", "steer"), call.body.get("resume", True)
    if "revert" in session.info and kind == "user":
        commit(session, call.engine.events.publish)
    item = call.engine.admit(session, kind, payload, delivery, message_id, resume)
    session.admissions[item["id"]] = item
    return {"data": item}


def attach(item: Json) -> Json:
    """Facts, messages: the whole file is in the user message, as base64, or the lines that its URI names."""
    uri: str = item["uri"]
    names = {name: item[name] for name in ("name", "description", "mention") if name in item}
    if uri.startswith("data:"):
        mime, _, data = uri.removeprefix("data:").partition(";base64,")
        return {"data": data, "mime": mime, "source": {"type": "inline"}, **names}
    parsed = urlsplit(uri)
    path = Path(unquote(parsed.path))
    if not path.exists():
        raise OperationError(400, "InvalidRequestError", f"File not found: {path}", field="files")
    content = "\n".join(sorted(entry.name for entry in path.iterdir())).encode() if path.is_dir() else path.read_bytes()
    if parsed.query:
        ends = {name: int(values[0]) for name, values in parse_qs(parsed.query).items()}
        lines = content.splitlines(keepends=True)
        content = b"".join(lines[ends["start"] - 1 : ends.get("end", len(lines))])
    mime = mimetypes.guess_type(path.name)[0] or "text/plain"
    source = {"type": "uri", "uri": uri}
    return {"data": base64.b64encode(content).decode(), "mime": mime, "source": source, **names}


def list_inbox(call: OperationCall) -> Json:
    """Facts, inbox: what is not delivered, in the order of admission."""
    return {"data": call.session.inbox}


def cancel_inbox(call: OperationCall) -> None:
    """Facts, inbox: what is there no more is no error."""
    session = call.session
    for item in [item for item in session.inbox if item["id"] == call.values["inboxID"]]:
        session.inbox.remove(item)
        call.engine.events.publish("session.inbox.cancelled", session, inboxID=item["id"])


def update_inbox(call: OperationCall) -> None:
    """The document: steering wakes the session. Source: a delivery that it has already is a conflict."""
    session, delivery = call.session, call.body["delivery"]
    for item in session.inbox:
        if item["id"] == call.values["inboxID"] and item["delivery"] != delivery:
            item["delivery"] = delivery
            call.engine.events.publish("session.inbox.delivery.changed", session, inboxID=item["id"], delivery=delivery)
            if delivery == "steer":
                call.engine.executions.wake(session)
            return
    raise OperationError(409, "ConflictError", "it was delivered already, or has this delivery")


async def interrupt(call: OperationCall) -> Json:
    """Facts, inbox: `false` for an idle session. Source: it returns when that has ended."""
    execution = call.engine.executions.interrupt(call.session, call.query.get("resume") == "true")
    if execution is not None:
        await execution.ended.wait()
    return {"interrupted": execution is not None}


def background(call: OperationCall) -> None:
    """Facts, inbox: what blocks goes on in the background."""
    call.engine.executions.detach_calls(call.session)


async def wait(call: OperationCall) -> None:
    """Facts, running: returns when the session is idle, also if it waits for the user. Source: no time limit."""
    await call.engine.executions.wait_until_idle(call.session)


def list_messages(call: OperationCall) -> Json:
    """Facts, messages: an order and a cursor exclude each other; idle messages have a type of their own."""
    if "cursor" in call.query and "order" in call.query:
        raise OperationError(400, "InvalidRequestError", "cursor cannot be used with order", field="order")
    kind = call.query.get("type")
    return make_page(call, [item for item in call.session.messages if kind in (None, item["type"])], MESSAGE_PAGE)


def get_message(call: OperationCall) -> Json:
    """One message."""
    return {"data": call.find_message(call.values["messageID"])}


def context(call: OperationCall) -> Json:
    """What the model sees now, oldest first: from the newest summary on."""
    messages = call.session.messages
    start = max(
        (at for at, item in enumerate(messages) if item["type"] == "compaction" and item["status"] == "completed"),
        default=0,
    )
    return {"data": messages[start:]}


def diff(call: OperationCall) -> Json:
    """The document: from the first snapshot of a turn to its last; a running step is compared with the files."""
    session = call.session
    first, last = call.query.get("from"), call.query.get("to")
    for message_id in filter(None, (first, last)):
        call.find_message(message_id)
    messages = turn_messages(session.messages, first, last)
    snapshots: list[Json] = [item["snapshot"] for item in messages if "snapshot" in item]
    if not snapshots:
        return {"data": []}
    end: str | None = snapshots[-1].get("end") or call.engine.take_snapshot(session)
    if end is None:
        return {"data": []}
    return {"data": call.engine.compare(snapshots[0]["start"], end, call.number("context", 3))}


def turn_messages(messages: list[Json], first: str | None, last: str | None) -> list[Json]:
    """Return the messages of the newest turn, of the one that a message begins, or of all from it to another one's."""
    ends = [at for at, item in enumerate(messages) if item["type"] == "idle"]
    positions = {item["id"]: at for at, item in enumerate(messages)}
    newest = positions[last or first or messages[-1]["id"]] if messages else 0
    end = next((at for at in ends if at >= newest), len(messages))
    start = positions[first] if first else max((at + 1 for at in ends if at < newest), default=0)
    return messages[start:end]


def fork(call: OperationCall) -> Json:
    """Facts, fork: a root session with the messages before one, or all; there is no session.created."""
    source, before = call.session, call.body.get("before")
    if before is not None:
        call.find_message(before)
    end = next((at for at, item in enumerate(source.messages) if item["id"] == before), len(source.messages))
    copied = json.loads(json.dumps(source.messages[:end]))
    through = {"type": "through", "messageID": copied[-1]["id"]} if copied else {"type": "through", "messageID": "msg_"}
    boundary = {"type": "before", "messageID": before} if before else through
    info: Json = {name: value for name, value in source.info.items() if name not in ("parentID", "outcome", "revert")}
    times = {"created": now(), "updated": now()}
    fresh = {"id": new_id("ses"), "cost": 0, "tokens": NO_TOKENS, "time": times}
    info |= {**fresh, "fork": {"sessionID": source.id, "boundary": boundary}}
    forked = Session(info, copied)
    call.engine.store.sessions[forked.id] = forked
    call.engine.events.publish("session.forked", forked, parentID=source.id, boundary=boundary)
    return {"data": info}


def stage_revert(call: OperationCall) -> Json:
    """Facts, fork: files are taken back only when that is asked for; a running session is busy."""
    session, message_id = call.session, call.body["messageID"]
    check_idle(call)
    call.find_message(message_id)
    revert: Json = {"messageID": message_id}
    positions = [item["id"] for item in session.messages]
    undone = session.messages[positions.index(message_id) :]
    snapshots: list[Json] = [item["snapshot"] for item in undone if "snapshot" in item]
    if call.body.get("files") and snapshots:
        revert |= {"snapshot": snapshots[0]["start"], "files": restore(call, snapshots[0]["start"])}
    session.info["revert"] = revert
    call.engine.events.publish("session.revert.staged", session, revert=revert)
    return {"data": revert}


def restore(call: OperationCall, snapshot: str) -> list[Json]:
    """Make the files what they were; return what that changed."""
    session, store = call.session, call.engine.store
    current = call.engine.take_snapshot(session)
    if current is None:
        return []
    changes = call.engine.compare(current, snapshot)
    for change in changes:
        file = Path(session.directory) / change["file"]
        if change["status"] == "deleted":
            file.unlink()
        else:
            file.write_text(store.snapshots[snapshot][change["file"]])
    return changes


def check_idle(call: OperationCall) -> None:
    """Refuse while the session runs."""
    if call.session.id in call.engine.executions.active:
        raise OperationError(409, "SessionBusyError", "Session is busy", sessionID=call.session.id)


def clear_revert(call: OperationCall) -> None:
    """Forget what was staged."""
    check_idle(call)
    if call.session.info.pop("revert", None) is not None:
        call.engine.events.publish("session.revert.cleared", call.session)


def commit_revert(call: OperationCall) -> None:
    """Remove the messages from the staged one on."""
    check_idle(call)
    if "revert" in call.session.info:
        commit(call.session, call.engine.events.publish)


def commit(session: Session, publish: Any) -> None:
    """Remove the reverted messages. Facts, fork: the next prompt does that too."""
    message_id: str = session.info.pop("revert")["messageID"]
    del session.messages[[item["id"] for item in session.messages].index(message_id) :]
    publish("session.revert.committed", session, to=message_id)


def view(call: OperationCall) -> None:
    """The user has seen the end of a turn."""
    call.session.info["time"]["viewed"] = call.body["idle"]
    call.engine.events.publish("session.viewed", call.session, idle=call.body["idle"])


def environment(call: OperationCall) -> None:
    """Facts, prompt: replaces the whole environment, in memory."""
    call.engine.environments[call.session.id] = call.body["variables"]


def list_instructions(call: OperationCall) -> Json:
    """What the system prompt has beside OpenCode's own."""
    return {"data": [{"key": key, "value": value} for key, value in call.session.instructions.items()]}


def put_instruction(call: OperationCall) -> None:
    """Facts, prompt: the place for a system text."""
    call.session.instructions[call.values["key"]] = call.body["value"]


def remove_instruction(call: OperationCall) -> None:
    """Remove a text."""
    call.session.instructions.pop(call.values["key"], None)
