"""Find OpenCode: a given command, `opencode` on PATH, or a managed copy from npm in a cache folder."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import STDOUT

import anyio

from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.openapi import SNAPSHOT_VERSION

from .server import Report

OPENCODE_PACKAGE = f"opencode-ai@{SNAPSHOT_VERSION}"
RIPGREP_PACKAGE = "@vscode/ripgrep@1.18.0"
"""OpenCode searches with ripgrep, and tries to download one when there is none."""

INSTALL_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Program:
    """How to run OpenCode: its command, and folders to put before PATH."""

    command: tuple[str, ...]
    path: tuple[str, ...] = ()


async def find(command: tuple[str, ...], cache: Path, environ: Mapping[str, str], report: Report) -> Program:
    """Find OpenCode, installing the managed copy when nothing else is there.

    Raises:
        ServerStartError: what was tried, and the ways out.
    """
    if command:
        return Program(command)
    if on_path := shutil.which("opencode", path=environ.get("PATH")):
        return Program((on_path,))
    folder = cache / f"opencode-{SNAPSHOT_VERSION}"
    if not folder.is_dir():
        await install(folder, environ, report)
    return managed(folder)


def managed(folder: Path) -> Program:
    """Return the program of an installed copy."""
    modules = folder / "node_modules"
    ripgrep = sorted(modules.glob("@vscode/ripgrep-*/bin"))
    return Program((str(modules / "opencode-ai" / "bin" / "opencode.exe"),), tuple(str(path) for path in ripgrep))


async def install(folder: Path, environ: Mapping[str, str], report: Report) -> None:
    """Install into a folder, all or nothing; two bridges at once do no harm.

    npm's install scripts stay off: the one that is needed, which puts the right binary for this
    processor in place, is run by name.
    """
    search = environ.get("PATH")
    npm, node = shutil.which("npm", path=search), shutil.which("node", path=search)
    if npm is None or node is None:
        raise ServerStartError(
            "OpenCode is not installed, and npm is not there to fetch it. Any of these helps: install OpenCode "
            "(https://opencode.ai/docs) so that `opencode` is on PATH; install Node.js, and OpenCode is fetched "
            "at the next call; or give the address of a running OpenCode with --url or OPENCODE_MCP_URL."
        )
    await report(f"installing OpenCode {SNAPSHOT_VERSION} (once)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="installing-", ignore_cleanup_errors=True) as name:
        fresh = Path(name) / folder.name
        fresh.mkdir()
        flags = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--prefix", str(fresh))
        await run((npm, "install", *flags, OPENCODE_PACKAGE, RIPGREP_PACKAGE), environ, fresh)
        await run((node, str(fresh / "node_modules/opencode-ai/postinstall.mjs")), environ, fresh)
        await run((*managed(fresh).command, "--version"), environ, fresh)
        move(fresh, folder)


def move(fresh: Path, folder: Path) -> None:
    """Put the finished copy in place, unless another bridge was first.

    Raises:
        ServerStartError: the cache folder cannot be written.
    """
    try:
        fresh.rename(folder)
    except OSError as error:
        if not folder.is_dir():
            raise ServerStartError(f"{folder} cannot be written: {error}") from error


async def run(command: tuple[str, ...], environ: Mapping[str, str], folder: Path) -> None:
    """Run one step of the installation.

    Raises:
        ServerStartError: with the end of its output.
    """
    output = ""
    with anyio.move_on_after(INSTALL_SECONDS):
        done = await anyio.run_process(command, check=False, stderr=STDOUT, env=environ, cwd=folder)
        if done.returncode == 0:
            return
        output = done.stdout.decode(errors="replace")[-1500:]
    raise ServerStartError(
        f"OpenCode could not be installed: `{' '.join(command)}` failed.\n{output or 'It took too long.'}\n"
        "Install OpenCode so that `opencode` is on PATH, or give a running one with --url."
    )


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder for what can be fetched again, by the custom of the platform."""
    if given := environ.get("XDG_CACHE_HOME"):
        base = Path(given)
    elif os.name == "nt":
        base = Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    return base / "opencode-mcp"
