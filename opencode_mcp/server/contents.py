"""What the resources hold: one reader each. A reader is given the server, or servers, and its template's variables."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from opencode_mcp.exceptions import APIError
from opencode_mcp.opencode import OpenCode, Servers, perform
from opencode_mcp.opencode.models import Agent, Providers, Session, Status
from opencode_mcp.opencode.outgoing import Outgoing
from opencode_mcp.opencode.server import silent
from opencode_mcp.opencode.servers import newest_first, told
from opencode_mcp.tools.gateway import described, safety_of
from opencode_mcp.workflows import Context
from opencode_mcp.workflows.changes import CollectChanges, collect_changes
from opencode_mcp.workflows.elsewhere import elsewhere
from opencode_mcp.workflows.report import describe, doing
from opencode_mcp.workflows.transcript import ReadTranscript, read_transcript
from opencode_mcp.workflows.truth import judge, look

JSON = "application/json"
LISTED_SESSIONS = 100
TRANSCRIPT_MESSAGES = 50


class NotFound(Exception):
    """There is no such resource; the words say what is missing."""


@dataclass(frozen=True)
class Content:
    """What was read: a text, bytes, or the value of a JSON; `ours` when no key in it can name a secret."""

    value: Any
    mime_type: str
    ours: bool = False

    def fit(self, outgoing: Outgoing) -> str | bytes:
        """Return it as it may leave; JSON has many lines."""
        if self.mime_type == JSON:
            fit = outgoing.plain if self.ours else outgoing.value
            return json.dumps(fit(self.value), indent=1, ensure_ascii=False)
        return self.value if isinstance(self.value, bytes) else outgoing.text(self.value)


def as_json(value: Any, *, ours: bool = False) -> Content:
    """Return a value as JSON."""
    return Content(value, JSON, ours)


async def sessions(servers: Servers) -> Content:
    """Read the project's sessions, newest first, and which of them work.

    Those of several servers are made one list; one that gives none is told of beside it.
    """
    listed, failures = await servers.each(sessions_and_statuses)
    rows = [
        {
            "id": one.id,
            "title": one.title,
            "status": status,
            "directory": one.directory,
            "parent_id": one.parent_id,
            "updated": when(one),
            "cost": one.cost,
            **({"server": name} if len(servers.clients) > 1 else {}),
        }
        for name, (one, status) in newest_first(listed, lambda entry: changed(entry[0]))[:LISTED_SESSIONS]
    ]
    if len(servers.clients) == 1:
        return as_json(rows)
    return as_json({"sessions": rows, **({"unreachable": told(failures)} if failures else {})})


async def sessions_and_statuses(opencode: OpenCode) -> list[tuple[Session, str]]:
    """Return a server's sessions of the project, newest first, each with what it does."""
    listed = await newest_sessions(opencode, LISTED_SESSIONS)
    statuses = await opencode.call_as(dict[str, Status], "session_status")
    return [(one, statuses[one.id].type if one.id in statuses else "idle") for one in listed]


async def newest_sessions(opencode: OpenCode, limit: int) -> list[Session]:
    """Return the project's newest sessions, newest first."""
    return await opencode.call_as(list[Session], "session_list", limit=limit)


def changed(session: Session) -> float:
    """Return when a session was last changed, in milliseconds."""
    return session.time.updated or session.time.created


def when(session: Session) -> str:
    """Return when a session was last changed, as ISO 8601 in UTC."""
    return datetime.fromtimestamp(changed(session) / 1000, UTC).isoformat(timespec="seconds")


