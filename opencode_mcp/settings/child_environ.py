"""The environment of an OpenCode process: this process's environment without the variables of an assistant's session.

An assistant describes its running session to child processes in environment variables. An OpenCode that inherits them
behaves as part of that session: OPENCODE_WORKSPACE_ID limits it to one workspace, OPENCODE_CLIENT=acp removes its
question tool, CLAUDE_CODE_SSE_PORT connects it to the editor of another program (all seen in 1.18.33).
Credentials and the user's own settings stay.
"""

from __future__ import annotations

from collections.abc import Mapping

SESSION_VARIABLES = frozenset(
    {
        # Several assistants mark what they start with these.
        "AGENT",
        "AI_AGENT",
        # Claude Code
        "CLAUDECODE",
        "CLAUDE_ENV_FILE",
        "CLAUDE_PLUGIN_DATA",
        "CLAUDE_PLUGIN_ROOT",
        "CLAUDE_PROJECT_DIR",
        "CLAUDE_CODE_SESSION_ACCESS_TOKEN",
        # Codex, GitHub Copilot CLI, Cursor, Gemini CLI, Qwen Code, Goose
        "CODEX_INTERNAL_ORIGINATOR_OVERRIDE",
        "CODEX_THREAD_ID",
        "PLUGIN_DATA",
        "PLUGIN_ROOT",
        "COPILOT_PLUGIN_DATA",
        "COPILOT_PLUGIN_ROOT",
        "COPILOT_AGENT_SESSION_ID",
        "CURSOR_AGENT",
        "CURSOR_TRACE_ID",
        "GEMINI_CLI",
        "QWEN_CODE",
        "AGENT_SESSION_ID",
        # OpenCode: set by its process, its terminals, its front ends and its workspaces
        "OPENCODE",
        "OPENCODE_CLIENT",
        "OPENCODE_EDITOR_SSE_PORT",
        "OPENCODE_FAST_BOOT",
        "OPENCODE_PID",
        "OPENCODE_PROCESS_ROLE",
        "OPENCODE_ROUTE",
        "OPENCODE_RUN_ID",
        "OPENCODE_SESSION_ID",
        "OPENCODE_TERMINAL",
        "OPENCODE_WORKSPACE_ID",
    }
)
SESSION_PREFIXES = ("CLAUDE_CODE_", "GEMINI_CLI_IDE_")
"""Variables with these prefixes are dropped as well, except credentials."""
CREDENTIAL_SUFFIXES = ("_KEY", "_PASSWORD", "_SECRET", "_TOKEN")


def without_session_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the variables that describe an assistant's session."""
    return {name: value for name, value in environ.items() if not describes_session(name)}


def describes_session(name: str) -> bool:
    """Whether an assistant sets this variable to describe its running session."""
    if name in SESSION_VARIABLES:
        return True
    return name.startswith(SESSION_PREFIXES) and not name.endswith(CREDENTIAL_SUFFIXES)
