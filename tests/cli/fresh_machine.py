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
TOOLSET_URL = f"{URL}/essential"
ESSENTIAL_ARGUMENTS = [*PROGRAM[1:], "--toolsets", "essential"]

USER_FILES = {
    "claude-code": ".claude.json",
    "claude-desktop": ".config/Claude/claude_desktop_config.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".config/Code/User/mcp.json",
    "codex": ".codex/config.toml",
    "gemini": ".gemini/settings.json",
    "windsurf": ".codeium/windsurf/mcp_config.json",
    "zed": ".config/zed/settings.json",
    "opencode": ".config/opencode/opencode.json",
    "copilot": ".copilot/mcp-config.json",
    "qwen": ".qwen/settings.json",
    "cline": ".cline/data/settings/cline_mcp_settings.json",
    "continue": ".continue/mcpServers/opencode-mcp.json",
    "kiro": ".kiro/settings/mcp.json",
    "amp": ".config/amp/settings.json",
    "junie": ".junie/mcp/mcp.json",
    "kilo": ".config/kilo/kilo.json",
    "warp": ".warp/.mcp.json",
    "visual-studio": ".mcp.json",
}
PROJECT_FILES = {
    "claude-code": ".mcp.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".vscode/mcp.json",
    "codex": ".codex/config.toml",
    "gemini": ".gemini/settings.json",
    "zed": ".zed/settings.json",
    "opencode": "opencode.json",
    "copilot": ".github/mcp.json",
    "qwen": ".qwen/settings.json",
    "continue": ".continue/mcpServers/opencode-mcp.json",
    "kiro": ".kiro/settings/mcp.json",
    "amp": ".amp/settings.json",
    "junie": ".junie/mcp/mcp.json",
    "kilo": "kilo.json",
    "warp": ".warp/.mcp.json",
    "visual-studio": ".mcp.json",
}
COMMAND: dict[str, Any] = {"command": PROGRAM[0], "args": ESSENTIAL_ARGUMENTS}
STDIO_ENTRIES: dict[str, dict[str, Any]] = {
    "claude-code": {"mcpServers": {"opencode": {"type": "stdio", "command": PROGRAM[0], "args": PROGRAM[1:]}}},
    "claude-desktop": {"mcpServers": {"opencode": {"command": PROGRAM[0], "args": ESSENTIAL_ARGUMENTS}}},
    "cursor": {"mcpServers": {"opencode": {"command": PROGRAM[0], "args": ESSENTIAL_ARGUMENTS}}},
    "vscode": {"servers": {"opencode": {"type": "stdio", "command": PROGRAM[0], "args": ESSENTIAL_ARGUMENTS}}},
    "codex": {
        "mcp_servers": {"opencode": {"command": PROGRAM[0], "args": ESSENTIAL_ARGUMENTS, "tool_timeout_sec": 3600}}
    },
    "gemini": {"mcpServers": {"opencode": {"command": PROGRAM[0], "args": ESSENTIAL_ARGUMENTS, "timeout": 3_600_000}}},
    "windsurf": {"mcpServers": {"opencode": {"command": PROGRAM[0], "args": ESSENTIAL_ARGUMENTS}}},
    "zed": {"context_servers": {"opencode": {"command": PROGRAM[0], "args": ESSENTIAL_ARGUMENTS}}},
    "opencode": {
        "mcp": {
            "opencode": {
                "type": "local",
                "command": [PROGRAM[0], *ESSENTIAL_ARGUMENTS],
                "enabled": True,
                "timeout": 30_000,
            }
        }
    },
    "copilot": {"mcpServers": {"opencode": {"type": "local", **COMMAND, "tools": ["*"], "timeout": 3_600_000}}},
    "qwen": {"mcpServers": {"opencode": {**COMMAND, "timeout": 3_600_000}}},
    "cline": {"mcpServers": {"opencode": {**COMMAND, "timeout": 3600}}},
    "continue": {"mcpServers": {"opencode": {"type": "stdio", **COMMAND}}},
    "kiro": {"mcpServers": {"opencode": COMMAND}},
    "amp": {"amp.mcpServers": {"opencode": COMMAND}},
    "junie": {"mcpServers": {"opencode": COMMAND}},
    "kilo": {
        "mcp": {
            "opencode": {
                "type": "local",
                "command": [PROGRAM[0], *ESSENTIAL_ARGUMENTS],
                "enabled": True,
                "timeout": 30_000,
            }
        }
    },
    "warp": {"mcpServers": {"opencode": COMMAND}},
    "visual-studio": {"servers": {"opencode": {"type": "stdio", **COMMAND}}},
}
PLAIN_TOKEN = "the token in clear"


