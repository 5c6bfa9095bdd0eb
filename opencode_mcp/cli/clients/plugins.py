"""Which clients have the plugin of this package, which registers the server without an entry in the client's file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from .client import Machine
from .known_clients import CLIENTS

PLUGIN = "opencode-mcp"


def has_plugin(client: str, machine: Machine) -> bool:
    """Whether the user of a client has the plugin; False if the client's files do not show it."""
    find = FINDERS.get(client)
    try:
        return find is not None and find(machine)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # no file, or of another form
        return False


def is_in_claude_code(machine: Machine) -> bool:
    """Claude Code (2.1.332) lists the plugins that it has installed in a file."""
    folder = Path(machine.folder("CLAUDE_CONFIG_DIR", machine.home / ".claude"))
    listed = json.loads((folder / "plugins" / "installed_plugins.json").read_text(encoding="utf-8"))
    return any(map(is_ours, cast("Mapping[str, Any]", listed["plugins"])))


def is_in_codex(machine: Machine) -> bool:
    """Codex (0.169) has a table for each plugin in its settings."""
    settings = tomllib.loads(Path(CLIENTS["codex"].user(machine)[0]).read_text(encoding="utf-8"))
    plugins: Mapping[str, Any] = settings.get("plugins", {})
    return any(is_ours(name) and bool(plugin.get("enabled")) for name, plugin in plugins.items())


def is_in_gemini(machine: Machine) -> bool:
    """Gemini CLI (0.61) has a folder for each extension."""
    return Path(machine.home / ".gemini" / "extensions" / PLUGIN).is_dir()


def is_in_copilot(machine: Machine) -> bool:
    """Copilot CLI (1.0.102) lists the plugins that are enabled in its settings."""
    folder = Path(machine.folder("COPILOT_HOME", machine.home / ".copilot"))
    plugins = cast("Mapping[str, Any]", json.loads((folder / "settings.json").read_text(encoding="utf-8")))
    return any(is_ours(name) and bool(enabled) for name, enabled in plugins["enabledPlugins"].items())


def is_ours(name: str) -> bool:
    """Whether PLUGIN@MARKETPLACE names the plugin of this package."""
    return name.partition("@")[0] == PLUGIN


FINDERS: Mapping[str, Callable[[Machine], bool]] = {
    "claude-code": is_in_claude_code,
    "codex": is_in_codex,
    "gemini": is_in_gemini,
    "copilot": is_in_copilot,
}
"""By the name of the client; the files of others are not known."""
