"""What an OpenCode that this process starts does not inherit: the marks of the assistant's session that started us.

An assistant describes its running session to its children in their environment. An OpenCode that inherits this takes
itself for a part of that session: OPENCODE_WORKSPACE_ID makes it serve that workspace alone, OPENCODE_CLIENT=acp takes
away its question tool, CLAUDE_CODE_SSE_PORT connects it to the editor of another program (all 1.18.33).
Credentials stay, as do the settings of a user.
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
"""What begins so is dropped as well, unless it is a credential."""
CREDENTIALS = ("_KEY", "_PASSWORD", "_SECRET", "_TOKEN")


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what describes the session of the assistant that set it."""
    return {name: value for name, value in environ.items() if not describes_session(name)}


def describes_session(name: str) -> bool:
    """Whether a variable describes the running session of an assistant."""
    if name in SESSION_VARIABLES:
        return True
    return name.startswith(SESSION_PREFIXES) and not name.endswith(CREDENTIALS)
