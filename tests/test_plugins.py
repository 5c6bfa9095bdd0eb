"""The plugin and the marketplaces: what they say agrees with the package and with the clients' formats.

That they are up to date with the package, tests/test_manifest.py checks; that clients accept them, tests/e2e.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opencode_mcp import __version__
from opencode_mcp.settings.settings import SETTINGS
from opencode_mcp.skills import FOLDER
from opencode_mcp.tools.selection import TOOLSETS

ROOT = Path(__file__).parent.parent
PLUGIN = ROOT / "opencode_mcp" / "plugin"
MANIFESTS = ("plugin.json", ".claude-plugin/plugin.json", ".cursor-plugin/plugin.json", "gemini-extension.json")
WITH_SERVER = {"mcp.json", ".claude-plugin/plugin.json", "gemini-extension.json"}
MARKETPLACES = (".claude-plugin/marketplace.json", ".cursor-plugin/marketplace.json")


def read(path: Path) -> dict[str, Any]:
    """Read one of the files."""
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_plugin_has_no_other_files() -> None:
    """Clients copy all of the folder."""
    files = {file.relative_to(PLUGIN).as_posix() for file in PLUGIN.rglob("*") if file.is_file()}

    assert {file for file in files if not file.startswith("skills/")} == {*MANIFESTS, *WITH_SERVER, "README.md"}
    assert FOLDER == PLUGIN / "skills"


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_manifest_has_the_name_and_version_of_the_package(name: str) -> None:
    """Clients show both, and find an update by the version."""
    manifest = read(PLUGIN / name)

    assert (manifest["name"], manifest["version"]) == ("opencode-mcp", __version__)


@pytest.mark.parametrize("name", sorted(WITH_SERVER))
def test_every_client_starts_the_published_package(name: str) -> None:
    """With flags that exist; none names a working directory or a variable, which not all formats have."""
    (server,) = read(PLUGIN / name)["mcpServers"].values()
    program, *flags = server["args"]
    known = {setting.flag for setting in SETTINGS}

    assert (server["command"], program) == ("uvx", "opencode-mcp")
    assert {flag for flag in flags if flag.startswith("--")} <= known
    assert {text for text in flags if not text.startswith("--")} <= {*TOOLSETS, "essential"}
    assert not server.keys() & {"env", "cwd"}


@pytest.mark.parametrize("name", MARKETPLACES)
def test_every_marketplace_has_the_plugin(name: str) -> None:
    """By a path from the root of the repository, where clients look for the marketplace."""
    marketplace = read(ROOT / name)
    (plugin,) = marketplace["plugins"]

    assert plugin["source"].startswith("./")
    assert (ROOT / plugin["source"]).resolve() == PLUGIN
    assert plugin["name"] == read(PLUGIN / "plugin.json")["name"]
    assert marketplace["owner"]["name"]
