"""Shared by the examples: a project, an isolated OpenCode with the scripted model, a server, and clean-up.

An example is a function that takes a `Workbench`. `run` calls it with one in a temporary folder, removes the folder,
and returns the exit code: 1 if a check of the example failed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import anyio
from mcp import Client, StdioServerParameters
from mcp.types import TextContent
from scripted_model import environment as scripted_environment
from scripted_model import scripted_model

LIMIT_SECONDS = 1800.0
"""For the whole run. Downloading OpenCode may take minutes, and so may a real model."""

FILE, LINE = "README.md", "A line for the search to find."


class Failed(Exception):
    """A check failed; the message has the actual value."""


@dataclass(frozen=True)
class Workbench:
    """A git project with one commit, and the environment of an OpenCode that has only the scripted model."""

    project: Path
    environ: Mapping[str, str]

    def server(self, *flags: str) -> StdioServerParameters:
        """Return the parameters with which an MCP client starts opencode-mcp for the project."""
        command = ["-m", "opencode_mcp", "--directory", str(self.project), *flags]
        return StdioServerParameters(command=sys.executable, args=command, env=dict(self.environ))


def expect(condition: bool, otherwise: str) -> None:
    """Check a condition.

    Raises:
        Failed: it is false; the message is `otherwise`.
    """
    if not condition:
        raise Failed(otherwise)


async def call(client: Client, tool: str, /, **arguments: Any) -> Any:
    """Call a tool and return its result: an object, or `{"result": …}` for anything else.

    Raises:
        Failed: the tool returned an error; the message is the tool's.
    """
    outcome = await client.call_tool(tool, arguments)
    text = "\n".join(block.text for block in outcome.content if isinstance(block, TextContent))
    if outcome.is_error:
        raise Failed(f"{tool}: {text}")
    return outcome.structured_content or json.loads(text)


@asynccontextmanager
async def environment(model: str | None, temporary: Path) -> AsyncGenerator[Mapping[str, str]]:
    """Provide the server's environment: yours for a real model, else an isolated one with the scripted model."""
    if model is not None:
        yield os.environ
        return
    home = Path.home()
    async with scripted_model() as scripted:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("OPENCODE") or name == "OPENCODE_MCP_COMMAND"
        }
        yield {
            # npm downloads OpenCode, possibly from your own registry.
            "NPM_CONFIG_USERCONFIG": str(home / ".npmrc"),
            **inherited,
            "HOME": str(temporary / "home"),
            "XDG_DATA_HOME": str(temporary / "data"),
            "XDG_CONFIG_HOME": str(temporary / "config"),
            "XDG_STATE_HOME": str(temporary / "state"),
            # Share the downloaded copy of OpenCode between runs.
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(home / ".cache"),
            **scripted_environment(scripted.url, temporary),
            # OpenCode ends with the example, before the temporary folders are removed.
            "OPENCODE_MCP_NO_SHARE": "1",
        }


def make_project(folder: Path) -> Path:
    """Create a git repository with one commit in a new or empty folder.

    Raises:
        Failed: the folder is not empty, or git fails.
    """
    expect(shutil.which("git") is not None, "git is not installed")
    expect(not folder.exists() or (folder.is_dir() and not any(folder.iterdir())), f"{folder} is not an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(f"# A project\n\n{LINE}\n")
    author = ("-c", "user.name=quick start", "-c", "user.email=quickstart@localhost")
    for command in (("init", "-q", "-b", "main"), ("add", "-A"), (*author, "commit", "-qm", "A line")):
        done = subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True)
        expect(done.returncode == 0, f"git {command[0]}: {done.stderr}")
    return folder


def innermost_error(error: BaseException) -> BaseException:
    """Return the first error of an exception group that is not a group itself."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def run(example: Callable[[Workbench], Awaitable[None]]) -> int:
    """Run an example; return 0 if its checks passed, else 1."""

    async def run_example(temporary: Path) -> None:
        with anyio.fail_after(LIMIT_SECONDS):
            async with environment(None, temporary) as environ:
                await example(Workbench(make_project(temporary / "project"), environ))

    try:
        # OpenCode may still write its last files while the folder is removed.
        with tempfile.TemporaryDirectory(prefix="opencode-mcp-", ignore_cleanup_errors=True) as name:
            anyio.run(run_example, Path(name).resolve())
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        cause = innermost_error(error)
        sys.stdout.flush()
        print(f"\nFAILED: {cause if isinstance(cause, Failed) else repr(cause)}", file=sys.stderr)
        return 1
    return 0
