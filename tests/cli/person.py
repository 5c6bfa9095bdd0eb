"""Somebody with an empty home and an empty project, and what `install` is to write there."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from opencode_mcp.cli import main
from opencode_mcp.cli.clients import CLIENTS

PROGRAM = [sys.executable, "-P", "-m", "opencode_mcp"]
URL = "http://127.0.0.1:8000/mcp"
VIEW = f"{URL}/essential"
SHORT = [*PROGRAM[1:], "--toolsets", "essential"]

USER = {
    "claude-code": ".claude.json",
    "claude-desktop": ".config/Claude/claude_desktop_config.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".config/Code/User/mcp.json",
    "codex": ".codex/config.toml",
    "gemini": ".gemini/settings.json",
    "windsurf": ".codeium/windsurf/mcp_config.json",
    "zed": ".config/zed/settings.json",
    "opencode": ".config/opencode/opencode.json",
}
PROJECT = {
    "claude-code": ".mcp.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".vscode/mcp.json",
    "codex": ".codex/config.toml",
    "gemini": ".gemini/settings.json",
    "zed": ".zed/settings.json",
    "opencode": "opencode.json",
}
STDIO: dict[str, dict[str, Any]] = {
    "claude-code": {"mcpServers": {"opencode": {"type": "stdio", "command": PROGRAM[0], "args": PROGRAM[1:]}}},
    "claude-desktop": {"mcpServers": {"opencode": {"command": PROGRAM[0], "args": SHORT}}},
    "cursor": {"mcpServers": {"opencode": {"command": PROGRAM[0], "args": SHORT}}},
    "vscode": {"servers": {"opencode": {"type": "stdio", "command": PROGRAM[0], "args": SHORT}}},
    "codex": {"mcp_servers": {"opencode": {"command": PROGRAM[0], "args": SHORT, "tool_timeout_sec": 3600}}},
    "gemini": {"mcpServers": {"opencode": {"command": PROGRAM[0], "args": SHORT, "timeout": 3_600_000}}},
    "windsurf": {"mcpServers": {"opencode": {"command": PROGRAM[0], "args": SHORT}}},
    "zed": {"context_servers": {"opencode": {"command": PROGRAM[0], "args": SHORT}}},
    "opencode": {
        "mcp": {"opencode": {"type": "local", "command": [PROGRAM[0], *SHORT], "enabled": True, "timeout": 30_000}}
    },
}
CLEAR = "the token in clear"


def bearer(token: str) -> dict[str, Any]:
    """The header with a token, as most clients take it."""
    return {"headers": {"Authorization": f"Bearer {token}"}}


NAMED = bearer("${env:OPENCODE_MCP_TOKEN}")
CODEX = {"tool_timeout_sec": 3600, "bearer_token_env_var": "OPENCODE_MCP_TOKEN"}
GEMINI = {"timeout": 3_600_000, **bearer("$OPENCODE_MCP_TOKEN")}
OPENCODE = {"enabled": True, "oauth": False, "timeout": 30_000, **bearer("{env:OPENCODE_MCP_TOKEN}")}
HTTP: dict[str, dict[str, Any]] = {
    "claude-code": {"mcpServers": {"opencode": {"type": "http", "url": URL, **bearer("${OPENCODE_MCP_TOKEN:-}")}}},
    "cursor": {"mcpServers": {"opencode": {"url": VIEW, **NAMED}}},
    "vscode": {"servers": {"opencode": {"type": "http", "url": VIEW, **NAMED}}},
    "codex": {"mcp_servers": {"opencode": {"url": VIEW, **CODEX}}},
    "gemini": {"mcpServers": {"opencode": {"type": "http", "url": VIEW, **GEMINI}}},
    "windsurf": {"mcpServers": {"opencode": {"serverUrl": VIEW, **NAMED}}},
    "zed": {"context_servers": {"opencode": {"url": VIEW, **bearer(CLEAR)}}},
    "opencode": {"mcp": {"opencode": {"type": "remote", "url": VIEW, **OPENCODE}}},
}
JSON_BEFORE = """\
// mine
{
    "zebra": [1, 2,],  // first
    /* servers */
    "%s": {
        "other": {"command": "other", "url": "http://x//y"}  // keep
        // and this
    },
    "apple": "\\u00e9"
}
"""
TOML_BEFORE = """\
# mine
zebra = [1,   2]  # first

[%s.other]  # keep
command = "other"

# of apple
[apple]
pie = '''
[%s.opencode]
'''
"""


class Person:
    """Somebody with an empty home and an empty project, who runs the command there."""

    def __init__(self, home: Path, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self.project = project
        self._capsys = capsys

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run the command, and return what it said."""
        assert main(arguments) == code, self._capsys.readouterr()
        output = self._capsys.readouterr()
        return output.out + output.err

    def files(self) -> dict[str, bytes]:
        """Every file with its bytes."""
        root = self.home.parent
        return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def place(person: Person, name: str, scope: str) -> Path:
    """The client's file."""
    return person.home / USER[name] if scope == "user" else person.project / PROJECT[name]


def filled(person: Person, name: str, scope: str) -> tuple[Path, bytes]:
    """The client's file with servers, comments and settings of its own, and its bytes."""
    file, client = place(person, name, scope), CLIENTS[name]
    text = JSON_BEFORE % client.container if client.format == "json" else TOML_BEFORE % ((client.container,) * 2)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode())
    return file, text.encode()


def held(file: Path) -> dict[str, Any]:
    """What a file holds, read by the standard library alone."""
    text = file.read_text()
    return tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
