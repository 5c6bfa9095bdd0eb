"""Finds OpenCode: the configured command, `opencode` on PATH, or a managed copy from npm in the cache folder.

Only OpenCode 1.x is started. Another version on PATH is skipped in favour of the managed copy, which is verified by
running it, and reinstalled if it is damaged.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.openapi.versions import GENERATION, parse_release

from .cache import UNFINISHED, cache_folder, claim, is_private, locked, remove_unfinished, sweep
from .download import NO_NPM, Package, fetch, needed
from .program import Program, ask_version, is_program, which
from .server import Report

__all__ = ["Program", "cache_folder", "find", "managed"]

OTHER_GENERATION = "whose API differs from 1.x, which opencode-mcp supports"


async def find(command: tuple[str, ...], cache: Path, environ: Mapping[str, str], report: Report) -> Program:
    """Find OpenCode; install the managed copy if there is no other.

    Raises:
        ServerStartError: with what was tried, and how to fix it.
    """
    await sweep(cache)
    if command:
        return await given(command, cache, environ)
    on_path = which("opencode", environ)
    if on_path is None:
        return await managed_copy(cache, environ, report)
    version = await ask_version((on_path,), environ, cache)
    if version is not None and parse_release(version)[0] == GENERATION:
        return Program((on_path,), version=version)
    said = (
        f"{on_path} does not print its version"
        if version is None
        else f"{on_path} is OpenCode {version}, {OTHER_GENERATION}"
    )
    try:
        copy = await managed_copy(cache, environ, report)
    except ServerStartError as error:
        raise ServerStartError(f"{said}: it is not started. {error}") from error
    used = f"{said}: opencode-mcp uses its own copy of OpenCode {SNAPSHOT_VERSION} instead"
    return replace(copy, note="; ".join(part for part in (used, copy.note) if part))


async def given(command: tuple[str, ...], cache: Path, environ: Mapping[str, str]) -> Program:
    """Return the program of --command; if it prints no version, it is trusted.

    Raises:
        ServerStartError: it is an OpenCode of another generation.
    """
    version = await ask_version(command, environ, cache)
    if version is not None and parse_release(version)[0] != GENERATION:
        raise ServerStartError(
            f"--command: `{shlex.join(command)}` is OpenCode {version}, {OTHER_GENERATION}: it is not started. Omit "
            f"--command to use a copy of OpenCode {SNAPSHOT_VERSION}, or give the path of an OpenCode 1.x."
        )
    path = which(command[0], environ)
    return Program((path or command[0], *command[1:]), version=version)


def managed(folder: Path) -> Program:
    """Return the program of an installed copy."""
    modules = folder / "node_modules"
    ripgrep = sorted(modules.glob("@vscode/ripgrep-*/bin"))
    program = str(modules / "opencode-ai" / "bin" / "opencode.exe")
    return Program((program,), tuple(str(path) for path in ripgrep), SNAPSHOT_VERSION)


async def managed_copy(
    cache: Path, environ: Mapping[str, str], report: Report, builds: Sequence[Sequence[Package]] = ()
) -> Program:
    """Return the managed copy, after installing it if it is missing or damaged.

    `builds` are alternative lists of packages for a copy, by default those for this machine.

    Raises:
        ServerStartError: why no copy can be installed.
    """
    folder = cache / f"opencode-{SNAPSHOT_VERSION}"
    distrusted = claim(cache)
    if await damage(folder, environ, cache) is None:
        return managed(folder)
    async with locked(cache, report) as lock:
        await remove_unfinished(cache)
        found = await damage(folder, environ, cache)
        if found is None:  # another process has installed it meanwhile
            return managed(folder)
        found = "other users could write to it" if distrusted else found
        there = distrusted or folder.exists()
        if there:
            await report(f"OpenCode {SNAPSHOT_VERSION} is damaged ({found}); reinstalling it")
        await install(folder, environ, report, lock, builds or needed())
        copy = managed(folder)
        if not there:
            return copy
        note = f"opencode-mcp reinstalled its copy of OpenCode {SNAPSHOT_VERSION}, which was damaged ({found})"
        return replace(copy, note=note)


async def damage(folder: Path, environ: Mapping[str, str], cache: Path) -> str | None:
    """Return the problem with an installed copy, None if it is complete and prints its version."""
    found = flaw(folder)
    if found is not None:
        return found
    version = await ask_version(managed(folder).command, environ, cache)
    return None if version == SNAPSHOT_VERSION else f"`--version` gives {version or 'nothing'}"


def flaw(folder: Path) -> str | None:
    """Return the problem with an installed copy that is visible without running it, or None."""
    copy = managed(folder)
    program = Path(copy.command[0])
    if not folder.is_dir():
        return "it is missing"
    if not program.is_file() or not copy.path:
        return "files are missing"
    if not is_private(folder) or not is_private(program):
        return "it belongs to another user, or others can write to it"
    return None if is_program(str(program)) else "it is not executable"


async def install(
    folder: Path, environ: Mapping[str, str], report: Report, lock: int, builds: Sequence[Sequence[Package]]
) -> None:
    """Install the first build that runs on this machine, atomically replacing the folder.

    The caller holds the lock.

    Raises:
        ServerStartError: why it cannot be.
    """
    if which("npm", environ) is None:
        raise ServerStartError(NO_NPM)
    await report(f"installing OpenCode {SNAPSHOT_VERSION} (once)")
    failures: list[str] = []
    for packages in builds:
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=UNFINISHED))
        try:
            await fetch(packages, temporary, environ, report, () if os.name == "nt" else (lock,))
            fresh = assemble(packages[0], temporary)
            found = await damage(fresh, environ, folder.parent)
            if found is None:
                move(fresh, folder)
                return
            failures.append(f"{packages[0].name}: {found}")
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
    program = Path(managed(copy).command[0])
    [fetched] = (copy / "node_modules" / build.name / "bin").glob("opencode*")
    program.parent.mkdir(exist_ok=True)
    fetched.replace(program)
    program.chmod(0o755)
    return copy


def move(fresh: Path, folder: Path) -> None:
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
