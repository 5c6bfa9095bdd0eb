"""Corrections to the document of OpenCode 1. Every fact was measured on 1.18.33; the tests call each operation that it
names."""

from __future__ import annotations

from opencode_mcp.catalog.amendment import Amendment, Paging, query_parameter
from opencode_mcp.openapi.document import ParameterObject, Schema

LOCATION_SCHEMA: Schema = {
    "type": "object",
    "properties": {"directory": {"type": "string"}, "workspace": {"type": "string"}},
    "additionalProperties": False,
}
EVENT_STREAMS = ("event.subscribe", "global.event", "v2.event.subscribe", "v2.session.events")
TERMINAL_OPERATIONS = ("pty.connect", "v2.pty.connect")
PROMPT_OPERATIONS = ("session.prompt", "session.prompt_async", "session.command")
BLOCKING_OPERATIONS = ("session.prompt", "session.command", "session.shell", "session.summarize", "session.init")
UNKNOWN_MODEL_ADVICE = (
    "A 500 without details usually means an unknown model or agent (config_providers and app_agents list them). The "
    "session keeps a bad model: name a valid `model` in the next prompt."
)
WORKSPACES_ADVICE = (
    "Workspaces need an OpenCode started with OPENCODE_EXPERIMENTAL_WORKSPACES=true; this server "
    "starts OpenCode that way."
)

