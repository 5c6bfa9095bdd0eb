"""OpenCode's executable: its path and the version that it prints."""

from __future__ import annotations

import json
import logging
import os
import shlex
import stat
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from opencode_mcp.catalog.versions import find_version

from .cache import VERSIONS_FILE
from .supervised import run_supervised_process

VERSION_SECONDS = 20.0
"""`--version` of 1.18.33 takes 0.7 s on a quiet machine, and many times that on a busy one."""

CACHE_SECONDS = 3600.0
"""How long a version is cached: the target of a version manager's shim can change while the shim does not."""

EXTENSIONS = ".COM;.EXE;.BAT;.CMD"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Program:
    """OpenCode's command, and folders to prepend to PATH.

    `version` is None if unknown. `note` is a message for the user about the choice of the program, or "". `environ` are
    variables that it needs.
    """

    command: tuple[str, ...]
    path: tuple[str, ...] = ()
    version: str | None = None
    note: str = ""
    generation: int = 1
    environ: tuple[tuple[str, str], ...] = ()

    @property
    def is_own_copy(self) -> bool:
        """Whether this package has installed it."""
        return bool(self.path)

    def describe(self) -> str:
        """Name the program for an error message."""
        return f"`{shlex.join(self.command)}`"


def which(name: str, environ: Mapping[str, str], windows: bool = os.name == "nt") -> str | None:
    """Return the absolute path of a program, None when there is none.

    Only absolute folders of PATH count. Windows searches the current directory first, and elsewhere an empty or
    relative entry means it; that is the project, whose files must not run in place of the user's program.
    """
    if os.path.dirname(name):
        return os.path.abspath(name) if is_program(name) else None
    extensions = environ.get("PATHEXT", EXTENSIONS).split(";") if windows else [""]
    candidates = [name] if windows and os.path.splitext(name)[1].upper() in map(str.upper, extensions) else []
    candidates += [name + ending for ending in extensions]
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        if os.path.isabs(folder):
            for candidate in candidates:
                if is_program(path := os.path.join(folder, candidate)):
                    return path
    return None


def is_program(path: str) -> bool:
    """Whether a path is a file that may be run."""
    return os.path.isfile(path) and os.access(path, os.X_OK)


async def read_version(command: tuple[str, ...], environ: Mapping[str, str], cache: Path) -> str | None:
    """Return the version that a command prints for `--version`, None when it prints none or takes too long.

    The version is cached by the command and its file's fingerprint. The command does not run in the project.
    """
    path = which(command[0], environ)
    if path is None:
        return None
    key, fingerprint = json.dumps([path, *command[1:]]), file_fingerprint(path)
    versions_file = cache / VERSIONS_FILE
    entry = load_versions(versions_file).get(key)
    if entry is not None and entry["state"] == fingerprint and 0 <= time.time() - entry["at"] < CACHE_SECONDS:
        return entry["version"]
    completed = await run_supervised_process(
        (path, *command[1:], "--version"), environ, tempfile.gettempdir(), VERSION_SECONDS
    )
    version = find_version(completed.output) if completed is not None and completed.status == 0 else None
    if version is not None:
        save_version(versions_file, key, {"state": fingerprint, "at": time.time(), "version": version})
    return version


ReadVersion = Callable[[tuple[str, ...], Mapping[str, str], Path], Awaitable[str | None]]


def read_each_once() -> ReadVersion:
    """Return a `read_version` that runs each command once, also one of which no version is cached."""
    known: dict[tuple[str, ...], str | None] = {}

    async def read(command: tuple[str, ...], environ: Mapping[str, str], cache: Path) -> str | None:
        key = (which(command[0], environ) or command[0], *command[1:])
        if key not in known:
            known[key] = await read_version(command, environ, cache)
        return known[key]

    return read


def file_fingerprint(path: str) -> list[int]:
    """Return a file's device, inode, size, times and mode, which change with its contents and permissions."""
    status = os.stat(path)
    return [
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        stat.S_IMODE(status.st_mode),
    ]


def load_versions(versions_file: Path) -> dict[str, dict[str, Any]]:
    """Return the cached versions, {} if they cannot be read or have another format."""
    try:
        value: Any = json.loads(versions_file.read_bytes())
        entries = cast("dict[str, dict[str, Any]]", value)
        return {key: entry for key, entry in entries.items() if {"state", "at", "version"} <= entry.keys()}
    except (OSError, ValueError, AttributeError) as error:
        log.debug("cannot read the cached versions: %r", error)
        return {}


def save_version(versions_file: Path, key: str, entry: dict[str, Any]) -> None:
    """Cache a version, and drop those of removed programs. A write error is logged: the version is then read again."""
    existing = {
        existing_key: existing_entry
        for existing_key, existing_entry in load_versions(versions_file).items()
        if os.path.exists(json.loads(existing_key)[0])
    }
    try:
        versions_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=versions_file.parent, prefix="versions-", delete=False, encoding="utf-8"
        ) as file:
            json.dump({**existing, key: entry}, file)
        os.replace(file.name, versions_file)
    except OSError as error:
        log.debug("cannot cache a version: %r", error)
