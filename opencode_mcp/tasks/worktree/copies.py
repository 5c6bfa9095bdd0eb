"""Copy the ignored files that a project's `.worktreeinclude` names to a new worktree, and find those that changed.

git ls-files -> ignored in the project and in the worktree -> copy -> record in the worktree's git folder

`.worktreeinclude` has the syntax of .gitignore. Copies are in no snapshot of the worktree, whatever the task does with
them: the record has their paths.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio.from_thread
import anyio.to_thread

from opencode_mcp.exceptions import WorkflowError

from .git import Git, join_nul
from .merge import file_path, find_obstacle
from .snapshot import format_paths, is_file

INCLUDE_FILE = ".worktreeinclude"
RECORD_FILE = "opencode-mcp-copies"
"""A file in the worktree's own git folder, removed with it: the copies as they were made, by path."""

MAX_FILES = 20_000
MAX_BYTES = 1 << 30
"""The most that is copied: a task must not fill a disk."""

CHUNK_BYTES = 1 << 20
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Copies:
    """The files that were copied to a worktree, and those of them that have changed since."""

    paths: frozenset[bytes] = frozenset()
    changed: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class CopiedFile:
    """A copy as it was made; a file with the same size and times is not read again."""

    size: int
    modified: int
    changed: int
    sha256: str

    @classmethod
    def read(cls, path: str, sha256: str) -> CopiedFile:
        """Return what a file is now; `sha256` is that of its content."""
        found = os.lstat(path)
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, sha256)


async def copy_included(project: Git, worktree: Git) -> str | None:
    """Copy the files, and say how many; None for a project without `.worktreeinclude`.

    Only regular files are copied that git ignores in the project and in the worktree, and over no other file.

    Raises:
        WorkflowError: there are too many, or one cannot be copied.
    """
    if not is_file(project.root, INCLUDE_FILE.encode()):
        return None
    listed = await project.run("ls-files", "-z", "--others", "--ignored", f"--exclude-from={INCLUDE_FILE}")
    ignored = await keep_ignored(project, [path for path in listed.split(b"\0") if path and not path.endswith(b"/")])
    possible = await anyio.to_thread.run_sync(partial(choose_possible, project.root, worktree.root, ignored))
    chosen = await keep_ignored(worktree, possible)
    try:
        record = await anyio.to_thread.run_sync(partial(copy_files, project.root, worktree.root, chosen))
        text = json.dumps([(path, vars(file)) for path, file in record.items()])
        (await worktree.git_path(RECORD_FILE)).write_text(text, encoding="ascii")
    except OSError as error:
        raise WorkflowError(f"a file that {INCLUDE_FILE} names cannot be copied: {error}") from error
    left = sorted({*ignored} - {*chosen})
    left_text = f"; not {format_paths(left)}: no regular file, or not ignored, or another file in the worktree"
    files = f"{len(chosen)} file{'s' * (len(chosen) != 1)}"
    return f"{files} copied to the worktree by {INCLUDE_FILE}{left_text if left else ''}"


async def keep_ignored(git: Git, paths: Sequence[bytes]) -> list[bytes]:
    """Return the paths that a working tree ignores; what git tracks is not ignored."""
    if not paths:
        return []
    # check-ignore takes no literal paths: `./` keeps a name that begins with `:` from being read as a pattern.
    own_git = replace(git, environ={**git.environ, "GIT_LITERAL_PATHSPECS": "0"})
    stdin = join_nul(b"./" + path for path in paths)
    found = await own_git.run("check-ignore", "-z", "--stdin", stdin=stdin, accept=(0, 1))
    return [path.removeprefix(b"./") for path in found.split(b"\0")[:-1]]


def choose_possible(source: str, target: str, paths: Iterable[bytes]) -> list[bytes]:
    """Return the paths of regular files that can be created in the target, in a worker thread: they may be many."""
    chosen: list[bytes] = []
    for path in paths:
        anyio.from_thread.check_cancelled()
        if is_regular(source, path) and is_free(target, path):
            chosen.append(path)
    return chosen


def is_free(root: str, path: bytes) -> bool:
    """Whether a file can be created at a path: nothing is there, and no link or file is above it."""
    return find_obstacle(os.fsencode(root), path, set()) is None and not os.path.lexists(file_path(root, path))


