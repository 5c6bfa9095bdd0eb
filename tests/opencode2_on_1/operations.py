"""The operations of OpenCode 2 that 1.18.33 has, and those whose answer follows from what it has.

What a session does is only read and written below /api: prompts, turns, messages, requests, events. What is around
that, and what the v2 API lacks, is asked of the older API of the same server: a session's title, metadata and parent
(it is one record for both), the configuration, and git.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from tests.opencode2.location_operations import VERSION
from tests.opencode2.store import Json

from . import renames
from .renames import pick
from .turns import messages_of, totals_of
from .upstream import NotInVersion1, Seen, Upstream, UpstreamError

ALL = 1000
"""More sessions than a server of tests has."""

IDLE_SECONDS = 10.0
"""How long an interrupted session may take until it is idle."""


@dataclass(frozen=True)
class ShimCall:
    """A request to an operation of OpenCode 2: the parameters of its path, its query, its body and its location."""

    upstream: Upstream
    path: str
    values: Mapping[str, str]
    query: Mapping[str, str]
    body: Json
    directory: str

    @property
    def location(self) -> Json:
        """The location as 1.18.33 takes it."""
        return {"location[directory]": self.directory}

    @property
    def session_id(self) -> str:
        """The session of the path."""
        return self.values["sessionID"]

    @property
    def seen(self) -> Seen:
        """What has passed through the shim."""
        return self.upstream.seen

    def at_location(self, data: Any) -> Json:
        """Return an answer about the location."""
        return {"location": {"directory": self.directory}, "data": data}

    async def get(self, **query: Any) -> Any:
        """Return what 1.18.33 has at the same path."""
        return await self.upstream.get(self.path, **query)


async def info(call: ShimCall) -> Json:
    """1.18.33 has /api/health only."""
    await call.upstream.get("/api/health")
    return {"version": VERSION, "pid": os.getpid(), "urls": [], "paths": {"tmp": "/tmp"}}


async def get_location(call: ShimCall) -> Json:
    """The project has one directory there."""
    found = await call.get(**call.location)
    project = found["project"]
    return {"directory": found["directory"], "project": {**project, "canonical": project["directory"]}}


async def list_same(call: ShimCall) -> Json:
    """A list at a location that is the same in both."""
    return call.at_location((await call.get(**call.query))["data"])


async def list_agents(call: ShimCall) -> Json:
    """The agents, with their rules in OpenCode 2's words."""
    return call.at_location([renames.agent_of(agent) for agent in (await call.get(**call.query))["data"]])


async def list_models(call: ShimCall) -> Json:
    """The models."""
    return call.at_location(await read_models(call))


async def read_models(call: ShimCall) -> list[Json]:
    """Read the models of the location."""
    return [renames.model_of(model) for model in (await call.upstream.get("/api/model", **call.location))["data"]]


async def default_model(call: ShimCall) -> Json:
    """The model that the configuration names."""
    name: str = (await read_config(call)).get("model", "")
    models = await read_models(call)
    return call.at_location(next((item for item in models if f"{item['providerID']}/{item['id']}" == name), None))


async def read_config(call: ShimCall) -> Json:
    """Read the configuration of the location."""
    return await call.upstream.get("/config", directory=call.directory)


async def get_config(call: ShimCall) -> list[Json]:
    """The configuration as one document."""
    return renames.config_of(await read_config(call))


async def list_servers(call: ShimCall) -> Json:
    """The MCP servers, of which there are none here."""
    if await call.upstream.get("/mcp", directory=call.directory):
        raise NotInVersion1("the list of MCP servers")
    return call.at_location([])


async def get_vcs(call: ShimCall) -> Json:
    """The branches of a working tree."""
    found = await call.upstream.get("/vcs", directory=call.directory)
    names = {"branch": "current", "default_branch": "default"}
    branch = {names[name]: value for name, value in found.items() if name in names}
    return call.at_location({"provider": "git", "branch": branch})


async def list_uncommitted(call: ShimCall) -> Json:
    """The files that git calls uncommitted."""
    return call.at_location(await call.upstream.get("/vcs/status", directory=call.directory))


async def diff_working(call: ShimCall) -> Json:
    """The changes of the working tree."""
    modes = {"working": "git", "branch": "branch"}
    if call.query["mode"] not in modes:
        raise NotInVersion1(f"a diff of {call.query['mode']}")
    found = await call.upstream.get("/vcs/diff", directory=call.directory, mode=modes[call.query["mode"]])
    return call.at_location(found)


async def list_shells(call: ShimCall) -> Json:
    """The commands of clients: the v2 API runs none."""
    return call.at_location([])


async def read_file(call: ShimCall) -> bytes:
    """The bytes of a file."""
    response = await call.upstream.http.get(call.path, params=dict(call.query))
    response.raise_for_status()
    return response.content


