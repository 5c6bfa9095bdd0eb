"""Write the manifests from the package: manifest.json, server.json, and those of the plugins and their marketplaces.

python scripts/write_manifest.py [--check]

opencode_mcp/plugin is the plugin of every client, with the skills, which are written by hand. Clients look for a
marketplace at the root of the repository.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opencode_mcp import __version__
from opencode_mcp.catalog import Catalog
from opencode_mcp.cli.clients import CLIENTS, Launch
from opencode_mcp.cli.clients.entry import setting_flags
from opencode_mcp.settings import Settings
from opencode_mcp.tools import ToolRegistry, select_tools

ROOT = Path(__file__).parent.parent
REPOSITORY_NAME = "io.github.opencode-mcp/opencode-mcp"
AUTHOR = {"name": "The opencode-mcp authors"}
LONG_DESCRIPTION = (
    "Delegate coding tasks to OpenCode: follow the progress, approve permissions, review the diff. Each of the 188 "
    "operations of OpenCode's HTTP API is a tool as well. The first call starts OpenCode, and downloads a copy from "
    "npm if it is not installed."
)
PLUGIN = Path("opencode_mcp/plugin")
PLUGIN_SCHEMAS = "https://agent-plugins.org/schemas/1.0.0"
SERVER_NAME = "opencode"


def user_config() -> dict[str, dict[str, Any]]:
    """Return what a bundle's user can set; an optional key without a default arrives as a literal ${user_config.…}."""
    return {
        "directory": {
            "type": "directory",
            "title": "Project directory",
            "description": "The project that OpenCode works in unless a call names another one.",
            "default": "${HOME}",
        },
        "url": {
            "type": "string",
            "title": "OpenCode URL",
            "description": "Use a running OpenCode instead of starting one.",
            "default": "",
        },
        "password": {
            "type": "string",
            "title": "OpenCode password",
            "description": "Password of the OpenCode server at that URL.",
            "sensitive": True,
            "default": "",
        },
        "toolsets": {
            "type": "string",
            "title": "Toolsets",
            "description": "Comma-separated toolsets, such as tasks,session,find; or all, or essential.",
            "default": "all",
        },
        "read_only": {
            "type": "boolean",
            "title": "Read-only",
            "description": "List and allow only read-only tools.",
            "default": False,
        },
    }


def bundle_manifest() -> dict[str, Any]:
    """Return the MCPB manifest, version 0.4, in which the host installs Python and the packages with uv."""
    catalog = Catalog.from_snapshot()
    essential = ToolRegistry(catalog, select_tools(catalog, ["essential"]), 40_000).listed
    return {
        "manifest_version": "0.4",
        "name": "opencode-mcp",
        "display_name": "OpenCode",
        "version": __version__,
        "description": read_project_table()["description"],
        "long_description": LONG_DESCRIPTION,
        "author": AUTHOR,
        "license": "MIT",
        "keywords": read_project_table()["keywords"],
        "icon": "docs/icon.png",
        "server": {
            "type": "uv",
            "entry_point": "opencode_mcp/__main__.py",
            "mcp_config": {
                "command": "uv",
                "args": ["run", "--directory", "${__dirname}", "opencode-mcp"],
                "env": {
                    "OPENCODE_MCP_DIRECTORY": "${user_config.directory}",
                    "OPENCODE_MCP_URL": "${user_config.url}",
                    "OPENCODE_SERVER_PASSWORD": "${user_config.password}",
                    "OPENCODE_MCP_TOOLSETS": "${user_config.toolsets}",
                    "OPENCODE_MCP_READ_ONLY": "${user_config.read_only}",
                },
            },
        },
        "tools": [{"name": tool.name, "description": tool.description} for tool in essential],
        "tools_generated": True,
        "compatibility": {"platforms": ["darwin", "linux", "win32"], "runtimes": {"python": ">=3.11"}},
        "user_config": user_config(),
    }


