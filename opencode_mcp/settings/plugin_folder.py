"""The folder of a plugin that starts this server. Clients such as Codex start it in that folder (Agent Plugins 1.0)."""

from __future__ import annotations

import os
from collections.abc import Mapping

ROOT_SUFFIX = "PLUGIN_ROOT"
"""Clients set PLUGIN_ROOT to the folder, some of them with a prefix: CLAUDE_PLUGIN_ROOT, COPILOT_PLUGIN_ROOT."""


def working_directory(environ: Mapping[str, str]) -> str | None:
    """Return the working directory; None within a plugin's folder, which is the client's choice and not a project."""
    current = os.getcwd()
    roots = (folder for name, folder in environ.items() if name.endswith(ROOT_SUFFIX) and os.path.isabs(folder))
    return None if any(is_below(current, root) for root in roots) else current


def is_below(folder: str, root: str) -> bool:
    """Whether a folder is another one, or below it, links resolved."""
    paths = [os.path.normcase(os.path.realpath(path)) for path in (folder, root)]
    try:
        return os.path.commonpath(paths) == paths[1]
    except ValueError:  # on different drives of Windows
        return False
