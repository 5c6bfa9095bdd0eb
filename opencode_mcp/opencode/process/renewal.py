"""Renews the managed copy of OpenCode: installs what is missing or damaged, and removes copies of other versions.

Only folders in the cache are touched, never an OpenCode that the user has installed.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import anyio.to_thread

from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.opencode.endpoint import ProgressCallback

from .cache import UNFINISHED_PREFIX, hold_lock, remove_unfinished
from .download import Package
from .install import ensure_managed_copy, find_file_damage

COPIES = "opencode-[0-9]*"
"""The folders of copies in the cache, by version."""


@dataclass(frozen=True)
class Renewal:
    """What was done: `action` with the copy in `folder`, and the versions that were removed or are still in use."""

    action: str
    version: str
    folder: Path
    note: str
    removed: tuple[str, ...]
    in_use: tuple[str, ...]


async def renew_managed_copy(
    cache: Path, environ: Mapping[str, str], report_progress: ProgressCallback, builds: Sequence[Sequence[Package]] = ()
) -> Renewal:
    """Install the version that this release is tested with, unless it is there and runs; remove other versions.

    Raises:
        ServerStartError: why it cannot be installed. Nothing was removed then.
    """
    folder = cache / f"opencode-{SNAPSHOT_VERSION}"
    was_there = folder.is_dir()
    was_complete = was_there and find_file_damage(folder) is None
    copy = await ensure_managed_copy(cache, environ, report_progress, builds)
    action = "kept" if was_complete and not copy.note else "repaired" if was_there else "installed"
    async with hold_lock(cache, report_progress):
        removed, in_use = await anyio.to_thread.run_sync(set_others_aside, cache, folder)
        await remove_unfinished(cache)
    return Renewal(action, SNAPSHOT_VERSION, folder, copy.note, removed, in_use)


def set_others_aside(cache: Path, folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Set the copies aside that are not in a folder; return the versions of these, and of those that are in use."""
    others = [path for path in sorted(cache.glob(COPIES)) if path != folder and path.is_dir()]
    commands = list_commands()
    removed = [path for path in others if not is_used(path, commands) and set_aside(path)]
    in_use = [path for path in others if path not in removed]
    return tuple(map(version_of, removed)), tuple(map(version_of, in_use))


def version_of(folder: Path) -> str:
    """Return the version of the copy in a folder."""
    return folder.name.removeprefix("opencode-")


def is_used(folder: Path, commands: Sequence[str] | None) -> bool:
    """Whether a process runs the copy in a folder, or may do so, as far as command lines show."""
    program = os.path.join(folder.parent.name, folder.name, "node_modules", "")
    return commands is None or any(program in command for command in commands)


def set_aside(folder: Path) -> bool:
    """Rename a folder, so that it is removed as a whole or not at all; False if Windows keeps it, as it is in use."""
    with suppress(OSError):
        folder.rename(folder.parent / f"{UNFINISHED_PREFIX}{uuid4().hex}")
        return True
    return False


def list_commands() -> list[str] | None:
    """Return the command line of every process, None if they cannot be listed; none on Windows, which does not rename a
    program that runs."""
    if os.name == "nt":
        return []
    try:
        done = subprocess.run(
            ["ps", "-A", "-ww", "-o", "args="], capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except OSError:
        return None
    return None if done.returncode else done.stdout.splitlines()
