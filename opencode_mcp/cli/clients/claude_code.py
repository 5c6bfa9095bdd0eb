"""Claude Code's user scope, which is in a state file that Claude Code writes at any time: `claude` makes the change."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode.process.executable import which

TIMEOUT_SECONDS = 60


def find_claude(environ: Mapping[str, str]) -> str | None:
    """Return the path of `claude`, if it exists and accepts JSON arguments; a Windows batch file does not."""
    path = which("claude", environ)
    return path if path and Path(path).suffix.lower() not in {".cmd", ".bat"} else None


def add_command(claude: str, name: str, entry: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the command that adds an entry."""
    return (claude, "mcp", "add-json", "--scope", "user", name, json.dumps(entry))


def remove_command(claude: str, name: str) -> tuple[str, ...]:
    """Return the command that removes an entry."""
    return (claude, "mcp", "remove", "--scope", "user", name)


def run_claude(command: tuple[str, ...], environ: Mapping[str, str]) -> None:
    """Run a command of Claude Code.

    Raises:
        OpenCodeError: with its output.
    """
    output = "it took too long"
    try:
        completed = subprocess.run(
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        if completed.returncode == 0:
            return
        output = (completed.stderr + completed.stdout).decode(errors="replace").strip()
    except subprocess.TimeoutExpired:
        pass
    except OSError as error:
        output = str(error)
    raise OpenCodeError(f"`{' '.join(command[:5])} …` failed: {output}")
