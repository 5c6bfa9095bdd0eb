"""Apply changes to a working tree: a three-way merge of files, written all or not at all, then compared.

entries of base, ours, theirs -> merge -> obstacles -> back up -> read-tree -m -u -> compare

The user's index is neither read nor written, and no conflict markers are written. Files that a merge overwrites are
backed up first, and restored if it fails.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from opencode_mcp.exceptions import WorkflowError

from .git import REGULAR_MODES, Git, TreeChange, TreeEntry, decode_text, lock_worktree, with_index
from .snapshot import format_paths, is_file, read_entries


@dataclass(frozen=True)
class Merge:
    """The result of a merge by path; an entry that is None means no such file.

    `ours` has the entries in the working tree now, `merged` those after the merge, `conflicts` a reason for each path.
    """

    ours: Mapping[bytes, TreeEntry | None]
    merged: Mapping[bytes, TreeEntry | None]
    conflicts: Mapping[bytes, str]

    @property
    def missing(self) -> list[bytes]:
        """The paths whose changes the working tree lacks."""
        return sorted({*self.conflicts, *(path for path, entry in self.merged.items() if self.ours[path] != entry)})


async def merge_changes(
    git: Git, folder: Path, changes: list[TreeChange], later_changes: Mapping[bytes, TreeChange] | None = None
) -> Merge:
    """Merge changes with a working tree's files as they are now; nothing is written but objects.

    `later_changes` has the changes since the last apply, by path: they are used where the whole change conflicts (with
    what was applied then), and for paths that are not in `changes`.
    """
    later_changes = later_changes or {}
    known = {change.path for change in changes}
    changes = [*changes, *(change for path, change in later_changes.items() if path not in known)]
    if not changes:
        return Merge({}, {}, {})
    index_git = with_index(git, folder, "merge")
    ours = await read_entries(index_git, {change.path: change.before for change in changes})
    merged: dict[bytes, TreeEntry | None] = {}
    conflicts: dict[bytes, str] = {}
    for change in changes:
        entry = await merge_entry(index_git, folder, change, ours[change.path])
        if isinstance(entry, str) and change.path in known & later_changes.keys():
            entry = await merge_entry(index_git, folder, later_changes[change.path], ours[change.path])
        if isinstance(entry, str):
            conflicts[change.path] = entry
        else:
            merged[change.path] = entry
    return Merge(ours, merged, {**conflicts, **find_obstacles(git.root, ours, merged)})


def find_obstacles(
    root: str, ours: Mapping[bytes, TreeEntry | None], merged: Mapping[bytes, TreeEntry | None]
) -> dict[bytes, str]:
    """Return the files that cannot be written, with the reason. git would delete an ignored file that is in the way."""
    removed = {path for path, entry in merged.items() if entry is None and ours[path] is not None}
    return {
        path: f"cannot be written: the project has {decode_text(other)} at that path"
        for path, entry in merged.items()
        if entry is not None and ours[path] != entry and (other := find_obstacle(os.fsencode(root), path, removed))
    }


def find_obstacle(top: bytes, path: bytes, removed: set[bytes]) -> bytes | None:
    """Return what is in the way at a path or a folder above it, unless it is in `removed`; None for nothing."""
    parts = path.split(b"/")
    for depth in range(1, len(parts)):
        parent = b"/".join(parts[:depth])
        parent_path = os.path.join(top, parent)
        if os.path.islink(parent_path) or (os.path.lexists(parent_path) and not os.path.isdir(parent_path)):
            return None if parent in removed else parent
    full_path = os.path.join(top, path)
    if os.path.islink(full_path) or not os.path.isdir(full_path):
        return None
    for folder, folders, files in os.walk(full_path):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*files, *links):
            relative = os.path.relpath(os.path.join(folder, name), top)
            if relative not in removed:
                return relative
    return None


async def merge_entry(git: Git, folder: Path, change: TreeChange, ours: TreeEntry | None) -> TreeEntry | str | None:
    """Return a path's merged entry, or the reason of a conflict."""
    base, theirs = change.before, change.after
    if ours in (theirs, base):
        return theirs
    if theirs == base:
        return ours
    if ours is None:
        return "no longer exists in the project" if base is not None else "is missing"
    if theirs is None:
        return "was deleted by the task and changed in the project"
    if base is None:
        return "was created in both with different contents"
    if not {base.mode, ours.mode, theirs.mode} <= REGULAR_MODES:
        return "is not a regular file on one side"
    mode = theirs.mode if ours.mode == base.mode else ours.mode
    if theirs.object_id in (base.object_id, ours.object_id):
        return TreeEntry(mode, ours.object_id)
    if ours.object_id == base.object_id:
        return TreeEntry(mode, theirs.object_id)
    sides = {"ours": ours, "base": base, "theirs": theirs}
    for name, side in sides.items():
        (folder / name).write_bytes(await git.run("cat-file", "blob", side.object_id))
    files = [str(folder / name) for name in sides]
    try:
        result = await git.run("merge-file", "-p", "-q", *files)
    except WorkflowError:
        return "changed in both in the same place, or is binary"
    return TreeEntry(mode, (await git.run("hash-object", "-w", "--stdin", stdin=result)).decode().strip())


async def apply_merge(git: Git, folder: Path, merge: Merge) -> list[bytes]:
    """Write the merged files into the working tree, under its lock; return the paths that were written.

    Raises:
        WorkflowError: nothing was written, and why; or which files differed afterwards.
    """
    async with lock_worktree(git):
        return await write_merge(git, folder, merge)


