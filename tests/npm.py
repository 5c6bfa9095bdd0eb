"""Programs from npm that tests run: in pinned versions, installed once per machine."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.install_once import install_once

ASSISTANTS = ("@anthropic-ai/claude-code@2.1.332", "@openai/codex@0.169.0", "@google/gemini-cli@0.61.0")
COPILOT = "@github/copilot@1.0.102"
CONTINUE = "@continuedev/cli@1.5.47"
QWEN = "@qwen-code/qwen-code@0.24.4"
TYPESCRIPT_SDK = "@modelcontextprotocol/sdk@1.32.2"
FLAGS = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock")


def install_packages(name: str, packages: Sequence[str], *afterwards: tuple[str, ...]) -> Path:
    """Return a `node_modules` with packages; each of `afterwards` is a folder in it, and a command to run there."""

    def install(folder: Path) -> None:
        subprocess.run(["npm", "install", *FLAGS, "--prefix", str(folder), *packages], check=True, cwd=folder)
        for subfolder, *command in afterwards:
            subprocess.run(command, check=True, cwd=folder / "node_modules" / subfolder)

    version = "-".join(package.rpartition("@")[2] for package in packages)
    return install_once(name, version, install) / "node_modules"


def install_assistants() -> Path:
    """Return the folder of the assistants' commands."""
    binary = ("@anthropic-ai/claude-code", "node", "install.cjs")  # puts the one for this processor in place
    return install_packages("clients", ASSISTANTS, binary) / ".bin"


def install_copilot() -> Path:
    """Return the program of Copilot CLI."""
    return install_packages("copilot", (COPILOT,)) / ".bin" / "copilot"


def install_qwen() -> Path:
    """Return the program of Qwen Code."""
    return install_packages("qwen", (QWEN,)) / ".bin" / "qwen"


def install_continue() -> Path:
    """Return the program of Continue's CLI."""
    return install_packages("continue", (CONTINUE,)) / ".bin" / "cn"
