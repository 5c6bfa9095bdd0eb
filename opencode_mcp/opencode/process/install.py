"""Finds an OpenCode 1: the configured command, `opencode` on PATH, or a managed copy from npm in the cache folder.

Another version on PATH is skipped in favour of the managed copy, which is verified by running it, and reinstalled if it
is damaged. Whether an OpenCode 2 is used instead is decided before, in `choice.py`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from opencode_mcp.catalog.generations import GENERATIONS
from opencode_mcp.catalog.versions import parse_release
from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.opencode.endpoint import ProgressCallback

from .cache import (
    UNFINISHED_PREFIX,
    cache_folder,
    hold_lock,
    is_private,
    remove_leftovers,
    remove_unfinished,
    secure_cache_folder,
)
from .download import NO_NPM, Package, fetch_packages, required_packages
from .executable import Program, ReadVersion, is_program, read_version, which

OPENCODE_1 = GENERATIONS[1]

__all__ = ["Program", "cache_folder", "find_program", "managed_program"]


async def find_program(
    command: tuple[str, ...],
    cache: Path,
    environ: Mapping[str, str],
    report_progress: ProgressCallback,
    read: ReadVersion = read_version,
) -> Program:
    """Find an OpenCode 1; install the managed copy if none is installed.

    Raises:
        ServerStartError: with what was tried, and how to fix it.
    """
    await remove_leftovers(cache)
    if command:
        return await command_program(command, cache, environ, read)
    on_path = which("opencode", environ)
    if on_path is None:
        return await ensure_managed_copy(cache, environ, report_progress)
    version = await read((on_path,), environ, cache)
    if version is not None and parse_release(version)[0] == OPENCODE_1.number:
        return Program((on_path,), version=version)
    problem = (
        f"{on_path} does not print its version"
        if version is None
        else f"{on_path} is OpenCode {version}, {OPENCODE_1.mismatch}"
    )
    try:
        copy = await ensure_managed_copy(cache, environ, report_progress)
    except ServerStartError as error:
        raise ServerStartError(f"{problem}: it is not started. {error}") from error
    note = f"{problem}: opencode-mcp uses its own copy of OpenCode {SNAPSHOT_VERSION} instead"
    return replace(copy, note="; ".join(part for part in (note, copy.note) if part))


async def command_program(
    command: tuple[str, ...], cache: Path, environ: Mapping[str, str], read: ReadVersion
) -> Program:
    """Return the program of --command; if it prints no version, it is trusted.

    Raises:
        ServerStartError: it is an OpenCode of another generation.
    """
    version = await read(command, environ, cache)
    if version is not None and parse_release(version)[0] != OPENCODE_1.number:
        raise ServerStartError(
            f"--command: `{shlex.join(command)}` is OpenCode {version}, {OPENCODE_1.mismatch}: it is not started. "
            f"Omit --command to use a copy of OpenCode {SNAPSHOT_VERSION}, or give the path of an OpenCode 1.x."
        )
    path = which(command[0], environ)
    return Program((path or command[0], *command[1:]), version=version)


def managed_program(folder: Path) -> Program:
    """Return the program of an installed copy."""
    modules = folder / "node_modules"
    ripgrep = sorted(modules.glob("@vscode/ripgrep-*/bin"))
    program = str(modules / "opencode-ai" / "bin" / "opencode.exe")
    return Program((program,), tuple(str(path) for path in ripgrep), SNAPSHOT_VERSION)


async def ensure_managed_copy(
    cache: Path, environ: Mapping[str, str], report_progress: ProgressCallback, builds: Sequence[Sequence[Package]] = ()
) -> Program:
    """Return the managed copy, after installing it if it is missing or damaged.

    `builds` are alternative lists of packages for a copy, by default those for this machine.

    Raises:
        ServerStartError: why no copy can be installed.
    """
    folder = cache / f"opencode-{SNAPSHOT_VERSION}"
    was_writable_by_others = secure_cache_folder(cache)
    if await find_damage(folder, environ, cache) is None:
        return managed_program(folder)
    async with hold_lock(cache, report_progress) as lock:
        await remove_unfinished(cache)
        problem = await find_damage(folder, environ, cache)
        if problem is None:  # another process has installed it meanwhile
            return managed_program(folder)
        problem = "other users could write to it" if was_writable_by_others else problem
        is_reinstall = was_writable_by_others or folder.exists()
        if is_reinstall:
            await report_progress(f"OpenCode {SNAPSHOT_VERSION} is damaged ({problem}); reinstalling it")
        await install_copy(folder, environ, report_progress, lock, builds or required_packages())
        copy = managed_program(folder)
        if not is_reinstall:
            return copy
        note = f"opencode-mcp reinstalled its copy of OpenCode {SNAPSHOT_VERSION}, which was damaged ({problem})"
        return replace(copy, note=note)


async def find_damage(folder: Path, environ: Mapping[str, str], cache: Path) -> str | None:
    """Return the problem with an installed copy, None if it is complete and prints its version."""
    problem = find_file_damage(folder)
    if problem is not None:
        return problem
    version = await read_version(managed_program(folder).command, environ, cache)
    return None if version == SNAPSHOT_VERSION else f"`--version` gives {version or 'nothing'}"


def find_file_damage(folder: Path) -> str | None:
    """Return the problem with an installed copy that is visible without running it, or None."""
    copy = managed_program(folder)
    program = Path(copy.command[0])
    if not folder.is_dir():
        return "it is missing"
    if not program.is_file() or not copy.path:
        return "files are missing"
    if not is_private(folder) or not is_private(program):
        return "it belongs to another user, or others can write to it"
    return None if is_program(str(program)) else "it is not executable"


async def install_copy(
    folder: Path,
    environ: Mapping[str, str],
    report_progress: ProgressCallback,
    lock: int,
    builds: Sequence[Sequence[Package]],
) -> None:
    """Install the first build that runs on this machine, atomically replacing the folder.

    The caller holds the lock.

    Raises:
        ServerStartError: npm is missing, or no build can be installed and run; says why.
    """
    if which("npm", environ) is None:
        raise ServerStartError(NO_NPM)
    await report_progress(f"installing OpenCode {SNAPSHOT_VERSION} (once)")
    failures: list[str] = []
    for packages in builds:
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=UNFINISHED_PREFIX))
        try:
            await fetch_packages(packages, temporary, environ, report_progress, () if os.name == "nt" else (lock,))
            fresh = assemble(packages[0], temporary)
            problem = await find_damage(fresh, environ, folder.parent)
            if problem is None:
                replace_folder(fresh, folder)
                return
            failures.append(f"{packages[0].name}: {problem}")
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    raise ServerStartError(
        f"OpenCode {SNAPSHOT_VERSION} was downloaded but does not run on this machine ({'; '.join(failures)}). Install "
        "OpenCode so that `opencode` is on PATH, or set --url to a running one."
    )


def assemble(build: Package, folder: Path) -> Path:
    """Assemble a copy from the downloaded packages: OpenCode's program, without npm's own files."""
    copy = folder / "copy"
    copy.mkdir(mode=0o700)
    (folder / "node_modules").rename(copy / "node_modules")
    program = Path(managed_program(copy).command[0])
    [fetched] = (copy / "node_modules" / build.name / "bin").glob("opencode*")
    program.parent.mkdir(exist_ok=True)
    fetched.replace(program)
    program.chmod(0o755)
    return copy


def replace_folder(fresh: Path, folder: Path) -> None:
    """Replace the folder by the new copy.

    Raises:
        ServerStartError: the cache folder cannot be written.
    """
    try:
        if folder.exists():
            folder.rename(fresh.parent / "damaged")
        fresh.rename(folder)
    except OSError as error:
        raise ServerStartError(f"cannot write to {folder}: {error}") from error
