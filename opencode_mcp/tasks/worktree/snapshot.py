"""The files of a git working tree as a tree object: committed, staged, unstaged and untracked; read only.

index (a copy) -> status -> update-index -> write-tree
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .git import GITLINK, Git, TreeChange, TreeEntry, decode_text, join_nul, with_index

UNSTAGED_CODES = frozenset(b"MTDAU")
"""Second letters of a status line that mean that the file differs from the index."""


@dataclass(frozen=True)
class TreeSnapshot:
    """The files of a working tree. `tree` is the id of the tree object.

    `changes` has the differences from the base, without `repositories`: nested repositories and submodules with
    changes, whose files this repository does not track. `ignored` has the paths that .gitignore excludes; a folder that
    is ignored as a whole ends in a slash.
    """

    tree: str
    changes: list[TreeChange]
    repositories: list[bytes]
    ignored: list[bytes]


@dataclass
class StatusPaths:
    """The paths of `git status`: to add to the index, to remove from it, and those that stay out of it."""

    add: list[bytes] = field(default_factory=list[bytes])
    remove: list[bytes] = field(default_factory=list[bytes])
    repositories: list[bytes] = field(default_factory=list[bytes])
    ignored: list[bytes] = field(default_factory=list[bytes])


async def snapshot_tree(
    git: Git, folder: Path, base: str, *, keep_objects: bool = False, leave_out: Collection[bytes] = ()
) -> TreeSnapshot:
    """Return the files of a working tree, compared with `base` (a commit or a tree).

    The files in `leave_out`, which the base lacks, are in none of its lists, even where git tracks them by now.
    A nested repository or submodule keeps its entry of the base, so that a merge does not touch it.

    Raises:
        WorkflowError: git cannot read it.
    """
    index_git = with_index(git, folder, "snapshot", keep_objects=keep_objects)
    index = await git.git_path("index")
    if index.exists():
        shutil.copy2(index, folder / "snapshot")  # with its mtime: git compares the files that changed since
    await compare_hidden_files(index_git)
    status = await read_status(index_git)
    await index_git.remove_from_index([*status.remove, *leave_out])
    await index_git.add_to_index(path for path in status.add if path not in leave_out)
    tree = await index_git.write_tree()
    changes = await index_git.diff_trees(f"{base}^{{tree}}", tree)
    if on_disk := [
        deletion.path for deletion in changes if deletion.after is None and is_still_on_disk(git.root, deletion)
    ]:
        await index_git.add_to_index(on_disk)
        tree = await index_git.write_tree()
        changes = await index_git.diff_trees(f"{base}^{{tree}}", tree)
    repositories = {change.path: change.before for change in changes if change.is_repository}
    if repositories:
        await index_git.set_entries(repositories)
        tree = await index_git.write_tree()
        changes = await index_git.diff_trees(f"{base}^{{tree}}", tree)
    return TreeSnapshot(
        tree=tree,
        changes=changes,
        repositories=sorted({*status.repositories, *repositories, *await submodules_at_risk(index_git)}),
        ignored=[path for path in status.ignored if path not in leave_out],
    )


async def compare_hidden_files(git: Git) -> None:
    """Make git compare existing files that the index marks as not to be compared.

    The marks of `update-index --assume-unchanged` and `--skip-worktree` (sparse checkouts too) would hide changes.
    """
    lines = (await git.run("ls-files", "-z", "-v")).split(b"\0")[:-1]
    hidden = [(line[:1], line[2:]) for line in lines if line[:1] == b"S" or line[:1].islower()]
    assumed = [path for mark, path in hidden if mark.islower()]
    skipped = [path for mark, path in hidden if mark in b"Ss" and is_file(git.root, path)]
    for option, paths in (("--no-assume-unchanged", assumed), ("--no-skip-worktree", skipped)):
        if paths:
            await git.run("update-index", "-z", option, "--stdin", stdin=join_nul(paths))


async def submodules_at_risk(git: Git) -> list[bytes]:
    """Return submodules with content that `git status` does not show.

    They are not checked out and yet have files; or one of their branches has commits that no remote has.
    """
    entries = (line.partition(b"\t") for line in (await git.run("ls-files", "-z", "--stage")).split(b"\0"))
    submodules = [path for facts, _, path in entries if facts.startswith(GITLINK.encode())]
    top = os.fsencode(git.root)
    return [path for path in submodules if has_stray_files(top, path) or await has_unpushed_commits(git, path)]


async def has_unpushed_commits(git: Git, path: bytes) -> bool:
    """Whether a checked-out submodule has commits that no remote has: its repository is removed with the worktree."""
    module = Git(os.path.join(git.root, os.fsdecode(path)), git.base_environ)
    if not is_repository(module.root):
        return False
    return bool(await module.run("rev-list", "--max-count=1", "--branches", "--not", "--remotes"))


def is_repository(folder: str) -> bool:
    """Whether a folder is the top of a repository's working tree."""
    return os.path.lexists(os.path.join(folder, ".git"))


