"""Programs from npm that tests run: in pinned versions, installed once per machine."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from opencode_mcp.opencode.process.install import cache_folder

ASSISTANTS = ("@anthropic-ai/claude-code@2.1.197", "@openai/codex@0.169.0", "@google/gemini-cli@0.61.0")
FLAGS = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock")


def install_packages(name: str, packages: Sequence[str], *afterwards: tuple[str, ...]) -> Path:
    """Return a `node_modules` with packages; each of `afterwards` is a folder in it, and a command to run there."""
    folder = cache_folder(os.environ) / name / "-".join(package.rpartition("@")[2] for package in packages)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="installing-") as temporary:
            fresh = Path(temporary) / "programs"
            fresh.mkdir()
            subprocess.run(["npm", "install", *FLAGS, "--prefix", str(fresh), *packages], check=True, cwd=fresh)
            for subfolder, *command in afterwards:
                subprocess.run(command, check=True, cwd=fresh / "node_modules" / subfolder)
            fresh.rename(folder)
    return folder / "node_modules"


def install_assistants() -> Path:
    """Return the folder of the assistants' commands."""
    binary = ("@anthropic-ai/claude-code", "node", "install.cjs")  # puts the one for this processor in place
    return install_packages("clients", ASSISTANTS, binary) / ".bin"
