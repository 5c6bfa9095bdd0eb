"""The cache folder: the user's alone, changed by one bridge at a time, and free of what a killed one left behind."""

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

from .server import Report

UNFINISHED = "installing-"
"""What the name of a folder begins with in which a copy is being made."""

MEMORY = "versions.json"
"""What programs have said to be."""

WAIT_SECONDS = 1.0
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


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


def claim(cache: Path) -> bool:
    """Create the cache folder, or make it the user's alone.

    Returns whether copies in it were set aside: others could write into it until now, and to them.

    Raises:
        ServerStartError: it cannot be created, or belongs to somebody else, whose programs must not be run.
    """
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = cache.stat().st_mode
        if os.name == "nt":  # below the user's profile, which has its own rights
            return False
        if not is_own(cache):
            raise ServerStartError(
                f"{cache} belongs to another user, so programs in it are not run. Remove it, set XDG_CACHE_HOME to "
                "your own folder, or install OpenCode so that `opencode` is on PATH."
            )
        if mode & WRITABLE_BY_OTHERS:
            cache.chmod(stat.S_IMODE(mode) & ~WRITABLE_BY_OTHERS)
            copies = [*cache.glob("opencode-*"), *cache.glob(MEMORY)]
            for copy in copies:
                copy.rename(cache / f"{UNFINISHED}{uuid4().hex}")
            return any(copies)
    except OSError as error:
        raise ServerStartError(f"cannot use the cache folder {cache}: {error}") from error
    return False


def is_own(path: Path) -> bool:
    """Whether a path belongs to this user, or to root, who can change everything anyway."""
    return os.name == "nt" or path.stat().st_uid in {os.geteuid(), 0}


def is_private(path: Path) -> bool:
    """Whether a path is the user's, and nobody else can write to it."""
    return os.name == "nt" or (is_own(path) and not path.stat().st_mode & WRITABLE_BY_OTHERS)


@asynccontextmanager
async def locked(cache: Path, report: Report) -> AsyncGenerator[int]:
    """Hold the cache's lock, waiting for it; provide the open file that holds it.

    It ends with the last process that has the file open, however that ends.

    Raises:
        ServerStartError: there can be no lock.
    """
    try:
        file = os.open(cache / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ServerStartError(f"cannot write to the cache folder {cache}: {error}") from error
    try:
        while not try_lock(file):
            await report("waiting for another opencode-mcp that is installing OpenCode")
            await anyio.sleep(WAIT_SECONDS)
        yield file
    finally:
        os.close(file)


def try_lock(file: int) -> bool:
    """Lock an open file, unless another process has it locked."""
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


async def sweep(cache: Path) -> None:
    """Remove what an installation that was killed has left behind; one that goes on has the lock, and is left alone."""
    if not unfinished(cache) or not is_own(cache):
        return
    file = os.open(cache / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if try_lock(file):
            await remove_unfinished(cache)
    finally:
        os.close(file)


def unfinished(cache: Path) -> list[Path]:
    """Return what is being installed, or was."""
    return list(cache.glob(f"{UNFINISHED}*"))


async def remove_unfinished(cache: Path) -> None:
    """Remove unfinished copies. The caller holds the lock."""
    for folder in unfinished(cache):
        await anyio.to_thread.run_sync(remove, folder)


def remove(path: Path) -> None:
    """Remove a folder and all in it, or a file; what cannot be removed now is left for the next start."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