async def session(servers: Servers, id: str) -> Content:
    """Read a session: what it is, its state now, what it waits for, and its last answer.

    The state is a task's, or `idle` where nothing works on the newest prompt or there is none.
    """
    truth = await look(servers.first, id)
    verdict = judge(truth)
    note = await elsewhere(servers.first, truth)
    newest = truth.newest
    return as_json(
        {
            "session": await servers.first.call("session_get", sessionID=id),
            "state": "idle" if verdict.doubt and note is None else verdict.state,
            "error": verdict.error,
            "note": note,
            "pending": [describe(request).model_dump() for request in truth.pending],
            "activity": doing(truth, elsewhere=note is not None),
            "answer": newest.text if newest and newest.info.role == "assistant" and not (truth.busy or note) else "",
        }
    )


async def transcript(servers: Servers, id: str) -> Content:
    """Read the newest messages of a session's conversation."""
    wanted = ReadTranscript.model_validate({"session_id": id, "limit": TRANSCRIPT_MESSAGES})
    page = await read_transcript(Context(servers, silent), wanted)
    older = f"(There are older messages: read_transcript with `before` {page.earlier!r}.)\n\n" if page.earlier else ""
    return Content(older + page.text, "text/plain")


async def diff(servers: Servers, id: str) -> Content:
    """Read what a session changed in files, as one patch."""
    wanted = CollectChanges.model_validate({"session_id": id, "format": "patch"})
    changes = await collect_changes(Context(servers, silent), wanted)
    return Content(changes.patch or "", "text/x-diff")


async def todo(servers: Servers, id: str) -> Content:
    """Read a session's to-do list."""
    return as_json(await servers.first.call("session_todo", sessionID=id))


async def file(servers: Servers, path: str) -> Content:
    """Read a file of the project, byte for byte.

    Raises:
        NotFound: there is none, as far as OpenCode tells (1.18.33: an opaque 500).
    """
    try:
        answer = await perform(servers.first, servers.first.catalog["v2_fs_read"], {"path": path})
    except APIError as error:
        if error.status in {404, 500}:
            raise NotFound(f"There is no file {path!r} in the project, or it is a directory.") from error
        raise
    if isinstance(answer.value, bytes):
        return Content(answer.value, answer.media_type)
    # OpenCode goes by the file's name alone: a text may be an application/octet-stream, or a video/mp2t (.ts).
    text_type = answer.media_type if answer.media_type.startswith("text/") else "text/plain"
    return Content(answer.value or "", text_type)


async def operations(servers: Servers) -> Content:
    """List the operations of the API; needs no OpenCode."""
    return as_json(
        [
            {"operation": one.name, "title": one.title, "call_with": f"{safety_of(one)}_operation"}
            for one in servers.first.catalog.values()
        ],
        ours=True,
    )


async def operation(servers: Servers, name: str) -> Content:
    """Describe one operation; needs no OpenCode.

    Raises:
        NotFound: there is none of this name.
    """
    if name not in servers.first.catalog:
        raise NotFound(f"There is no operation {name!r}; opencode://operations lists them.")
    return as_json(described(servers.first.catalog[name]), ours=True)


async def agents(servers: Servers) -> Content:
    """List the agents that can be chosen."""
    return as_json(
        [agent.model_dump(exclude={"hidden"}, exclude_none=True) for agent in await visible_agents(servers.first)]
    )


async def visible_agents(opencode: OpenCode) -> list[Agent]:
    """Return the agents without those that OpenCode keeps to itself."""
    return [one for one in await opencode.call_as(list[Agent], "app_agents") if not one.hidden]


async def models(servers: Servers) -> Content:
    """List the models of the providers that are set up."""
    known = await servers.first.call_as(Providers, "config_providers")
    defaults = {f"{provider}/{id}" for provider, id in known.default.items()}
    return as_json(
        [
            {
                "model": id,
                "name": model.get("name", id),
                "default": id in defaults,
                "variants": list(model.get("variants") or ()),
                "limit": model.get("limit"),
                "cost": model.get("cost"),
            }
            for id, model in known.models.items()
        ]
    )


async def config(servers: Servers) -> Content:
    """Read the configuration."""
    return as_json(await servers.first.call("config_get"))
