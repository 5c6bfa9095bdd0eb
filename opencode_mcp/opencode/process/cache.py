"""The cache folder: private to the user, locked while it is changed, and cleaned of interrupted installations."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import anyio
import anyio.to_thread

from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.opencode.endpoint import ProgressCallback

UNFINISHED_PREFIX = "installing-"
"""Name prefix of a folder in which a copy is being installed."""

VERSIONS_FILE = "versions.json"
"""Cached versions of programs."""

LOCK_RETRY_SECONDS = 1.0
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the platform's cache folder for this package."""
    if configured := environ.get("XDG_CACHE_HOME"):
        base = Path(configured)
    elif os.name == "nt":
        base = Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    return base / "opencode-mcp"


def shared_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of the registrations of shared OpenCodes (`shared_process.py`)."""
    return cache_folder(environ) / "shared"


def secure_cache_folder(cache: Path) -> bool:
    """Create the cache folder, or make it private to the user.

    Return whether copies in it were discarded because other users could write to the folder.

    Raises:
        ServerStartError: the folder cannot be created, or belongs to another user, whose programs must not run.
    """
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = cache.stat().st_mode
        if os.name == "nt":  # below the user's profile, which has its own rights
            return False
        if not is_owned_by_user(cache):
            raise ServerStartError(
                f"{cache} belongs to another user, so programs in it are not run. Remove it, set XDG_CACHE_HOME to "
                "your own folder, or install OpenCode so that `opencode` is on PATH."
            )
        if mode & WRITABLE_BY_OTHERS:
            cache.chmod(stat.S_IMODE(mode) & ~WRITABLE_BY_OTHERS)
            copies = [*cache.glob("opencode-*"), *cache.glob(VERSIONS_FILE)]
            for copy in copies:
                copy.rename(cache / f"{UNFINISHED_PREFIX}{uuid4().hex}")
            return any(copies)
    except OSError as error:
        raise ServerStartError(f"cannot use the cache folder {cache}: {error}.") from error
    return False


def is_owned_by_user(path: Path) -> bool:
    """Whether a path belongs to this user or to root."""
    return os.name == "nt" or path.stat().st_uid in {os.geteuid(), 0}


def is_private(path: Path) -> bool:
    """Whether a path belongs to the user and no other user can write to it."""
    return os.name == "nt" or (is_owned_by_user(path) and not path.stat().st_mode & WRITABLE_BY_OTHERS)


@asynccontextmanager
async def hold_lock(cache: Path, report_progress: ProgressCallback) -> AsyncGenerator[int]:
    """Wait for the cache's lock and hold it for the block; yields the file descriptor.

    The operating system releases it when the last process with the file open exits.

    Raises:
        ServerStartError: the lock file cannot be created.
    """
    try:
        file = os.open(cache / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ServerStartError(f"cannot write to the cache folder {cache}: {error}") from error
    try:
        while not try_lock(file):
            await report_progress("waiting for another opencode-mcp that is installing OpenCode")
            await anyio.sleep(LOCK_RETRY_SECONDS)
        yield file
    finally:
        os.close(file)


def try_lock(file: int) -> bool:
    """Try to lock an open file; False if another process holds the lock."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


async def remove_leftovers(cache: Path) -> None:
    """Remove the files of interrupted installations; a running one holds the lock and is not touched."""
    if not unfinished_folders(cache) or not is_owned_by_user(cache):
        return
    file = os.open(cache / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if try_lock(file):
            await remove_unfinished(cache)
    finally:
        os.close(file)


def unfinished_folders(cache: Path) -> list[Path]:
    """Return the folders of running or interrupted installations."""
    return list(cache.glob(f"{UNFINISHED_PREFIX}*"))


async def remove_unfinished(cache: Path) -> None:
    """Remove unfinished copies. The caller holds the lock."""
    for folder in unfinished_folders(cache):
        await anyio.to_thread.run_sync(remove_path, folder)


def remove_path(path: Path) -> None:
    """Remove a folder with its contents, or a file; leftovers are removed at the next start."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
