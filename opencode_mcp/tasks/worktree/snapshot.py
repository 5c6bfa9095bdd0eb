"""All that a git working tree holds, as a tree: committed, staged, unstaged and untracked; nothing of it is touched.

index (a copy) -> status -> update-index -> write-tree
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .git import GITLINK, Git, TreeChange, TreeEntry, decode_text, join_nul, with_index

UNSTAGED_CODES = frozenset(b"MTDAU")
"""What the second letter of a status says when the file differs from the index."""


@dataclass(frozen=True)
class TreeSnapshot:
    """What a working tree holds. `tree` is the id of the tree.

    `changes` is what differs from the base, without `repositories`: nested repositories and submodules with
    changes, whose files are not git's to compare here. `ignored` is what .gitignore leaves out; a folder
    that is ignored as a whole ends in a slash.
    """

    tree: str
    changes: list[TreeChange]
    repositories: list[bytes]
    ignored: list[bytes]


@dataclass
class StatusPaths:
    """What `git status` says: paths to be added to the index and removed from it, and what is left alone."""

    add: list[bytes] = field(default_factory=list[bytes])
    remove: list[bytes] = field(default_factory=list[bytes])
    repositories: list[bytes] = field(default_factory=list[bytes])
    ignored: list[bytes] = field(default_factory=list[bytes])


async def snapshot_tree(git: Git, folder: Path, base: str, *, keep_objects: bool = False) -> TreeSnapshot:
    """Return what a working tree holds, compared with `base` (a commit or a tree).

    The base's own entry stands for a nested repository or submodule, so that nothing is done to it.

    Raises:
        WorkflowError: git cannot read it.
    """
    index_git = with_index(git, folder, "snapshot", keep_objects=keep_objects)
    index = await git.git_path("index")
    if index.exists():
        shutil.copy2(index, folder / "snapshot")  # its time too: by that git knows which files may have changed since
    await compare_hidden_files(index_git)
    status = await read_status(index_git)
    await index_git.remove_from_index(status.remove)
    await index_git.add_to_index(status.add)
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
        ignored=status.ignored,
    )


async def compare_hidden_files(git: Git) -> None:
    """Have git compare files that the index says not to look at, where they are there.

    Marks of `update-index --assume-unchanged` and `--skip-worktree` (sparse checkouts too) would hide changes.
    """
    lines = (await git.run("ls-files", "-z", "-v")).split(b"\0")[:-1]
    hidden = [(line[:1], line[2:]) for line in lines if line[:1] == b"S" or line[:1].islower()]
    assumed = [path for mark, path in hidden if mark.islower()]
    skipped = [path for mark, path in hidden if mark in b"Ss" and is_file(git.root, path)]
    for option, paths in (("--no-assume-unchanged", assumed), ("--no-skip-worktree", skipped)):
        if paths:
            await git.run("update-index", "-z", option, "--stdin", stdin=join_nul(paths))


async def submodules_at_risk(git: Git) -> list[bytes]:
    """Return submodules that have what git's status does not tell of.

    They were not checked out and have files all the same; or a branch of theirs has commits of no remote.
    """
    entries = (line.partition(b"\t") for line in (await git.run("ls-files", "-z", "--stage")).split(b"\0"))
    submodules = [path for facts, _, path in entries if facts.startswith(GITLINK.encode())]
    top = os.fsencode(git.root)
    return [path for path in submodules if has_stray_files(top, path) or await has_unpushed_commits(git, path)]


async def has_unpushed_commits(git: Git, path: bytes) -> bool:
    """Whether a submodule that is checked out has commits of no remote: its repository goes with the worktree."""
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
    """Whether a file is there that the index does not have any more: not tracked, and ignored since."""
    return not change.is_repository and is_file(root, change.path)


async def read_status(git: Git) -> StatusPaths:
    """Read how the files differ from the index."""
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
    """Record an untracked or ignored path: a folder that is listed as one file is a repository of its own."""
    path = line[2:]
    if line.startswith(b"!"):
        status.ignored.append(path)
    elif path.endswith(b"/"):
        status.repositories.append(path.rstrip(b"/"))
    else:
        status.add.append(path)


async def read_entries(git: Git, expected: Mapping[bytes, TreeEntry | None]) -> dict[bytes, TreeEntry | None]:
    """Read paths from the working tree, whatever .gitignore says; None is what is not there.

    What is `expected` decides where git asks the index: whether line endings are converted, and the mode on a
    file system that has none. A path below a symbolic link is not there: that leads out of this working tree.
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
    """Whether a path is a file or a symbolic link in a working tree, with real folders above it."""
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
