"""Bring changes into a working tree: a three-way merge of files, written all or not at all, then compared.

entries of base, ours, theirs -> merge -> what is in the way -> back up -> read-tree -m -u -> compare

The user's index is neither read nor written, and no conflict marker is left behind.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from opencode_mcp.exceptions import WorkflowError

from .backup import back_up, put_back
from .git import REGULAR, Change, Entry, Git, locked, shown, with_index
from .snapshot import entries_of, names


@dataclass(frozen=True)
class Merge:
    """What becomes of the changed paths in a working tree; an entry that is None means no such file.

    `ours` are those that are there now; `merged` those that are to be there. `conflicts` maps a path to the reason.
    """

    ours: Mapping[bytes, Entry | None]
    merged: Mapping[bytes, Entry | None]
    conflicts: Mapping[bytes, str]

    @property
    def missing(self) -> list[bytes]:
        """The paths that the working tree does not have the changes of."""
        return sorted({*self.conflicts, *(path for path, entry in self.merged.items() if self.ours[path] != entry)})


async def merge(git: Git, folder: Path, changes: list[Change], again: Mapping[bytes, Change] | None = None) -> Merge:
    """Merge changes with a working tree's files as they are now; nothing is written but objects.

    `again` has the changes since they were brought over before, by path: they hold where the whole change conflicts
    with what was brought, and for paths that have no other.
    """
    again = again or {}
    known = {change.path for change in changes}
    changes = [*changes, *(change for path, change in again.items() if path not in known)]
    if not changes:
        return Merge({}, {}, {})
    own = with_index(git, folder, "merge")
    ours = await entries_of(own, {change.path: change.before for change in changes})
    merged: dict[bytes, Entry | None] = {}
    conflicts: dict[bytes, str] = {}
    for change in changes:
        entry = await merged_entry(own, folder, change, ours[change.path])
        if isinstance(entry, str) and change.path in known & again.keys():
            entry = await merged_entry(own, folder, again[change.path], ours[change.path])
        if isinstance(entry, str):
            conflicts[change.path] = entry
        else:
            merged[change.path] = entry
    return Merge(ours, merged, {**conflicts, **in_the_way(git.root, ours, merged)})


def in_the_way(root: str, ours: Mapping[bytes, Entry | None], merged: Mapping[bytes, Entry | None]) -> dict[bytes, str]:
    """Say which files cannot be written for what else is there. git itself would delete what .gitignore names."""
    going = {path for path, entry in merged.items() if entry is None and ours[path] is not None}
    return {
        path: f"cannot be written: the project has {shown(other)} at that path"
        for path, entry in merged.items()
        if entry is not None and ours[path] != entry and (other := obstacle(os.fsencode(root), path, going))
    }


def obstacle(top: bytes, path: bytes, going: set[bytes]) -> bytes | None:
    """Return what is at a path's place, or at that of a folder above it, and is not `going`; None for nothing."""
    parts = path.split(b"/")
    for depth in range(1, len(parts)):
        above = b"/".join(parts[:depth])
        place = os.path.join(top, above)
        if os.path.islink(place) or (os.path.lexists(place) and not os.path.isdir(place)):
            return None if above in going else above
    whole = os.path.join(top, path)
    if os.path.islink(whole) or not os.path.isdir(whole):
        return None
    for folder, folders, files in os.walk(whole):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*files, *links):
            found = os.path.relpath(os.path.join(folder, name), top)
            if found not in going:
                return found
    return None


