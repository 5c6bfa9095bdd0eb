"""Sixty calls as models write them, with the names of other APIs, text for values, and shapes of other tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

P = "?directory=%2Fproject"
PART = {"type": "text", "text": "hi"}


@dataclass(frozen=True, slots=True)
class Sent:
    """A call that is carried out: the request of an operation, with its body."""

    request: str
    body: Any = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A call that is carried out: the arguments that a task tool or a gateway tool takes."""

    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that is refused: the words without which the next call would be a guess, and that call.

    `tool` is the next call's, "" for the same one.
    """

    words: tuple[str, ...]
    repaired: Mapping[str, Any]
    tool: str = ""


Row = tuple[str, Mapping[str, Any], Sent | Taken | Refused]

TASKS: tuple[Row, ...] = (
    ("run_task", {"prompt": "x", "timeout_seconds": "30"}, Taken({"prompt": "x", "timeout_seconds": 30})),
    ("run_task", {"prompt": "x", "worktree": "true"}, Taken({"prompt": "x", "worktree": True})),
    ("run_task", {"prompt": "x", "files": "shot.png"}, Taken({"prompt": "x", "files": ["shot.png"]})),
    ("run_task", {"prompt": "x", "files": '["a.py", "b.py"]'}, Taken({"prompt": "x", "files": ["a.py", "b.py"]})),
    (
        "run_task",
        {"prompt": "x", "agent": "", "model": "", "directory": None},
        Taken({"prompt": "x", "directory": None}),
    ),
    ("run_task", {"prompt": "x", "sessionID": "ses_1"}, Taken({"prompt": "x", "session_id": "ses_1"})),
    ("run_task", {"prompt": "x", "permissions": "Allow"}, Taken({"prompt": "x", "permissions": "allow"})),
    ("run_task", {"prompt": "x", "model": {"providerID": "a", "modelID": "b"}}, Taken({"prompt": "x", "model": "a/b"})),
    (
        "run_task",
        {"prompt": "x", "toolCallId": "c", "sessionId": "5f2", "action": "sendMessage", "chatInput": "hi"},
        Taken({"prompt": "x"}),
    ),
    ("start_task", {"arguments": {"prompt": "x"}}, Taken({"prompt": "x"})),
    ("run_tasks", {"tasks": ["x", "y"]}, Taken({"tasks": [{"prompt": "x"}, {"prompt": "y"}]})),
    (
        "run_tasks",
        {"tasks": '[{"prompt": "x"}]', "timeout_seconds": 5.0},
        Taken({"tasks": [{"prompt": "x"}], "timeout_seconds": 5}),
    ),
    ("wait_for_tasks", {"session_ids": "ses_1"}, Taken({"session_ids": ["ses_1"]})),
    ("wait_for_tasks", {"session_id": "ses_1", "until": "All"}, Taken({"session_ids": ["ses_1"], "until": "all"})),
    ("wait_for_tasks", {"sessionIDs": ["ses_1"]}, Taken({"session_ids": ["ses_1"]})),
    ("report_task", {"sessionId": "ses_1", "task_progress": "- [x] start"}, Taken({"session_id": "ses_1"})),
    (
        "answer_question",
        {"request_id": "que_1", "answers": ["Blue"]},
        Taken({"request_id": "que_1", "answers": [["Blue"]]}),
    ),
    (
        "answer_question",
        {"request_id": "que_1", "answers": "Blue"},
        Taken({"request_id": "que_1", "answers": [["Blue"]]}),
    ),
    ("answer_question", {"requestID": "que_1", "reject": "true"}, Taken({"request_id": "que_1", "reject": True})),
    ("answer_permission", {"requestID": "per_1", "reply": "once"}, Taken({"request_id": "per_1", "reply": "once"})),
    ("collect_changes", {"session_id": "ses_1", "apply": "True"}, Taken({"session_id": "ses_1", "apply": True})),
    ("read_transcript", {"session_id": "ses_1", "limit": "10"}, Taken({"session_id": "ses_1", "limit": 10})),
    ("run_task", {"prompt": "x", "timeout": 30}, Refused(("timeout_seconds",), {"prompt": "x", "timeout_seconds": 30})),
    ("run_task", {"task": "x"}, Refused(("task: unknown; did you mean prompt?", "prompt: missing"), {"prompt": "x"})),
    (
        "run_task",
        {"prompt": "x", "model": "smart"},
        Refused(("provider/model, such as",), {"prompt": "x", "model": "a/smart"}),
    ),
    (
        "run_task",
        {"prompt": "x", "permissions": "always"},
        Refused(("report, ask, allow or reject",), {"prompt": "x", "permissions": "allow"}),
    ),
    (
        "run_task",
        {"prompt": "x", "files": "a.py, b.py"},
        Refused(("files: must be a list", '"files": ["'), {"prompt": "x", "files": ["a.py", "b.py"]}),
    ),
    (
        "answer_permission",
        {"request_id": "per_1", "reply": "allow"},
        Refused(("once, always or reject",), {"request_id": "per_1", "reply": "once"}),
    ),
    (
        "answer_permission",
        {"request_id": "", "reply": "once"},
        Refused(("permission request", "starts with per"), {"request_id": "per_1", "reply": "once"}),
    ),
    (
        "answer_question",
        {"request_id": "que_1"},
        Refused(("answers", "reject: true"), {"request_id": "que_1", "answers": [["Blue"]]}),
    ),
    (
        "collect_changes",
        {"session_id": "ses_1", "format": "diff"},
        Refused(("stat or patch",), {"session_id": "ses_1", "format": "patch"}),
    ),
    (
        "search_operations",
        {"query": "rename", "limit": "3", "random_string": "x"},
        Taken({"query": "rename", "limit": 3}),
    ),
)
"""Calls of task tools."""

GATEWAY: tuple[Row, ...] = (
    (
        "read_operation",
        {"operation": "session_get", "arguments": {"session_id": "ses_1"}},
        Sent(f"GET /session/ses_1{P}"),
    ),
    ("read_operation", {"operation": "session_get", "sessionID": "ses_1"}, Sent(f"GET /session/ses_1{P}")),
    (
        "read_operation",
        {"operation": "session.get", "arguments": '{"sessionID": "ses_1"}'},
        Sent(f"GET /session/ses_1{P}"),
    ),
    ("read_operation", {"operation": "config_get"}, Sent(f"GET /config{P}")),
    ("read_operation", {"operation": "find_text", "pattern": "TODO"}, Sent(f"GET /find?pattern=TODO&{P[1:]}")),
    (
        "change_operation",
        {"operation": "session_revert", "arguments": {"session_id": "ses_1", "message_id": "msg_1"}},
        Sent(f"POST /session/ses_1/revert{P}", {"messageID": "msg_1"}),
    ),
    (
        "change_operation",
        {"operation": "session_update", "arguments": {"sessionID": "ses_1", "body": {"title": "t"}}},
        Sent(f"PATCH /session/ses_1{P}", {"title": "t"}),
    ),
    (
        "change_operation",
        {"operation": "auth_set", "arguments": {"providerID": "a", "type": "api", "key": "k"}},
        Sent("PUT /auth/a", {"type": "api", "key": "k"}),
    ),
    (
        "change_operation",
        {"operation": "auth_set", "arguments": {"provider_id": "a", "body": '{"type": "api", "key": "k"}'}},
        Sent("PUT /auth/a", {"type": "api", "key": "k"}),
    ),
    (
        "change_operation",
        {"operation": "session_prompt_async", "arguments": {"sessionID": "ses_1", "parts": "hi"}},
        Sent(f"POST /session/ses_1/prompt_async{P}", {"parts": [PART]}),
    ),
    (
        "change_operation",
        {"operation": "session_prompt_async", "arguments": {"sessionID": "ses_1", "parts": [PART], "model": "a/b/c"}},
        Sent(f"POST /session/ses_1/prompt_async{P}", {"parts": [PART], "model": {"providerID": "a", "modelID": "b/c"}}),
    ),
    (
        "add_operation",
        {"operation": "session_create", "arguments": {"title": "t", "model": "a/b", "parentID": None}},
        Sent(f"POST /session{P}", {"title": "t", "model": {"providerID": "a", "id": "b"}}),
    ),
    (
        "read_operation",
        {"operation": "vcs_diff"},
        Refused(("mode: missing", '"mode": "git"'), {"operation": "vcs_diff", "arguments": {"mode": "git"}}),
    ),
    (
        "read_operation",
        {"operation": "vcs_diff", "arguments": {"mode": "staged"}},
        Refused(("git or branch",), {"operation": "vcs_diff", "arguments": {"mode": "git"}}),
    ),
    (
        "read_operation",
        {"operation": "file_list"},
        Refused(("path: missing",), {"operation": "file_list", "arguments": {"path": "."}}),
    ),
    (
        "read_operation",
        {"operation": "find_text", "arguments": {"query": "TODO"}},
        Refused(
            ("query: unknown; did you mean pattern?", "pattern: missing"),
            {"operation": "find_text", "arguments": {"pattern": "TODO"}},
        ),
    ),
    (
        "read_operation",
        {"operation": "find_files", "arguments": {"pattern": "*.py"}},
        Refused(
            ("pattern: unknown; did you mean query?", "query: missing"),
            {"operation": "find_files", "arguments": {"query": "*.py"}},
        ),
    ),
    (
        "change_operation",
        {"operation": "worktree_remove", "arguments": {"directory": "/project/w"}},
        Refused(
            ("body: missing", '"body": {"directory": "'),
            {"operation": "worktree_remove", "arguments": {"body": {"directory": "/project/w"}}},
        ),
    ),
    (
        "add_operation",
        {"operation": "session_share", "arguments": {"sessionID": "ses_1"}},
        Refused(
            ("change_operation", '{"operation": "session_share", "arguments": {"sessionID": "ses…"}}'),
            {"operation": "session_share", "arguments": {"sessionID": "ses_1"}},
            "change_operation",
        ),
    ),
    (
        "read_operation",
        {"operation": "session_rename", "sessionID": "ses_1"},
        Refused(
            ("unknown", "session_update"),
            {"operation": "session_update", "arguments": {"sessionID": "ses_1", "title": "t"}},
            "change_operation",
        ),
    ),
)
"""Calls of operations through the gateway."""

DIRECT: tuple[Row, ...] = (
    ("session_list", {"limit": "5", "search": None}, Sent(f"GET /session?limit=5&{P[1:]}")),
    ("find_text", {"pattern": "x", "directory": ""}, Sent(f"GET /find?pattern=x&{P[1:]}")),
    ("session_message", {"session_id": "ses_1", "message-id": "msg_1"}, Sent(f"GET /session/ses_1/message/msg_1{P}")),
    (
        "mcp_add",
        {"name": "m", "config": '{"type": "local", "command": ["x"]}'},
        Sent(f"POST /mcp{P}", {"name": "m", "config": {"type": "local", "command": ["x"]}}),
    ),
    ("config_update", {"model": "a/b"}, Sent(f"PATCH /config{P}", {"model": "a/b"})),
    (
        "question_reply",
        {"request_id": "que_1", "answers": ["Blue"]},
        Sent(f"POST /question/que_1/reply{P}", {"answers": [["Blue"]]}),
    ),
    ("session_list", {"roots": "yes"}, Refused(("true or false",), {"roots": True})),
    (
        "session_prompt_async",
        {"sessionID": "ses_1", "prompt": "hi"},
        Refused(
            ("prompt: unknown; did you mean parts?", "parts: missing", '"type": "text"'),
            {"sessionID": "ses_1", "parts": [PART]},
        ),
    ),
)
"""Calls of operations that are listed as tools."""

NATURAL_CALLS = (*TASKS, *GATEWAY, *DIRECT)