def registry_entry() -> dict[str, Any]:
    """Return the entry for the MCP registry."""
    variables = [
        ("OPENCODE_MCP_URL", "Use the OpenCode server at this URL instead of starting one.", False),
        ("OPENCODE_SERVER_PASSWORD", "Password of the server at that URL.", True),
        ("OPENCODE_MCP_DIRECTORY", "Project directory; the default is the working directory.", False),
        ("OPENCODE_MCP_TOOLSETS", "Comma-separated toolsets to list; or all, or essential.", False),
    ]
    return {
        "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
        "name": REPOSITORY_NAME,
        "title": "OpenCode",
        "description": "Delegate coding tasks to OpenCode, the open coding agent, and call its whole HTTP API.",
        "version": __version__,
        "packages": [
            {
                "registryType": "pypi",
                "identifier": "opencode-mcp",
                "version": __version__,
                "runtimeHint": "uvx",
                "transport": {"type": "stdio"},
                "environmentVariables": [
                    {"name": name, "description": description, "isRequired": False, "isSecret": secret}
                    for name, description, secret in variables
                ],
            }
        ],
    }


def describe_plugin() -> dict[str, Any]:
    """Return what every manifest says."""
    project = read_project_table()
    return {
        "name": project["name"],
        "version": __version__,
        "description": project["description"],
        "author": AUTHOR,
        "license": project["license"],
        "keywords": project["keywords"],
    }


def server_entry(client_name: str) -> dict[str, Any]:
    """Return the entry that `install` would write for a client, with the published package as its command."""
    client = CLIENTS[client_name]
    return client.entry(Launch("uvx", ("opencode-mcp", *setting_flags(client, Settings()))))


def servers(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the map of servers, which all formats have in common."""
    return {"mcpServers": {SERVER_NAME: entry}}


def marketplace() -> dict[str, Any]:
    """Return the marketplace of this repository, with its one plugin."""
    plugin = describe_plugin()
    entry = {"name": plugin["name"], "source": f"./{PLUGIN.as_posix()}", "description": plugin["description"]}
    return {
        "name": plugin["name"],
        "description": LONG_DESCRIPTION,
        "owner": plugin["author"],
        "plugins": [entry],
    }


def plugin_manifests() -> dict[Path, dict[str, Any]]:
    """Return the content of every file of the plugins and marketplaces by its path."""
    plugin = describe_plugin()
    native = plugin | servers(server_entry("claude-code"))
    gemini = {key: plugin[key] for key in ("name", "version", "description")} | servers(server_entry("gemini"))
    portable = {"type": "stdio"} | server_entry("cursor")
    return {
        PLUGIN / "plugin.json": {"$schema": f"{PLUGIN_SCHEMAS}/plugin.schema.json"} | plugin,
        PLUGIN / "mcp.json": {"$schema": f"{PLUGIN_SCHEMAS}/mcp.schema.json"} | servers(portable),
        PLUGIN / ".claude-plugin" / "plugin.json": native,
        PLUGIN / ".cursor-plugin" / "plugin.json": plugin,
        PLUGIN / "gemini-extension.json": gemini,
        Path(".claude-plugin/marketplace.json"): marketplace(),
        Path(".cursor-plugin/marketplace.json"): marketplace(),
    }


def read_project_table() -> dict[str, Any]:
    """Return the project table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def main() -> int:
    """Write the files; with --check write nothing, and return 1 if one would change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file would change")
    check: bool = parser.parse_args().check
    stale = 0
    root_files = {Path("manifest.json"): bundle_manifest(), Path("server.json"): registry_entry()}
    for path, content in (root_files | plugin_manifests()).items():
        file = ROOT / path
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        if not file.exists() or file.read_text() != text:
            stale += 1
            sys.stdout.write(f"{path.as_posix()} {'is stale' if check else 'written'}\n")
            if not check:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