def is_regular(root: str, path: bytes) -> bool:
    """Whether a path is a regular file: not a symbolic link, and not below one."""
    return is_file(root, path) and stat.S_ISREG(os.lstat(file_path(root, path)).st_mode)


def copy_files(source: str, target: str, paths: Iterable[bytes]) -> dict[str, CopiedFile]:
    """Copy files with their times and modes, in a worker thread; return them as they are in the target, by path.

    Raises:
        OSError: one cannot be copied.
        WorkflowError: there are too many; none was copied.
    """
    sizes = {path: os.lstat(file_path(source, path)).st_size for path in paths}
    if len(sizes) > MAX_FILES or sum(sizes.values()) > MAX_BYTES:
        raise WorkflowError(
            f"{INCLUDE_FILE} names {len(sizes):,} files with {sum(sizes.values()):,} bytes; at most {MAX_FILES:,} with "
            f"{MAX_BYTES:,} are copied. Name fewer; `setup` can install what a package manager keeps"
        )
    record: dict[str, CopiedFile] = {}
    for path in sizes:
        anyio.from_thread.check_cancelled()
        make_parents(source, target, path)
        digest = copy_file(file_path(source, path), file_path(target, path))
        record[os.fsdecode(path)] = CopiedFile.read(file_path(target, path), digest)
    return record


def make_parents(source: str, target: str, path: bytes) -> None:
    """Create the folders above a copy, which no one may read who may not read the original ones."""
    parts = path.split(b"/")
    for depth in range(1, len(parts)):
        folder = b"/".join(parts[:depth])
        if not os.path.isdir(file_path(target, folder)):
            os.mkdir(file_path(target, folder), stat.S_IMODE(os.stat(file_path(source, folder)).st_mode) | stat.S_IRWXU)


def copy_file(source: str, target: str) -> str:
    """Copy a file with its times and mode, and return its SHA-256; until it has that mode, only its owner may read."""
    digest = hashlib.sha256()
    with (
        open(os.open(source, os.O_RDONLY | NO_FOLLOW), "rb") as reader,
        open(target, "xb", opener=partial(os.open, mode=stat.S_IRUSR | stat.S_IWUSR)) as writer,
    ):
        found = os.fstat(reader.fileno())
        while chunk := reader.read(CHUNK_BYTES):
            digest.update(chunk)
            writer.write(chunk)
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
    os.chmod(target, stat.S_IMODE(found.st_mode))
    return digest.hexdigest()


async def read_copies(worktree: Git, project: Git) -> Copies:
    """Return the copies in a worktree; one with the content of the project's file has not changed.

    Raises:
        WorkflowError: their record cannot be read.
    """
    file = await worktree.git_path(RECORD_FILE)
    return await anyio.to_thread.run_sync(partial(compare_copies, file, worktree.root, project.root))


def compare_copies(file: Path, worktree: str, project: str) -> Copies:
    """Compare copies with their record, and changed ones with the project."""
    try:
        stored: list[tuple[str, dict[str, Any]]] = json.loads(file.read_text(encoding="ascii"))
        record = {os.fsencode(path): CopiedFile(**facts) for path, facts in stored}
    except FileNotFoundError:
        return Copies()
    except (OSError, ValueError, TypeError) as error:
        raise WorkflowError(f"{file}, which names the files that were copied, cannot be read: {error}") from error
    return Copies(frozenset(record), tuple(find_changed(record, worktree, project)))


def find_changed(record: Mapping[bytes, CopiedFile], worktree: str, project: str) -> list[bytes]:
    """Return the copies whose content neither the record nor the project has; a deleted one has none."""
    changed: list[bytes] = []
    for path, made in record.items():
        here, there = file_path(worktree, path), file_path(project, path)
        if not os.path.lexists(here) or CopiedFile.read(here, made.sha256) == made:
            continue
        if not is_regular(worktree, path):
            changed.append(path)
            continue
        with open(here, "rb") as reader:
            digest = hashlib.file_digest(reader, "sha256").hexdigest()
        if digest != made.sha256 and not (is_regular(project, path) and filecmp.cmp(here, there, shallow=False)):
            changed.append(path)
    return changed
