"""Resource readers: each takes the servers and its template's variables, and returns a `Content`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from opencode_mcp import board
from opencode_mcp.catalog.sensitive import answer_position
from opencode_mcp.exceptions import APIError, InvalidArguments, NotFound
from opencode_mcp.opencode import OpenCodeClient, ServerPool, execute
from opencode_mcp.opencode.endpoint import ignore_progress
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import Agent, Session
from opencode_mcp.opencode.pool import describe_failures, merge_newest_first
from opencode_mcp.redaction import Position, Redactor, count_replaced, keep_redaction_count
from opencode_mcp.tasks import Context
from opencode_mcp.tasks.changes import CollectChanges, collect_changes
from opencode_mcp.tasks.external_activity import describe_other_process
from opencode_mcp.tasks.pending_requests import describe_request
from opencode_mcp.tasks.report import describe_activity
from opencode_mcp.tasks.rules import apply_rules
from opencode_mcp.tasks.session_state import classify, read_snapshot
from opencode_mcp.tasks.transcript import ReadTranscript, read_transcript
from opencode_mcp.tools.gateway import caller_of, describe_operation
from opencode_mcp.tools.results import MAX_IMAGE_BYTES
from opencode_mcp.tools.truncate import REDACTED_FIELD, abbreviate, dump, part_at, truncate

JSON = "application/json"
SESSIONS_IN_RESOURCE = 100
TRANSCRIPT_MESSAGES = 50


@dataclass(frozen=True)
class Content:
    """What a reader returns: a text, bytes, or a value to send as JSON.

    `position` classifies the value for redaction; `hint` says how to read what a limit cuts off.
    """

    value: Any
    mime_type: str
    position: Position = Position.CONTENT
    hint: str = "read_operation returns any part of what an operation answers"

    def render(self, redactor: Redactor, chars: int) -> tuple[str | bytes, int]:
        """Return the redacted content in at most `chars` characters, and the number of replaced secrets.

        JSON is written as in results, and is still valid JSON when it is truncated.

        Raises:
            InvalidArguments: bytes, which cannot be truncated, exceed the limit.
        """
        redactor.refresh()
        if isinstance(self.value, bytes):
            if len(self.value) > MAX_IMAGE_BYTES:
                raise InvalidArguments(
                    "the resource", [f"{len(self.value)} bytes exceed the limit of {MAX_IMAGE_BYTES}"]
                )
            return self.value, 0
        redacted = redactor.redact(self.value, self.position)
        if self.mime_type != JSON:
            text = (
                redacted if len(redacted) <= chars else keep_redaction_count(redacted, self.truncate(redacted, chars))
            )
            return text, count_replaced(text)
        if len(dump(redacted)) > chars:
            facts: dict[str, Any] = (
                cast("dict[str, Any]", redacted) if isinstance(redacted, dict) else {"result": redacted}
            )
            redacted = truncate(facts, chars, self.hint)
        return dump(redacted), count_replaced(
            {**redacted, REDACTED_FIELD: ""} if isinstance(redacted, dict) else redacted
        )

    def truncate(self, text: str, chars: int) -> str:
        """Truncate a text, with a note that says how to read the rest."""
        note = f"\n…[{{}} of {len(text)} characters omitted: {self.hint}]\n"
        length = chars - len(note) - len(str(len(text)))
        return text[:length] + note.format(len(text) - length)


@dataclass(frozen=True)
class PackageFile(Content):
    """A text of this package. It is sent whole and unchanged: it has no secrets, and clients compare its digest."""

    def render(self, redactor: Redactor, chars: int) -> tuple[str | bytes, int]:
        """Return the text."""
        return self.value, 0


def as_json(value: Any, position: Position = Position.CONTENT, hint: str = Content.hint) -> Content:
    """Return a value as JSON."""
    return Content(value, JSON, position, hint)


async def sessions(servers: ServerPool) -> Content:
    """Read the project's sessions, newest first, each with its status.

    The sessions of several servers are merged into one list; `unreachable` names the servers that returned none.
    """
    listed, failures = await servers.gather(sessions_and_statuses)
    rows = [
        {
            "id": info.id,
            "title": info.title,
            "status": status,
            "directory": info.directory,
            "parent_id": info.parent_id,
            "updated": last_modified(info),
            "cost": info.cost,
            **({"server": name} if len(servers.clients) > 1 else {}),
        }
        for name, (info, status) in merge_newest_first(listed, lambda entry: updated_ms(entry[0]))[
            :SESSIONS_IN_RESOURCE
        ]
    ]
    if len(servers.clients) == 1:
        return as_json(rows)
    return as_json({"sessions": rows, **({"unreachable": describe_failures(failures)} if failures else {})})


async def sessions_and_statuses(opencode: OpenCodeClient) -> list[tuple[Session, str]]:
    """Return a server's sessions of the project, newest first, each with its status."""
    listed = await newest_sessions(opencode, SESSIONS_IN_RESOURCE)
    statuses = await engine_of(opencode).read_statuses(None)
    return [(info, statuses[info.id].type if info.id in statuses else "idle") for info in listed]


async def newest_sessions(opencode: OpenCodeClient, limit: int) -> list[Session]:
    """Return the project's newest sessions, newest first."""
    return await engine_of(opencode).list_newest_sessions(limit)


def updated_ms(session: Session) -> float:
    """Return when a session was last changed, in milliseconds."""
    return session.time.updated or session.time.created


def last_modified(session: Session) -> str:
    """Return when a session was last changed, as ISO 8601 in UTC."""
    return datetime.fromtimestamp(updated_ms(session) / 1000, UTC).isoformat(timespec="seconds")