AMENDMENTS: tuple[Amendment, ...] = (
    Amendment(
        operations=EVENT_STREAMS,
        evidence="text/event-stream that never ends; v2.session.events sends no headers before its first event",
        execution_mode="events",
        controls={
            "timeout_seconds": {"type": "number", "minimum": 0, "maximum": 300, "default": 10},
            "max_events": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50},
            "types": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Only events of these types, such as session.status.",
            },
        },
        note="Returns the events received until timeout_seconds or max_events.",
    ),
    Amendment(
        operations=("session.list", "experimental.session.list"),
        evidence="by time.updated, newest first, 100 without `limit`; x-next-cursor is the time of the last one",
        lists_sessions=True,
    ),
    Amendment(
        operations=("experimental.session.list",),
        evidence="with `directory` only sessions of exactly this directory, without it those of all projects",
        covers_all_directories=True,
        paging=Paging("cursor", "next_cursor, a time"),
    ),
    Amendment(
        operations=("session.list",),
        evidence="without scope=project only sessions of exactly this directory, so none of its worktrees; with it, in "
        "a folder without git, those of every such folder",
        check="worktrees_included",
        parameters=(query_parameter("scope", {"type": "string", "enum": ["project", "directory"]}),),
        note="Includes sessions in its worktrees.",
    ),
    Amendment(
        operations=("v2.session.events",),
        evidence="?after=SEQ replays the durable events of the session, unlike every other stream",
        note="`after` 0 replays its whole history.",
        parameters=(query_parameter("after", {"type": ["string", "integer"]}),),
    ),
    Amendment(
        operations=TERMINAL_OPERATIONS,
        evidence="a WebSocket, documented as a GET that answers 200 with a JSON boolean; the server sends the "
        'replay as text frames, then a binary frame \\x00{"cursor":N}, then live output; N counts UTF-16 units',
        execution_mode="terminal",
        check="terminal_runs",
        parameters=(
            query_parameter("cursor", {"type": "integer", "minimum": -1, "default": 0}),
            query_parameter("ticket", {"type": "string"}),
        ),
        controls={
            "input": {
                "type": "string",
                "description": "Text to type into the terminal; end a command with a newline.",
            },
            "until": {"type": "string", "description": "Return as soon as the new output contains this text."},
            "timeout_seconds": {"type": "number", "minimum": 0, "maximum": 300, "default": 10},
            "max_chars": {"type": "integer", "minimum": 1, "maximum": 200_000, "default": 20_000},
        },
    ),
    Amendment(
        operations=("pty.get", "pty.list", "pty.create"),
        evidence="1.18.33: an opaque 500 for a directory that does not exist",
        advice={500: "Usually `directory`, or `cwd` or `command` of pty_create, does not exist."},
    ),
    Amendment(
        operations=("v2.pty.connect",),
        evidence="declares the literal names location[directory] and location[workspace], which no client accepts "
        "as property keys; they are the deepObject `location` of every other v2 operation",
        dropped_parameters=("location[directory]", "location[workspace]"),
        parameters=(
            ParameterObject.model_validate(
                {"name": "location", "in": "query", "style": "deepObject", "schema": LOCATION_SCHEMA}
            ),
        ),
    ),
    Amendment(
        operations=("pty.connectToken", "v2.pty.connectToken"),
        evidence="403 without this undocumented header",
        headers={"x-opencode-ticket": "1"},
    ),
    Amendment(
        operations=("v2.fs.read",),
        evidence="the path is /api/fs/read/* with a literal star and no parameter; the content type follows from "
        "the file's name (application/json, text/html, image/png, video/mp2t for .ts); 500 without such a file",
        path="/api/fs/read/{path}",
        returns_file=True,
        advice={500: "The file does not exist, or is a directory."},
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
        operations=("session.messages", "experimental.session.list"),
        evidence="the cursor of the next page is only in this undocumented response header",
        returned_headers={"x-next-cursor": "next_cursor"},
    ),
    Amendment(
        operations=("session.messages",),
        evidence="`before` without `limit` is a 400 with an empty message",
        note="For the previous page, pass `limit` and `before` = next_cursor.",
        paging=Paging("before", "next_cursor"),
        advice={400: "`before` needs `limit`."},
    ),
    Amendment(
        operations=("tui.control.next",),
        evidence="blocks until a TUI request is queued, without a time limit",
        controls={"timeout_seconds": {"type": "number", "minimum": 0.1, "maximum": 300, "default": 10}},
        note="Waits at most timeout_seconds.",
    ),
    Amendment(
        operations=("mcp.auth.authenticate",),
        evidence="waits for a person in a browser",
        controls={"timeout_seconds": {"type": "number", "minimum": 1, "maximum": 600, "default": 300}},
    ),
    Amendment(
        operations=BLOCKING_OPERATIONS,
        evidence="answers once, at the end, without a byte before; a client that goes away stops nothing, "
        "only session.abort does; the model's error is a 200 with info.error",
        execution_mode="blocking",
        check="reply_succeeded",
        note="Blocks until done; cancelling aborts.",
    ),
    Amendment(
        operations=(*PROMPT_OPERATIONS, "session.shell", "session.init", "session.summarize"),
        evidence="HTTP 500 UnknownError with a reference number; the reason is only in the server's log",
        advice={500: UNKNOWN_MODEL_ADVICE},
    ),
    Amendment(
        operations=("session.prompt_async",),
        evidence="204 also for an unknown model; the error is only an event",
        note="Success means that OpenCode accepted the prompt, not that it runs: see session_status.",
    ),
    Amendment(
        operations=("find.text",),
        evidence="500 when no rg is on PATH and none can be downloaded, remembered until a restart; also for a "
        "regular expression that does not compile, and for a match in a line that is not UTF-8 (1.18.33)",
        note="At most 10 matches. `pattern` is a regular expression.",
        check="search_explained",
    ),
    Amendment(
        operations=("find.symbols", "file.status"),
        evidence="1.18.33: the routes' handlers return [], whatever there is; no language server is asked",
        note="Always empty in OpenCode 1.18.",
        check="empty_note",
        empty_note=(
            "OpenCode 1.18 always returns [] here, with or without a language server. Use find_text to search; "
            "vcs_status lists changed files."
        ),
    ),
    Amendment(
        operations=("find.files",),
        evidence="a query value is text on the wire, and `roots` elsewhere takes a boolean too",
        parameters=(query_parameter("dirs", {"type": ["string", "boolean"], "enum": ["true", "false", True, False]}),),
    ),
    Amendment(
        operations=("v2.session.list", "v2.session.messages"),
        evidence="`order` beside a cursor is a 400; cursor.next is there on the last page too, before an empty one",
        paging=Paging("cursor", "cursor.next", only_first=frozenset({"order"})),
    ),
    Amendment(
        operations=("v2.session.history",),
        evidence="numbers declared as strings; `after` is exclusive, and the events have theirs in durable.seq",
        paging=Paging("after", "sequence"),
        parameters=(
            query_parameter("limit", {"type": ["string", "integer"]}),
            query_parameter("after", {"type": ["string", "integer"]}),
        ),
    ),
    Amendment(
        operations=("v2.fs.find",),
        evidence="a number declared as a string",
        parameters=(query_parameter("limit", {"type": ["string", "integer"]}),),
    ),
    Amendment(
        operations=("file.read",),
        evidence='a missing file is 200 with content ""; outside the project or not UTF-8 is an opaque 500',
        check="file_exists",
        advice={500: "The path is outside the project, or a directory."},
    ),
    Amendment(
        operations=("file.read",),
        evidence="1.18.33: 500 for a file that is not UTF-8 and has no NUL byte, a PDF often among them",
        check="read_explained",
    ),
    Amendment(
        operations=("file.list",),
        evidence="a missing directory, or a file, is an opaque 500",
        advice={500: "The path is not a directory, or is outside the project."},
    ),
    Amendment(
        operations=("session.diff",),
        evidence="always [] without messageID, although the document has it optional",
        note="Always empty without messageID.",
    ),
    Amendment(
        operations=("session.deleteMessage",),
        evidence="a prompt that is deleted as soon as its turn is over is there again 0.1 s later, written with the "
        "turn's summary; after 0.5 s, and of an answer, the deletion lasts",
        note="A prompt deleted right after its turn may reappear: check with session_messages.",
    ),
    Amendment(
        operations=("session.create",),
        evidence="1.18.33: every later request decodes the session's directory once more, whatever `directory` it is "
        "given: a session of /a%41b works in /aAb where there is one, and fails where there is none",
        misreads_directory=True,
    ),
    Amendment(
        operations=("experimental.session.background",),
        evidence="false while a subagent runs, read in the code: always, unless OpenCode has this variable",
        note="Returns false unless OpenCode runs with OPENCODE_EXPERIMENTAL_BACKGROUND_SUBAGENTS=true.",
    ),
    Amendment(
        operations=("session.abort",),
        evidence="200 true for idle and for unknown sessions as well",
        check="session_exists",
    ),
    Amendment(
        operations=("session.share",),
        evidence="500 UnknownError when sharing is disabled",
        advice={500: "Sharing is disabled in OpenCode's configuration."},
    ),
    Amendment(
        operations=("config.update",),
        evidence="writes config.json into the project, which is never read back, and disposes the instance",
        note="Aborts the project's running prompts and terminals; writes config.json into the project.",
    ),
    Amendment(
        operations=("global.config.update", "instance.dispose", "global.dispose"),
        evidence="disposing aborts prompts, shells and terminals",
        note="Aborts running prompts and terminals.",
    ),
    Amendment(
        operations=(
            "config.update",
            "global.config.update",
            "instance.dispose",
            "global.dispose",
            "project.initGit",
            "worktree.remove",
            "worktree.reset",
            "experimental.workspace.remove",
        ),
        evidence="beside a running shell command of another bridge: these abort it (project.initGit where there is no "
        "repository yet, global.config.update if something changes), or delete its session "
        "(experimental.workspace.remove) or files that it has written (worktree.reset); instance.dispose and "
        "config.update of another directory do not, nor do auth.set, auth.remove, mcp.add, mcp.connect, "
        "mcp.disconnect, project.update, worktree.create, experimental.workspace.create and .warp, sync.steal; "
        "operations that name a session, terminal or request are meant for that one, of any bridge",
        check="no_other_work",
        controls={
            "force": {"type": "boolean", "default": False, "description": "Abort other assistants' work as well."}
        },
    ),
    Amendment(
        operations=("auth.set",),
        evidence="type wellknown with an unreachable URL: after the next dispose every instance route is 500",
        note="Type `wellknown` with an unreachable URL makes the server unusable.",
    ),
    Amendment(
        operations=(
            "permission.list",
            "permission.reply",
            "question.list",
            "question.reply",
            "question.reject",
        ),
        evidence="answers only for the instance of `directory`: [] or 404 elsewhere",
        note="Only for `directory`: pass the session's directory.",
    ),
    Amendment(
        operations=("permission.list", "question.list"),
        evidence="[] for every directory but the session's own",
        check="directory_note",
    ),
    Amendment(
        operations=("sync.history.list",),
        evidence="400 without a body; {} gives everything",
        optional_body=True,
    ),
    Amendment(
        operations=("experimental.workspace.create",),
        evidence="without OPENCODE_EXPERIMENTAL_WORKSPACES: 400 after 5 s, and a leaked git worktree",
        note="Fails unless the server has OPENCODE_EXPERIMENTAL_WORKSPACES=true.",
        advice={400: WORKSPACES_ADVICE},
    ),
    Amendment(
        operations=("sync.steal",),
        evidence="400 without ?workspace=, which the document has as optional",
        parameters=(query_parameter("workspace", {"type": "string"}, required=True),),
        advice={400: f"`workspace` is the workspace that becomes the session's owner. {WORKSPACES_ADVICE}"},
    ),
    Amendment(
        operations=("v2.session.wait", "v2.session.compact"),
        evidence="503 in every case",
        note="Not available in OpenCode 1.18: always 503.",
        advice={503: "OpenCode 1.x does not implement this. v2_session_active lists the running v2 sessions."},
    ),
    Amendment(
        operations=("v2.session.prompt",),
        evidence="ignores OPENCODE_CONFIG_CONTENT: without a configuration file the hosted free model is called; "
        "returns at admission; v1 and v2 histories of one session are separate; a location is loaded by its "
        "first request, and a prompt that comes before its models are known is admitted and never answered",
        note=(
            "Returns when OpenCode accepts the prompt; without the model in v2_model_list it gets no reply. session_* "
            "and task tools do not see v2 messages; OPENCODE_CONFIG_CONTENT is ignored."
        ),
    ),
    Amendment(operations=("v2.projectCopy.create",), evidence="no summary", title="Create project copy"),
    Amendment(operations=("v2.projectCopy.remove",), evidence="no summary", title="Remove project copy"),
    Amendment(
        operations=("v2.projectCopy.remove",),
        evidence="deletes the files of a running session; `force` is OpenCode's own, for uncommitted changes",
        check="no_other_work",
    ),
    Amendment(operations=("v2.projectCopy.refresh",), evidence="no summary", title="Refresh project copies"),
    Amendment(operations=("mcp.connect",), evidence="no summary", title="Connect MCP server"),
    Amendment(operations=("mcp.disconnect",), evidence="no summary", title="Disconnect MCP server"),
    Amendment(operations=("part.delete",), evidence="no summary", title="Delete message part"),
    Amendment(operations=("part.update",), evidence="no summary", title="Update message part"),
    Amendment(
        operations=("v2.session.revert.clear", "v2.session.revert.commit"),
        evidence="an empty description",
        note="Call after v2_session_revert_stage.",
    ),
)
