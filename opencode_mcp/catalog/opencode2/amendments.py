"""Corrections to the document of OpenCode 2, which was never run here: the evidence says where each is from.

"1.18.33" is a measurement of the same path in the v2 API of that version, "the document" what the bundled one says,
and "2.0.21" what is reported of that version's source.
"""

from __future__ import annotations

from opencode_mcp.catalog.amendment import Amendment, Paging
from opencode_mcp.openapi.document import ParameterObject, Schema

EVENT_CONTROLS: dict[str, Schema] = {
    "timeout_seconds": {"type": "number", "minimum": 0, "maximum": 300, "default": 10},
    "max_events": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50},
    "types": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Only events of these types, such as session.execution.succeeded.",
    },
}
TICKET_OPERATIONS = ("pty.connect.token", "server.experimental.persistentPty.connectToken")
MCP_OPERATIONS = (
    "experimental.mcp.add",
    "experimental.mcp.connect",
    "experimental.mcp.disconnect",
    "experimental.mcp.remove",
)

FORCE: dict[str, Schema] = {
    "force": {"type": "boolean", "default": False, "description": "Abort other assistants' work as well."}
}

AMENDMENTS: tuple[Amendment, ...] = (
    Amendment(
        operations=(
            "location.reload",
            "debug.location.evict",
            "vcs.init",
            "server.experimental.persistentPty.shutdown",
        ),
        evidence="2.0.21: a location that is rebuilt rejects its pending permissions and cancels its forms, which ends "
        "turns; the document: vcs.init reloads the location, and shutdown ends the terminals of all sessions",
        check="no_other_work",
        controls=FORCE,
    ),
    Amendment(
        operations=("worktree.remove",),
        evidence="1.18.33: deletes the files of a running session; `force` is OpenCode's own, for uncommitted changes",
        check="no_other_work",
    ),
    Amendment(
        operations=("event.subscribe", "session.log"),
        evidence="the document: text/event-stream; 2.0.21: event.subscribe never ends, nor session.log with follow",
        execution_mode="events",
        controls=EVENT_CONTROLS,
        note="Returns the events received until timeout_seconds or max_events.",
    ),
    Amendment(
        operations=("session.log",),
        evidence="2.0.21: `after` is exclusive; without `follow` the log ends with one log.synced",
        note="`after` 0 replays the whole history; pass the last `durable.seq` for what is new.",
    ),
    Amendment(
        operations=("fs.read",),
        evidence="the document: the path is /api/fs/read/* with a literal star and no parameter; 1.18.33: the content "
        "type follows from the file's name",
        path="/api/fs/read/{path}",
        returns_file=True,
        parameters=(
            ParameterObject.model_validate(
                {
                    "name": "path",
                    "in": "path",
                    "required": True,
                    "allowReserved": True,
                    "schema": {"type": "string"},
                    "description": "Relative to the location, such as src/main.py.",
                }
            ),
        ),
    ),
    Amendment(
        operations=TICKET_OPERATIONS,
        evidence="1.18.33: 403 without this undocumented header; the document declares the 403, and no header",
        headers={"x-opencode-ticket": "1"},
    ),
    Amendment(
        operations=MCP_OPERATIONS,
        evidence="the argument `server` chooses one of several OpenCode servers, in the tools of all operations",
        parameters=(
            ParameterObject.model_validate(
                {"name": "server", "argument": "name", "in": "path", "required": True, "schema": {"type": "string"}}
            ),
        ),
    ),
    Amendment(
        operations=("experimental.session.wait",),
        evidence="2.0.21: waits until the session is idle, through pending permissions and forms, without a time limit",
        controls={"timeout_seconds": {"type": "number", "minimum": 0.1, "maximum": 300, "default": 60}},
        note="Waits at most timeout_seconds, also while a permission or a form is pending.",
    ),
    Amendment(
        operations=("session.prompt", "session.synthetic", "session.compact"),
        evidence="the document: 200 at admission; 2.0.21: an unknown model or a provider's error fails the turn later",
        note="Returns when OpenCode accepts it, not when it is done: see experimental_session_wait.",
    ),
    Amendment(
        operations=("session.prompt",),
        evidence="2.0.21: without a configured model, OpenCode's hosted free model is called",
        note="Without a model, in the session or configured (model_default), a hosted free model gets it.",
    ),
    Amendment(
        operations=("session.command", "session.shell", "experimental.session.skill"),
        evidence="the document: 204 without a body",
        note="Returns at once; its messages are in session_message_list.",
    ),
    Amendment(
        operations=("session.message.list",),
        evidence="2.0.8: newest first without `order`; `next` is there on the last page too, before an empty one",
        note="Newest first, 50 by default; ends with an empty page.",
    ),
    Amendment(
        operations=("session.message.list", "session.list"),
        evidence="the document: 400 InvalidCursorError; `order` is that of the first page, and not sent with a cursor",
        paging=Paging("cursor", "cursor.next", only_first=frozenset({"order"})),
        advice={400: "A `cursor` of session_message_list is passed without `order`."},
    ),
    Amendment(
        operations=("session.interrupt",),
        evidence="2.0.8: prompts in the inbox stay there, and run after the next one",
        note="Prompts in session_inbox_list stay there: cancel them too.",
    ),
    Amendment(
        operations=("session.permission.reply",),
        evidence="2.0.21: `always` stores a rule for the project, for all sessions, which outlives the server",
        note="`always` applies to the whole project, permanently (permission_saved_list).",
    ),
    Amendment(
        operations=("session.form.get", "session.form.reply", "session.form.cancel"),
        evidence="2.0.21: the form of an MCP server that asks its user has the sessionID `global`, and is found by the "
        "header that names the location; the document has no such header",
        parameters=(
            ParameterObject.model_validate(
                {
                    "name": "x-opencode-directory",
                    "argument": "directory",
                    "in": "header",
                    "schema": {"type": "string"},
                    "description": "Of a form whose sessionID is `global`: its directory, percent-encoded.",
                }
            ),
        ),
    ),
    Amendment(
        operations=("session.update",),
        evidence="2.0.21: PATCH replaces the list of permissions",
        note="`permissions` replaces all rules.",
    ),
    Amendment(
        operations=("location.reload",),
        evidence="the document: pending permissions and forms are cancelled, of all loaded locations",
        note="Cancels the pending permissions and forms of all projects.",
    ),
    Amendment(
        operations=("server.experimental.persistentPty.list",), evidence="no summary", title="List session terminals"
    ),
    Amendment(
        operations=("server.experimental.persistentPty.create",), evidence="no summary", title="Create session terminal"
    ),
    Amendment(
        operations=("server.experimental.persistentPty.shutdown",), evidence="no summary", title="End session terminals"
    ),
    Amendment(
        operations=("server.experimental.persistentPty.handoff",), evidence="no summary", title="Hand terminals over"
    ),
    Amendment(
        operations=("server.experimental.persistentPty.get",), evidence="no summary", title="Get session terminal"
    ),
    Amendment(
        operations=("server.experimental.persistentPty.update",), evidence="no summary", title="Resize session terminal"
    ),
    Amendment(
        operations=("server.experimental.persistentPty.remove",), evidence="no summary", title="Remove session terminal"
    ),
    Amendment(
        operations=("server.experimental.persistentPty.snapshot",),
        evidence="no summary",
        title="Get a session terminal's screen",
    ),
    Amendment(
        operations=("server.experimental.persistentPty.connectToken",),
        evidence="no summary",
        title="Create session terminal token",
    ),
)