def bearer(token: str) -> dict[str, Any]:
    """The header with a token, as most clients take it."""
    return {"headers": {"Authorization": f"Bearer {token}"}}


TOKEN_BY_NAME = bearer("${env:OPENCODE_MCP_TOKEN}")
TOKEN_BY_VARIABLE = bearer("${OPENCODE_MCP_TOKEN}")
CLEAR = bearer(PLAIN_TOKEN)
COPILOT = {"tools": ["*"], "timeout": 3_600_000, **TOKEN_BY_VARIABLE}
CODEX = {"tool_timeout_sec": 3600, "bearer_token_env_var": "OPENCODE_MCP_TOKEN"}
GEMINI = {"timeout": 3_600_000, **bearer("$OPENCODE_MCP_TOKEN")}
OPENCODE = {"enabled": True, "oauth": False, "timeout": 30_000, **bearer("{env:OPENCODE_MCP_TOKEN}")}
HTTP_ENTRIES: dict[str, dict[str, Any]] = {
    "claude-code": {"mcpServers": {"opencode": {"type": "http", "url": URL, **bearer("${OPENCODE_MCP_TOKEN:-}")}}},
    "cursor": {"mcpServers": {"opencode": {"url": TOOLSET_URL, **TOKEN_BY_NAME}}},
    "vscode": {"servers": {"opencode": {"type": "http", "url": TOOLSET_URL, **TOKEN_BY_NAME}}},
    "codex": {"mcp_servers": {"opencode": {"url": TOOLSET_URL, **CODEX}}},
    "gemini": {"mcpServers": {"opencode": {"type": "http", "url": TOOLSET_URL, **GEMINI}}},
    "windsurf": {"mcpServers": {"opencode": {"serverUrl": TOOLSET_URL, **TOKEN_BY_NAME}}},
    "zed": {"context_servers": {"opencode": {"url": TOOLSET_URL, **bearer(PLAIN_TOKEN)}}},
    "opencode": {"mcp": {"opencode": {"type": "remote", "url": TOOLSET_URL, **OPENCODE}}},
    "copilot": {"mcpServers": {"opencode": {"type": "http", "url": TOOLSET_URL, **COPILOT}}},
    "qwen": {"mcpServers": {"opencode": {"httpUrl": TOOLSET_URL, **GEMINI}}},
    "cline": {"mcpServers": {"opencode": {"type": "streamableHttp", "url": TOOLSET_URL, "timeout": 3600, **CLEAR}}},
    "continue": {"mcpServers": {"opencode": {"type": "http", "url": TOOLSET_URL, **CLEAR}}},
    "kiro": {"mcpServers": {"opencode": {"url": TOOLSET_URL, **TOKEN_BY_VARIABLE}}},
    "amp": {"amp.mcpServers": {"opencode": {"url": TOOLSET_URL, **TOKEN_BY_VARIABLE}}},
    "kilo": {"mcp": {"opencode": {"type": "remote", "url": TOOLSET_URL, **OPENCODE}}},
    "warp": {"mcpServers": {"opencode": {"url": TOOLSET_URL, **CLEAR}}},
    "visual-studio": {"servers": {"opencode": {"type": "http", "url": TOOLSET_URL, **CLEAR}}},
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


class FreshMachine:
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

    def paths(self) -> set[Path]:
        """Every file and folder in the home and in the project."""
        return {*self.home.rglob("*"), *self.project.rglob("*")}


def client_file(machine: FreshMachine, name: str, scope: str) -> Path:
    """The client's file."""
    return machine.home / USER_FILES[name] if scope == "user" else machine.project / PROJECT_FILES[name]


def write_client_file(machine: FreshMachine, name: str, scope: str) -> tuple[Path, bytes]:
    """The client's file with servers, comments and settings of its own, and its bytes."""
    file, client = client_file(machine, name, scope), CLIENTS[name]
    text = JSON_BEFORE % client.container if client.format == "json" else TOML_BEFORE % ((client.container,) * 2)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode())
    return file, text.encode()


def read_client_file(file: Path) -> dict[str, Any]:
    """What a file holds, read by the standard library alone."""
    text = file.read_text()
    return tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