def has_stray_files(top: bytes, path: bytes) -> bool:
    """Whether a folder has files and is not the top of a repository."""
    folder = os.path.join(top, path)
    return os.path.isdir(folder) and not is_repository(os.fsdecode(folder)) and bool(os.listdir(folder))


def is_still_on_disk(root: str, change: TreeChange) -> bool:
    """Whether a file exists that the index no longer has: untracked now, and ignored."""
    return not change.is_repository and is_file(root, change.path)


async def read_status(git: Git) -> StatusPaths:
    """Read which files differ from the index."""
    options = ("--porcelain=v2", "-z", "-uall", "--ignored=matching", "--ignore-submodules=none", "--no-renames")
    status = StatusPaths()
    for line in (await git.run("status", *options)).split(b"\0"):
        match line[:2]:
            case b"? " | b"! ":
                add_untracked(status, line)
            case b"1 ":
                _, letters, submodule, *_, path = line.split(b" ", 8)
                if submodule != b"N...":
                    status.repositories.append(path)
                elif letters[1] in UNSTAGED_CODES:
                    (status.remove if letters[1] in b"D" else status.add).append(path)
            case b"u ":
                path = line.split(b" ", 10)[10]
                (status.add if is_file(git.root, path) else status.remove).append(path)
            case _:
                pass
    return status


def add_untracked(status: StatusPaths, line: bytes) -> None:
    """Record an untracked or ignored path: git lists a nested repository as one path that ends in a slash."""
    path = line[2:]
    if line.startswith(b"!"):
        status.ignored.append(path)
    elif path.endswith(b"/"):
        status.repositories.append(path.rstrip(b"/"))
    else:
        status.add.append(path)


async def read_entries(git: Git, expected: Mapping[bytes, TreeEntry | None]) -> dict[bytes, TreeEntry | None]:
    """Read the entries of paths from the working tree, ignored ones too; None for a path that is not a file.

    git takes what a file alone does not show from the `expected` entries: whether line endings are converted, and the
    mode on a file system without one. A path below a symbolic link counts as missing: it is outside the working tree.
    """
    present = {path: entry for path, entry in expected.items() if is_file(git.root, path)}
    await git.run("read-tree", "--empty")
    await git.set_entries({path: entry for path, entry in present.items() if entry is not None})
    await git.add_to_index(present)
    entries: dict[bytes, TreeEntry | None] = dict.fromkeys(expected)
    for line in (await git.run("ls-files", "-z", "--stage")).split(b"\0")[:-1]:
        facts, _, path = line.partition(b"\t")
        mode, object_id, _ = facts.decode().split(" ")
        entries[path] = TreeEntry(mode, object_id)
    return entries


def is_file(root: str, path: bytes) -> bool:
    """Whether a path is a file or a symbolic link in a working tree, with no symbolic link above it."""
    top = os.fsencode(root)
    parts = path.split(b"/")
    for depth in range(1, len(parts)):
        parent = os.path.join(top, *parts[:depth])
        if os.path.islink(parent) or not os.path.isdir(parent):
            return False
    full_path = os.path.join(top, path)
    return os.path.lexists(full_path) and (os.path.islink(full_path) or not os.path.isdir(full_path))


def format_paths(paths: list[bytes], limit: int = 5) -> str:
    """Name paths: the first few, and how many more there are."""
    first = ", ".join(decode_text(path) for path in paths[:limit])
    return f"{first} and {len(paths) - limit} more" if len(paths) > limit else first