async def write_merge(git: Git, folder: Path, merge: Merge) -> list[bytes]:
    """Write the merged files, then check the bytes and mode of each.

    Raises:
        WorkflowError: what `apply_merge` raises.
    """
    changed = [path for path, entry in merge.merged.items() if merge.ours[path] != entry]
    if not changed:
        return []
    ours = {path: merge.ours[path] for path in changed}
    merged = {path: merge.merged[path] for path in changed}
    before = await write_entries_tree(with_index(git, folder, "before"), ours)
    after = await write_entries_tree(with_index(git, folder, "after"), merged)
    index_git = with_index(git, folder, "written")
    if await read_entries(index_git, ours) != ours or find_obstacles(git.root, ours, merged):
        raise WorkflowError(f"files in {git.root} changed during the merge; nothing was applied. Call again")
    try:
        copies = await anyio.to_thread.run_sync(partial(back_up, git.root, folder, changed))
    except OSError as error:
        raise WorkflowError(f"nothing was applied to {git.root}: cannot back up its files: {error}") from error
    with anyio.CancelScope(shield=True):  # a cancellation would leave half of the files
        try:
            await index_git.run("read-tree", "-m", "-u", before, after)
        except WorkflowError as error:
            restored = await roll_back(git, folder, ours, merged, copies)
            raise WorkflowError(
                f"nothing was applied to {git.root} ({format_paths(changed)}): {error}{restored}"
            ) from error
        current = await read_entries(with_index(git, folder, "now"), merged)
        if mismatched := [path for path in changed if current[path] != merged[path]]:
            restored = await roll_back(git, folder, ours, merged, copies)
            raise WorkflowError(
                f"{format_paths(mismatched)} in {git.root} differed from the worktree after the merge: a git attribute "
                f"or filter changes them, or another program wrote them. All files were restored{restored}"
            )
    return changed


async def roll_back(
    git: Git,
    folder: Path,
    ours: Mapping[bytes, TreeEntry | None],
    merged: Mapping[bytes, TreeEntry | None],
    copies: Mapping[bytes, Path | None],
) -> str:
    """Restore the files that were written or removed; say where files of another program were moved, "" for none.

    Raises:
        WorkflowError: a file cannot be restored; where its contents are.
    """
    current = await read_entries(with_index(git, folder, "now"), merged)
    changed = {path: copy for path, copy in copies.items() if current[path] != ours[path]}
    unexpected = [path for path in changed if current[path] is not None and current[path] != merged[path]]
    try:
        rescue_folder = await anyio.to_thread.run_sync(partial(restore, git.root, changed, unexpected))
    except OSError as error:
        raise WorkflowError(
            f"{format_paths(sorted(changed))}: writing to {git.root} failed, and restoring failed too: "
            f"{error.strerror}. The original files are in {error.filename}, named *.before"
        ) from error
    return (
        ""
        if rescue_folder is None
        else f". What another program wrote to {format_paths(unexpected)} is in {rescue_folder}"
    )


async def write_entries_tree(git: Git, entries: Mapping[bytes, TreeEntry | None]) -> str:
    """Return a tree that holds entries and nothing else."""
    await git.run("read-tree", "--empty")
    await git.set_entries({path: entry for path, entry in entries.items() if entry is not None})
    return await git.write_tree()


def back_up(root: str, folder: Path, paths: Iterable[bytes]) -> dict[bytes, Path | None]:
    """Copy files, links and modes into a folder; return the copies by path, None for a file that does not exist.

    Raises:
        OSError: one cannot be copied.
    """
    backup_folder = folder / "backup"
    backup_folder.mkdir()
    copies: dict[bytes, Path | None] = {}
    for number, path in enumerate(paths):
        copies[path] = backup_folder / str(number) if is_file(root, path) else None
        if (copy := copies[path]) is not None:
            shutil.copy2(file_path(root, path), copy, follow_symlinks=False)
    return copies


def restore(root: str, copies: Mapping[bytes, Path | None], unexpected: Sequence[bytes]) -> str | None:
    """Restore files; those in `unexpected` were written by another program, and are kept in a new folder.

    Returns that folder, None without such files. If a file cannot be restored, the copies are kept there too.

    Raises:
        OSError: a file cannot be restored; `filename` is the folder that has the copies.
    """
    rescue_folder = tempfile.mkdtemp(prefix="opencode-mcp-kept-") if unexpected else None
    try:
        for path in copies:
            if is_file(root, path):
                if rescue_folder is not None and path in unexpected:
                    shutil.copy2(file_path(root, path), backup_path(rescue_folder, path), follow_symlinks=False)
                os.unlink(file_path(root, path))
                remove_empty_parents(root, path)
        for path, copy in copies.items():
            if copy is not None:
                os.makedirs(os.path.dirname(file_path(root, path)), exist_ok=True)
                shutil.copy2(copy, file_path(root, path), follow_symlinks=False)
    except OSError as error:
        rescue_folder = rescue_folder or tempfile.mkdtemp(prefix="opencode-mcp-kept-")
        for path, copy in copies.items():
            if copy is not None:
                shutil.copy2(copy, backup_path(rescue_folder, path) + ".before", follow_symlinks=False)
        raise OSError(error.errno, error.strerror, rescue_folder) from error
    return rescue_folder


def file_path(root: str, path: bytes) -> str:
    """Return the absolute path of a file in a working tree."""
    return os.path.join(root, os.fsdecode(path))


def backup_path(folder: str, path: bytes) -> str:
    """Return the path of a file's copy in a folder outside its working tree."""
    return os.path.join(folder, os.fsdecode(path).replace("/", "%"))


def remove_empty_parents(root: str, path: bytes) -> None:
    """Remove the empty folders above a path, as git does."""
    with suppress(OSError):
        parent = os.path.dirname(path)
        while parent:
            os.rmdir(file_path(root, parent))
            parent = os.path.dirname(parent)
