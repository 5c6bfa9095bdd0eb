"""The table of MCP clients."""

from __future__ import annotations

from .client import (
    CALL_SECONDS,
    EVERY_REQUEST,
    Client,
    Limits,
    codex_entry,
    codex_token,
    gemini_entry,
    opencode_entry,
    opencode_url,
    standard_entry,
    typed_entry,
)
from .more_clients import MORE_CLIENTS

OPENCODE_FILES = ("opencode.json", "opencode.jsonc")
"""OpenCode reads both."""

COMMON_CLIENTS: dict[str, Client] = {
    client.name: client
    for client in (
        Client(
            name="claude-code",
            title="Claude Code",
            programs=("claude",),
            format="json",
            container="mcpServers",
            # This is Claude Code's state file too, so `claude` changes it where it can be run.
            user=lambda machine: (machine.folder("CLAUDE_CONFIG_DIR", machine.home) / ".claude.json",),
            project=(".mcp.json",),
            stdio=typed_entry,
            http=lambda url: {"type": "http", "url": url},
            variable="${VARIABLE:-}",
            limits=Limits(
                "all",
                "shows the model only names, and loads a tool when the model searches for it",
                full_name="mcp__{server}__{tool}",
            ),
        ),
        Client(
            name="claude-desktop",
            title="Claude Desktop",
            format="json",
            container="mcpServers",
            user=lambda machine: (machine.applications / "Claude" / "claude_desktop_config.json",),
            project=(),
            stdio=standard_entry,
            http=None,
            http_instead="its file accepts commands only; add a URL in Settings > Connectors, or use stdio",
            variable="",
            limits=Limits(
                "essential",
                EVERY_REQUEST,
                environment="only a few variables, such as HOME and PATH, reach a server",
                seconds=60,
            ),
            starts_elsewhere=True,
        ),
        Client(
            name="cursor",
            title="Cursor",
            programs=("cursor",),
            format="json",
            container="mcpServers",
            user=lambda machine: (machine.home / ".cursor" / "mcp.json",),
            project=(".cursor/mcp.json",),
            stdio=standard_entry,
            http=lambda url: {"url": url},
            variable="${env:VARIABLE}",
            limits=Limits("essential", "accepts about 40 tools of all servers together", tools=40, name_length=60),
        ),
        Client(
            name="vscode",
            title="VS Code",
            programs=("code",),
            format="json",
            container="servers",
            user=lambda machine: (machine.applications / "Code" / "User" / "mcp.json",),
            project=(".vscode/mcp.json",),
            stdio=typed_entry,
            http=lambda url: {"type": "http", "url": url},
            variable="${env:VARIABLE}",
            limits=Limits("essential", "sends at most 128 tools of all servers with a request", tools=128),
        ),
        Client(
            name="codex",
            title="Codex",
            programs=("codex",),
            format="toml",
            container="mcp_servers",
            user=lambda machine: (machine.folder("CODEX_HOME", machine.home / ".codex") / "config.toml",),
            project=(".codex/config.toml",),
            stdio=codex_entry,
            http=lambda url: {"url": url, "tool_timeout_sec": CALL_SECONDS},
            authorization=codex_token,
            # It has a list of names instead, `env_vars`.
            variable="VARIABLE",
            limits=Limits(
                "essential",
                EVERY_REQUEST,
                full_name="mcp__{server}__{tool}",
                seconds=CALL_SECONDS,
                environment="only a few variables, such as HOME and PATH, reach a server",
            ),
        ),
        Client(
            name="gemini",
            title="Gemini CLI",
            programs=("gemini",),
            format="json",
            container="mcpServers",
            user=lambda machine: (machine.home / ".gemini" / "settings.json",),
            project=(".gemini/settings.json",),
            stdio=gemini_entry,
            http=lambda url: {"type": "http", "url": url, "timeout": CALL_SECONDS * 1000},
            variable="$VARIABLE",
            limits=Limits(
                "essential",
                EVERY_REQUEST,
                full_name="mcp_{server}_{tool}",
                name_length=63,
                seconds=CALL_SECONDS,
                environment="variables named like *KEY*, *TOKEN*, *SECRET*, *PASSWORD* or *AUTH* do not reach a server",
            ),
        ),
        Client(
            name="windsurf",
            title="Windsurf",
            programs=("windsurf",),
            format="json",
            container="mcpServers",
            user=lambda machine: (machine.home / ".codeium" / "windsurf" / "mcp_config.json",),
            project=(),
            stdio=standard_entry,
            http=lambda url: {"serverUrl": url},
            variable="${env:VARIABLE}",
            limits=Limits("essential", "accepts 100 tools of all servers together", tools=100),
            starts_elsewhere=True,
        ),
        Client(
            name="zed",
            title="Zed",
            programs=("zed", "zeditor"),
            format="json",
            container="context_servers",
            user=lambda machine: (machine.zed / "settings.json",),
            project=(".zed/settings.json",),
            stdio=standard_entry,
            http=lambda url: {"url": url},
            variable="",
            limits=Limits("essential", EVERY_REQUEST),
        ),
        Client(
            name="opencode",
            title="OpenCode",
            programs=("opencode",),
            format="json",
            container="mcp",
            user=lambda machine: tuple(machine.xdg / "opencode" / name for name in OPENCODE_FILES),
            project=OPENCODE_FILES,
            stdio=opencode_entry,
            http=opencode_url,
            variable="{env:VARIABLE}",
            limits=Limits("essential", EVERY_REQUEST),
        ),
    )
}
"""The clients of README.md by their names."""

CLIENTS: dict[str, Client] = COMMON_CLIENTS | MORE_CLIENTS
"""Every client whose file can be edited, by its name."""
