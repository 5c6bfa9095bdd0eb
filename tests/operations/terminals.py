"""What is attached to a project: terminals, a TUI, MCP servers."""

from __future__ import annotations

from .scenario import NO_CONTENT, OPAQUE, TRUE, Fails, Has, KeepValue, Like, NoAnswer, OperationScenario, Step

ANSWERED = {
    "ptyID": "$pty",
    "input": "echo $((40 + 2)) is the answer\n",
    "until": "42 is the answer",
    "timeout_seconds": 60,
}

TERMINALS = OperationScenario(
    "a terminal from its start to its end",
    (
        Step("pty_create", {"title": "shell"}, {"id": KeepValue("pty"), "status": "running", "cwd": "$project"}),
        Step(
            "pty_connect",
            ANSWERED,
            {"output": Like("42 is the answer"), "cursor": int, "ended": "until"},
        ),
        Step("pty_list", {}, {"result": [{"id": "$pty", "title": "shell"}]}),
        Step(
            "pty_update", {"ptyID": "$pty", "title": "renamed", "size": {"rows": 30, "cols": 100}}, {"title": "renamed"}
        ),
        Step("pty_get", {"ptyID": "$pty"}, {"id": "$pty", "title": "renamed"}),
        Step("pty_connect_token", {"ptyID": "$pty"}, {"ticket": str, "expires_in": 60}),
        Step("pty_remove", {"ptyID": "$pty"}, TRUE),
        Step("pty_get", {"ptyID": "$pty"}, Fails(404, "PtyNotFoundError", "PTY session not found: $pty")),
    ),
)

TERMINALS_V2 = OperationScenario(
    "a terminal of the v2 API",
    (
        Step(
            "v2_pty_create",
            {"title": "shell"},
            {"data": {"id": KeepValue("pty"), "status": "running", "cwd": "$project"}},
        ),
        Step(
            "v2_pty_connect",
            ANSWERED,
            {"output": Like("42 is the answer"), "cursor": int, "ended": "until"},
        ),
        Step("v2_pty_list", {}, {"data": [{"id": "$pty", "title": "shell"}]}),
        Step(
            "v2_pty_update",
            {"ptyID": "$pty", "title": "renamed", "size": {"rows": 30, "cols": 100}},
            {"data": {"title": "renamed"}},
        ),
        Step("v2_pty_get", {"ptyID": "$pty"}, {"data": {"id": "$pty", "title": "renamed"}}),
        Step("v2_pty_connect_token", {"ptyID": "$pty"}, {"data": {"ticket": str, "expires_in": 60}}),
        Step("v2_pty_remove", {"ptyID": "$pty"}, NO_CONTENT),
        Step("v2_pty_get", {"ptyID": "$pty"}, Fails(404, "PtyNotFoundError", "PTY session not found: $pty")),
    ),
)

TUI = OperationScenario(
    "orders to a TUI, which OpenCode takes whether there is one or not",
    (
        Step("tui_append_prompt", {"text": "hello"}, TRUE),
        Step("tui_submit_prompt", {}, TRUE),
        Step("tui_clear_prompt", {}, TRUE),
        Step("tui_open_help", {}, TRUE),
        Step("tui_open_sessions", {}, TRUE),
        Step("tui_open_themes", {}, TRUE),
        Step("tui_open_models", {}, TRUE),
        Step("tui_execute_command", {"command": "session_new"}, TRUE),
        Step("tui_show_toast", {"message": "hello", "variant": "info"}, TRUE),
        Step("tui_publish", {"body": {"type": "tui.prompt.append", "properties": {"text": "hello"}}}, TRUE),
        Step("session_create", {}, {"id": KeepValue("session")}),
        Step("tui_select_session", {"sessionID": "$session"}, TRUE),
        Step("session_delete", {"sessionID": "$session"}, TRUE),
        Step(
            "tui_select_session", {"sessionID": "$session"}, Fails(404, "NotFoundError", "Session not found: $session")
        ),
        # Nothing in this version of OpenCode puts a request on the queue that these two serve.
        Step("tui_control_next", {"timeout_seconds": 0.5}, NoAnswer(0.5)),
        Step("tui_control_response", {"body": {"chosen": 1}}, TRUE),
    ),
)

MCP = OperationScenario(
    "MCP servers of OpenCode's own",
    (
        Step(
            "mcp_add",
            {"name": "tiny", "config": {"type": "local", "command": ["$python", "$tiny_mcp_server"]}},
            {"tiny": {"status": "connected"}},
        ),
        Step("experimental_resource_list", {}, {"tiny:tiny://motto": {"name": "motto", "client": "tiny"}}),
        Step("command_list", {}, {"result": Has({"name": "tiny:greet", "source": "mcp"})}),
        Step("mcp_disconnect", {"name": "tiny"}, TRUE),
        Step("mcp_status", {}, {"tiny": {"status": "disabled"}}),
        Step("mcp_connect", {"name": "tiny"}, TRUE),
        Step("mcp_status", {}, {"tiny": {"status": "connected"}}),
        Step("mcp_auth_start", {"name": "tiny"}, Fails(400, "", "MCP server tiny does not support OAuth")),
        Step("mcp_auth_authenticate", {"name": "tiny"}, Fails(400, "", "MCP server tiny does not support OAuth")),
        # No login is under way that a code could belong to.
        Step("mcp_auth_callback", {"name": "tiny", "code": "none"}, Fails(500, "UnknownError", OPAQUE)),
        Step("mcp_auth_remove", {"name": "tiny"}, {"success": True}),
        Step("mcp_auth_remove", {"name": "none"}, Fails(404, "McpServerNotFoundError", "MCP server not found: none")),
    ),
)

SCENARIOS = (TERMINALS, TERMINALS_V2, TUI, MCP)