async def session(servers: ServerPool, id: str) -> Content:
    """Read a session: its data, its current state, its pending requests, and its last answer.

    The state is that of a task, or `idle` if no process works on the newest prompt or there is no prompt.
    """
    snapshot = await read_snapshot(servers.default, id)
    status = await apply_rules(servers.default, snapshot, classify(snapshot))
    note = await describe_other_process(servers.default, snapshot)
    newest = snapshot.newest_message
    return as_json(
        {
            "session": await engine_of(servers.default).show_session(id),
            "state": "idle" if status.stalled_reason and note is None else status.state,
            "error": status.error,
            "note": note,
            "pending": [
                describe_request(request, id).model_dump(exclude_defaults=True) for request in snapshot.pending
            ],
            "activity": status.activity or describe_activity(snapshot, in_other_process=note is not None),
            "answer": newest.text if newest and newest.info.role == "assistant" and not (snapshot.busy or note) else "",
        }
    )


async def transcript(servers: ServerPool, id: str) -> Content:
    """Read the newest messages of a session's conversation."""
    arguments = ReadTranscript.model_validate({"session_id": id, "limit": TRANSCRIPT_MESSAGES})
    page = await read_transcript(Context(servers, ignore_progress), arguments)
    older = f"(Older messages: call read_transcript with `before` {page.earlier!r}.)\n\n" if page.earlier else ""
    return Content(older + page.text, "text/plain", hint="read_transcript returns fewer messages at a time")


async def diff(servers: ServerPool, id: str) -> Content:
    """Read the file changes of a session, as one patch."""
    arguments = CollectChanges.model_validate({"session_id": id, "format": "patch"})
    changes = await collect_changes(Context(servers, ignore_progress), arguments)
    hint = "read_operation with operation session_diff returns any part, collect_changes the names of the files"
    return Content(changes.patch or "", "text/x-diff", hint=hint)


async def todo(servers: ServerPool, id: str) -> Content:
    """Read a session's to-do list."""
    return as_json(await servers.default.call("session_todo", sessionID=id))


async def file(servers: ServerPool, path: str) -> Content:
    """Read a file of the project, byte for byte.

    Raises:
        NotFound: OpenCode has no such file (1.18.33 answers with a 500 without a reason).
    """
    try:
        opencode = servers.default
        operation = opencode.catalog[engine_of(opencode).traits.file_operation]
        answer = await execute(opencode, opencode.prepare(operation, {"path": path}))
    except APIError as error:
        if error.status in {404, 500}:
            raise NotFound(f"There is no file {path!r} in the project, or it is a directory.") from error
        raise
    if isinstance(answer.value, bytes):
        return Content(answer.value, answer.media_type)
    # OpenCode derives the type from the file name: a text may be an application/octet-stream, or a video/mp2t (.ts).
    text_type = answer.media_type if answer.media_type.startswith("text/") else "text/plain"
    hint = f"read_operation with operation {operation.name}, its `path`, pointer /result and an offset returns any part"
    return Content(answer.value or "", text_type, hint=hint)


async def operations(servers: ServerPool) -> Content:
    """List the operations of the API; needs no OpenCode."""
    return as_json(
        [
            {"operation": entry.name, "title": entry.title, "call_with": caller_of(entry)}
            for entry in servers.default.catalog.values()
        ],
        hint="search_operations finds operations",
    )


async def operation(servers: ServerPool, name: str, pointer: str = "") -> Content:
    """Describe one operation, or the part of its description at a JSON pointer; needs no OpenCode.

    Raises:
        NotFound: no operation has this name.
        InvalidArguments: the pointer matches no part.
    """
    if name not in servers.default.catalog:
        raise NotFound(f"There is no operation {abbreviate(name)!r}; opencode://operations lists them.")
    described = describe_operation(servers.default.catalog[name], response=True, full=True)
    part = part_at(described, pointer and f"/{pointer}", name)
    return as_json(part, hint="add a pointer from `parts` to the URI of this resource")


async def skill(servers: ServerPool, text: str) -> Content:
    """Return the file of a skill; needs no OpenCode."""
    return PackageFile(text, "text/markdown")


async def board_page(servers: ServerPool) -> Content:
    """Return the page of the board; needs no OpenCode."""
    return PackageFile(board.read_page(), board.MIME_TYPE)


async def agents(servers: ServerPool) -> Content:
    """List the agents that a task can select."""
    return as_json(
        [agent.model_dump(exclude={"hidden"}, exclude_none=True) for agent in await visible_agents(servers.default)],
        Position.CONFIG,
    )


async def visible_agents(opencode: OpenCodeClient) -> list[Agent]:
    """Return the agents that OpenCode does not hide."""
    return [agent for agent in await engine_of(opencode).list_agents(None) if not agent.hidden]


async def models(servers: ServerPool) -> Content:
    """List the models of the configured providers.

    `default` marks those that a prompt may use when neither the prompt nor its agent names one.
    """
    engine = engine_of(servers.default)
    listed = await engine.list_models(None)
    defaults = await engine.list_default_models(None)
    return as_json(
        [
            {
                "model": model_id,
                "name": model.get("name", model_id),
                "default": model_id in defaults,
                "variants": list(model.get("variants") or ()),
                "limit": model.get("limit"),
                "cost": model.get("cost"),
            }
            for model_id, model in listed.items()
        ]
    )


async def config(servers: ServerPool) -> Content:
    """Read the configuration."""
    return as_json(
        await servers.default.call("config_get"),
        answer_position(servers.default.catalog["config_get"]),
        "read_operation with operation config_get and a pointer returns any part",
    )
