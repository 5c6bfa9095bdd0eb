"""Folders of programs by others that tests run: installed once per machine, and whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from opencode_mcp.opencode.process.install import cache_folder


def install_once(name: str, version: str, install: Callable[[Path], None]) -> Path:
    """Return the folder of a version, which `install` fills if it is not there yet."""
    folder = cache_folder(os.environ) / name / version
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="installing-") as temporary:
            fresh = Path(temporary) / "programs"
            fresh.mkdir()
            install(fresh)
            fresh.rename(folder)
    return folder