async def create_session(call: ShimCall) -> Json:
    """1.18.33 ignores what the v2 API does not have, and rules of a session do not hold in its v2 engine."""
    if call.body.get("permissions"):
        raise NotInVersion1("rules of a session")
    if "id" in call.body:
        raise NotInVersion1("an id that a session is created with")
    directory = call.body.get("location", {}).get("directory", call.directory)
    record = pick(call.body, "title", "metadata", "parentID")
    session_id = (await call.upstream.post("/session", record, directory=directory))["id"]
    for name in ("agent", "model"):
        if name in call.body:
            await call.upstream.post(f"/api/session/{session_id}/{name}", {name: call.body[name]})
    return {"data": await read_session(call, session_id)}


async def read_session(call: ShimCall, session_id: str) -> Json:
    """Read both sides of a session. The v2 API is asked first, whose errors are those of OpenCode 2."""
    found = await call.upstream.get(f"/api/session/{session_id}")
    record = await call.upstream.get(f"/session/{session_id}")
    return {**renames.session_of(found["data"], record), **totals_of(await call.upstream.messages(session_id))}


async def find_session(call: ShimCall, session_id: str) -> Json | None:
    """Read a session that was listed; None if it has been deleted meanwhile, as one that held a queued prompt is."""
    try:
        return await read_session(call, session_id)
    except UpstreamError as error:
        if error.status == 404:
            return None
        raise


async def get_session(call: ShimCall) -> Json:
    """A session."""
    return {"data": await read_session(call, call.session_id)}


async def list_sessions(call: ShimCall) -> Json:
    """The children of a session, or a page of all sessions. 1.18.33 ignores `parentID`."""
    parent = call.query.get("parentID")
    if parent not in (None, "null"):
        children = await call.upstream.get(f"/session/{parent}/children")
        found = [await find_session(call, child["id"]) for child in children]
        return {"data": [child for child in found if child is not None], "cursor": {}}
    records = {record["id"]: record for record in await call.upstream.get("/experimental/session", limit=ALL)}
    page = await call.get(**{name: value for name, value in call.query.items() if name != "parentID"})
    listed = [renames.session_of(item, records[item["id"]]) for item in page["data"] if item["id"] in records]
    roots = [item for item in listed if "parentID" not in item] if parent else listed
    return {"data": roots, "cursor": pick(page["cursor"], "previous", "next")}


async def update_session(call: ShimCall) -> None:
    """Title and metadata."""
    if "permissions" in call.body:
        raise NotInVersion1("rules of a session")
    await call.upstream.get(f"/api/session/{call.session_id}")
    await call.upstream.request("PATCH", f"/session/{call.session_id}", json=pick(call.body, "title", "metadata"))


async def remove_session(call: ShimCall) -> None:
    """A session, with its children. In 1.18.33 its turn would go on."""
    await call.upstream.post(f"/api/session/{call.session_id}/interrupt")
    await call.upstream.request("DELETE", f"/session/{call.session_id}")


async def list_active(call: ShimCall) -> Json:
    """The sessions that run."""
    return await call.get()


async def send(call: ShimCall) -> None:
    """A request that is the same in both, and has no answer."""
    await call.upstream.post(call.path, call.body or None)


async def prompt(call: ShimCall) -> Json:
    """The text and the files are in `prompt`."""
    if unknown := call.body.keys() & {"skills", "metadata"}:
        raise NotInVersion1(f"{', '.join(unknown)} of a prompt")
    body = {**pick(call.body, "id", "delivery", "resume"), "prompt": pick(call.body, "text", "files", "agents")}
    admission = renames.admission_of((await call.upstream.post(call.path, body))["data"])
    admitted = call.seen.admitted.setdefault(call.session_id, [])
    if admission["id"] not in [item["id"] for item in admitted]:
        admitted.append(admission)
    return {"data": admission}


async def list_inbox(call: ShimCall) -> Json:
    """What was admitted and is not delivered. 1.18.33 does not show it."""
    return {"data": await read_inbox(call)}


async def read_inbox(call: ShimCall) -> list[Json]:
    """Return the prompts that were admitted and are not delivered."""
    admitted = call.seen.admitted.get(call.session_id, [])
    delivered = {message["id"] for message in await call.upstream.messages(call.session_id)} if admitted else set[str]()
    return [item for item in admitted if item["id"] not in delivered]


async def cancel_inbox(call: ShimCall) -> None:
    """1.18.33 can cancel none; one that was delivered is no error."""
    if call.values["inboxID"] in [item["id"] for item in await read_inbox(call)]:
        raise NotInVersion1("a prompt that is taken back")


async def interrupt(call: ShimCall) -> Json:
    """Returns when the session is idle, and says whether it was not."""
    was_active = await call.upstream.is_active(call.session_id)
    found = await call.upstream.messages(call.session_id)
    if was_active:
        call.seen.interrupted.update(message["id"] for message in found[-1:])
    await call.upstream.post(call.path)
    with anyio.move_on_after(IDLE_SECONDS):
        while await call.upstream.is_active(call.session_id):
            await anyio.sleep(0.02)
    return {"interrupted": was_active}