async def merged_entry(git: Git, folder: Path, change: Change, ours: Entry | None) -> Entry | str | None:
    """Return a path's entry when both sides are merged, or why they cannot be."""
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
    if not {base.mode, ours.mode, theirs.mode} <= REGULAR:
        return "is not a regular file on one side"
    mode = theirs.mode if ours.mode == base.mode else ours.mode
    if theirs.id in (base.id, ours.id):
        return Entry(mode, ours.id)
    if ours.id == base.id:
        return Entry(mode, theirs.id)
    sides = {"ours": ours, "base": base, "theirs": theirs}
    for name, side in sides.items():
        (folder / name).write_bytes(await git.run("cat-file", "blob", side.id))
    files = [str(folder / name) for name in sides]
    try:
        result = await git.run("merge-file", "-p", "-q", *files)
    except WorkflowError:
        return "changed in both in the same place, or is binary"
    return Entry(mode, (await git.run("hash-object", "-w", "--stdin", stdin=result)).decode().strip())


async def bring_over(git: Git, folder: Path, merge: Merge) -> list[bytes]:
    """Write the merged files into the working tree, one bridge at a time.

    Raises:
        WorkflowError: nothing was written, and why; or which files did not arrive as they were.
    """
    async with locked(git):
        return await write(git, folder, merge)


async def write(git: Git, folder: Path, merge: Merge) -> list[bytes]:
    """Write the merged files, and see that each is there as it is to be: bytes and mode.

    Raises:
        WorkflowError: as `bring_over`.
    """
    changed = [path for path, entry in merge.merged.items() if merge.ours[path] != entry]
    if not changed:
        return []
    ours = {path: merge.ours[path] for path in changed}
    merged = {path: merge.merged[path] for path in changed}
    before = await tree_of(with_index(git, folder, "before"), ours)
    after = await tree_of(with_index(git, folder, "after"), merged)
    own = with_index(git, folder, "written")
    if await entries_of(own, ours) != ours or in_the_way(git.root, ours, merged):
        raise WorkflowError(f"files in {git.root} changed during the merge; nothing was applied. Call again")
    try:
        copies = await anyio.to_thread.run_sync(partial(back_up, git.root, folder, changed))
    except OSError as error:
        raise WorkflowError(f"nothing was applied to {git.root}: cannot back up its files: {error}") from error
    with anyio.CancelScope(shield=True):  # cut off, half of the files would be there
        try:
            await own.run("read-tree", "-m", "-u", before, after)
        except WorkflowError as error:
            restored = await take_back(git, folder, ours, merged, copies)
            raise WorkflowError(f"nothing was applied to {git.root} ({names(changed)}): {error}{restored}") from error
        now = await entries_of(with_index(git, folder, "now"), merged)
        if wrong := [path for path in changed if now[path] != merged[path]]:
            restored = await take_back(git, folder, ours, merged, copies)
            raise WorkflowError(
                f"{names(wrong)} in {git.root} differed from the worktree after the merge: a git attribute or filter "
                f"changes them, or another program wrote them. All files were restored{restored}"
            )
    return changed


async def take_back(
    git: Git,
    folder: Path,
    ours: Mapping[bytes, Entry | None],
    merged: Mapping[bytes, Entry | None],
    copies: Mapping[bytes, Path | None],
) -> str:
    """Put back the files that were written or removed, and say where else something is kept; "" for nowhere.

    Raises:
        WorkflowError: one cannot be put back; where its contents are.
    """
    now = await entries_of(with_index(git, folder, "now"), merged)
    changed = {path: copy for path, copy in copies.items() if now[path] != ours[path]}
    odd = [path for path in changed if now[path] is not None and now[path] != merged[path]]
    try:
        kept = await anyio.to_thread.run_sync(partial(put_back, git.root, changed, odd))
    except OSError as error:
        raise WorkflowError(
            f"{names(sorted(changed))}: writing to {git.root} failed, and restoring failed too: {error.strerror}. The "
            f"original files are in {error.filename}, named *.before"
        ) from error
    return "" if kept is None else f". What another program wrote to {names(odd)} is in {kept}"


async def tree_of(git: Git, entries: Mapping[bytes, Entry | None]) -> str:
    """Return a tree that holds entries and nothing else."""
    await git.run("read-tree", "--empty")
    await git.set_entries({path: entry for path, entry in entries.items() if entry is not None})
    return await git.write_tree()