async def read_messages(call: ShimCall) -> list[Json]:
    """Return the messages, oldest first. A session that ends meanwhile is read as one that runs."""
    is_active = await call.upstream.is_active(call.session_id)
    return messages_of(await call.upstream.messages(call.session_id), is_active, call.seen)


async def list_messages(call: ShimCall) -> Json:
    """A page, newest first unless `order` says otherwise. The shim counts pages, as it adds messages."""
    order, offset = json.loads(call.query.get("cursor", f'["{call.query.get("order", "desc")}", 0]'))
    kind = call.query.get("type")
    found = [item for item in await read_messages(call) if kind in (None, item["type"])]
    ordered = found if order == "asc" else found[::-1]
    limit = int(call.query.get("limit", 50))
    page = ordered[max(offset, 0) : max(offset, 0) + limit]
    cursor = {"previous": [order, offset - limit], "next": [order, offset + limit]} if page else {}
    return {"data": page, "cursor": {name: json.dumps(value) for name, value in cursor.items()}}


async def get_message(call: ShimCall) -> Json:
    """A message; one that 1.18.33 does not have is refused there."""
    message_id = call.values["messageID"]
    for message in await read_messages(call):
        if message["id"] == message_id:
            return {"data": message}
    return await call.get()


async def diff(call: ShimCall) -> Json:
    """What a turn without snapshots has changed is not known, and that is an empty list."""
    if any("snapshot" in message for message in await call.upstream.messages(call.session_id)):
        raise NotInVersion1("the changes of a turn")
    return {"data": []}


async def list_permissions(call: ShimCall) -> Json:
    """The requests of a session, or of a location."""
    found = await call.get(**(call.query or {}))
    requests = [renames.permission_of(request) for request in found["data"]]
    return call.at_location(requests) if "sessionID" not in call.values else {"data": requests}


async def reply_permission(call: ShimCall) -> None:
    """The decision is called reply. A rejection ends the calls of all requests of the session, which is noted."""
    decision = call.body["decision"]
    pending = (await call.upstream.get(f"/api/session/{call.session_id}/permission"))["data"]
    await call.upstream.post(call.path, {"reply": decision, **pick(call.body, "message")})
    if decision == "reject" and "message" not in call.body:
        call.seen.rejected_calls.update((item["source"]["callID"], renames.DECLINED) for item in pending)


async def list_forms(call: ShimCall) -> Json:
    """The questions of a session, or of a location, as forms."""
    if "sessionID" in call.values:
        found = await call.upstream.get(f"/api/session/{call.session_id}/question")
        return {"data": [renames.form_of(request) for request in found["data"]]}
    found = await call.upstream.get("/api/question/request", **call.location)
    return call.at_location([renames.form_of(request) for request in found["data"]])


def question_path(call: ShimCall, verb: str) -> str:
    """Return the path of the question of a form."""
    return f"/api/session/{call.session_id}/question/{renames.question_id(call.values['formID'])}/{verb}"


async def reply_form(call: ShimCall) -> None:
    """An answer to a question is a list of labels for each part."""
    await call.upstream.post(question_path(call, "reply"), {"answers": renames.answers_of(call.body["answer"])})


async def cancel_form(call: ShimCall) -> None:
    """Without a message, which ends the turn."""
    if "message" in call.query:
        raise NotInVersion1("a message with which a question is dismissed")
    pending = (await call.upstream.get(f"/api/session/{call.session_id}/question"))["data"]
    await call.upstream.post(question_path(call, "reject"))
    call.seen.rejected_calls.update((item["tool"]["callID"], renames.DISMISSED) for item in pending)


OPERATIONS: Mapping[str, Callable[[ShimCall], Awaitable[Any]]] = {
    "server.info": info,
    "location.get": get_location,
    "agent.list": list_agents,
    "model.list": list_models,
    "model.default": default_model,
    "config.get": get_config,
    "mcp.list": list_servers,
    "vcs.get": get_vcs,
    "vcs.status": list_uncommitted,
    "vcs.diff": diff_working,
    "shell.list": list_shells,
    "fs.list": list_same,
    "fs.find": list_same,
    "fs.read": read_file,
    "session.create": create_session,
    "session.get": get_session,
    "session.list": list_sessions,
    "session.update": update_session,
    "session.remove": remove_session,
    "session.active": list_active,
    "session.switchAgent": send,
    "session.switchModel": send,
    "session.prompt": prompt,
    "session.inbox.list": list_inbox,
    "session.inbox.cancel": cancel_inbox,
    "session.interrupt": interrupt,
    "session.message.list": list_messages,
    "session.message.get": get_message,
    "session.diff": diff,
    "session.permission.list": list_permissions,
    "permission.request.list": list_permissions,
    "session.permission.reply": reply_permission,
    "session.form.list": list_forms,
    "form.list": list_forms,
    "session.form.reply": reply_form,
    "session.form.cancel": cancel_form,
}
"""By operationId. Every other one is 501."""
