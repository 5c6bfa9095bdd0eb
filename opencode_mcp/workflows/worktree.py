"""A task's worktree on this machine: proven to be OpenCode's, read, merged into the project.

worktree_create -> proof -> base and token in the session's metadata -> snapshot -> merge -> project

The bridge uses git itself only where it has proven that it sees OpenCode's files; elsewhere `remote.py` holds.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from anyio.to_thread import run_sync

from opencode_mcp.exceptions import APIError, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import FileChange

from .git import OWN_OBJECTS, Change, Git, keep_objects, make_objects, scratch, shown, storing, with_index
from .merge import Merge, bring_over, merge
from .metadata import TaskMetadata
from .snapshot import Snapshot, names, snapshot

TOKEN_FILE = "opencode-mcp-token"
"""In the worktree's own git folder, which goes with it: the file that proves later which worktree this is."""


@dataclass(frozen=True)
class LocalChanges:
    """What a worktree holds beyond its base, and how that fits into the project now.

    `folder` has the objects that are in no repository; `lost_commits` says which commits are on the worktree's
    branch and not in its files. `brought` is whether this very state was brought over before.
    """

    worktree: Git
    project: Git
    folder: Path
    base: str
    branch: str | None
    snapshot: Snapshot
    merge: Merge
    lost_commits: str
    brought: bool

    @property
    def target(self) -> str:
        """Where changes are brought: the top of the project's working tree."""
        return self.project.root

    @property
    def state(self) -> str | None:
        """What identifies this state of the worktree."""
        return self.snapshot.tree

    @property
    def left_behind(self) -> list[str]:
        """What cannot be brought over, in words."""
        nested = [f"{shown(path)} (a nested repository or submodule)" for path in self.snapshot.repositories]
        return [*nested, *([self.lost_commits] if self.lost_commits else [])]

    @property
    def missing(self) -> list[str]:
        """What the project does not have, in words."""
        return [*([] if self.brought else map(shown, self.merge.missing)), *self.left_behind]

    @property
    def note(self) -> str | None:
        """What a reader of the files must know beside them."""
        said: list[str] = []
        taken_back = sorted(self.merge.merged.keys() - {one.path for one in self.snapshot.changes})
        if taken_back := [path for path in taken_back if path in self.merge.missing]:
            said.append(f"applied before and reverted by the task since: {names(taken_back)}")
        if self.snapshot.repositories:
            nested = names(self.snapshot.repositories)
            said.append(f"not included: {nested}, a nested repository or submodule with its own changes; {self.how}")
        if self.snapshot.ignored:
            said.append(f"not included because git ignores them: {names(self.snapshot.ignored)}")
        return "; ".join(said) or None

    @property
    def how(self) -> str:
        """What to do with what cannot be brought over."""
        return f"push or copy it from {self.worktree.root}"

    async def files(self) -> list[FileChange]:
        """Return the changes as OpenCode reports them, without patches."""
        output = await self._diff("--numstat", "-z")
        lines = [line.split(b"\t", 2) for line in output.split(b"\0")[:-1]]
        numbers = {path: (added, deleted) for added, deleted, path in lines}
        return [
            FileChange(
                file=shown(one.path),
                status=one.status,
                additions=count(numbers[one.path][0]),
                deletions=count(numbers[one.path][1]),
            )
            for one in self.snapshot.changes
        ]

    async def patch(self) -> str:
        """Return one patch of all changes, binary files included, as git applies it."""
        return (await self._diff("-p", "--binary", "--full-index")).decode("utf-8", "replace")

    async def _diff(self, *options: str) -> bytes:
        reading = with_index(self.worktree, self.folder, "reading")
        trees = (f"{self.base}^{{tree}}", self.snapshot.tree)
        return await reading.run("diff-tree", "-r", "--no-renames", *options, *trees)

    async def apply(self) -> None:
        """Bring everything over that can be, all or nothing.

        Raises:
            WorkflowError: conflicts, or something in the way; nothing was written.
        """
        listed = (await self.project.run("ls-files", "-u", "-z")).split(b"\0")[:-1]
        unmerged = {line.partition(b"\t")[2] for line in listed} & {one.path for one in self.snapshot.changes}
        if unmerged:
            raise WorkflowError(
                f"{names(sorted(unmerged))}: a merge or rebase in {self.target} has unresolved conflicts; resolve them "
                "and finish it first. Nothing was applied"
            )
        if self.merge.conflicts:
            said = "; ".join(f"{shown(path)} {reason}" for path, reason in self.merge.conflicts.items())
            raise WorkflowError(
                f"the changes conflict, nothing was applied: {said}. The task's files are in {self.worktree.root}"
            )
        await keep_objects(self.worktree, self.folder)
        await bring_over(self.project, self.folder, self.merge)

    @asynccontextmanager
    async def leaving(self, force: bool) -> AsyncGenerator[str | None]:
        """Verify that the worktree is unchanged, then keep it on its own branch (or detached) in the block.

        OpenCode deletes the branch that a worktree has checked out (1.18.33), whatever else that branch has.

        Raises:
            WorkflowError: files have changed; or git fails.
        """
        async with scratch(self.worktree) as folder:
            if not force and (await snapshot(self.worktree, folder, self.base)).tree != self.snapshot.tree:
                raise WorkflowError(
                    f"nothing was discarded: files in {self.worktree.root} changed during the call, so a program still "
                    "writes there. Call again when it has exited"
                )
        ref = (await self.worktree.run("symbolic-ref", "-q", "HEAD", accept=(0, 1))).decode().strip()
        own = f"refs/heads/{self.branch}"
        if ref in {"", own}:
            yield None
            return
        with anyio.CancelScope(shield=True):
            if await self.worktree.run("for-each-ref", own):
                await self.worktree.run("symbolic-ref", "HEAD", own)
            else:
                await self.worktree.run("update-ref", "--no-deref", "HEAD", self.base)
        try:
            yield ref.removeprefix("refs/heads/")
        except BaseException:
            with anyio.CancelScope(shield=True), suppress(WorkflowError):  # it may be gone all the same
                await self.worktree.run("symbolic-ref", "HEAD", ref)
            raise


def count(number: bytes) -> int:
    """Read a number of lines; a binary file has none."""
    return 0 if number == b"-" else int(number)


async def prove(opencode: OpenCodeClient, worktree: str) -> str | None:
    """Prove that a fresh worktree of OpenCode's lies on this machine, and return the token that proves it again.

    A file that this process creates in it must be listed by OpenCode; the token then stays in the worktree's
    git folder. None: it is not here, or git cannot be used on it.
    """
    git = Git.at(worktree, opencode.environ)
    if not is_worktree(worktree):
        return None
    try:
        if not await is_shared(opencode, worktree):
            return None
        token = secrets.token_hex(16)
        (await git.path(TOKEN_FILE)).write_text(token, encoding="ascii")
    except (OSError, APIError, WorkflowError):
        return None
    return token


async def is_shared(opencode: OpenCodeClient, folder: str) -> bool:
    """Whether a folder on this machine is the one that OpenCode has under that path.

    Raises:
        OSError: no file can be made in it.
        APIError: OpenCode has no such folder.
    """
    with probe(folder) as name:
        listed: list[dict[str, Any]] = await opencode.call("file_list", directory=folder, path=".")
    return name in {entry["name"] for entry in listed}


async def refuse_altered(opencode: OpenCodeClient, task: TaskMetadata) -> None:
    """Refuse to compare a worktree on this machine that was git's when the task began, and is not any more.

    OpenCode's own operations would show no changes in it.

    Raises:
        WorkflowError: how to get at its files.
    """
    if task.token is None or task.worktree is None or not await run_sync(os.path.isdir, task.worktree):
        return
    try:
        shared = await is_shared(opencode, task.worktree)
    except (OSError, APIError):
        return
    if shared:
        raise WorkflowError(
            f"{task.worktree} is no longer the git worktree that the task started in: its .git was removed "
            "or replaced, or git cannot run. Its changes are unknown, and nothing was applied or "
            "discarded. The files still exist: copy what you need, then delete the folder and run "
            f"`git worktree prune` in {task.worktree_of}"
        )


@contextmanager
def probe(folder: str) -> Generator[str]:
    """Have an empty file of a name that nothing else has in a folder."""
    file = Path(folder, f".opencode-mcp-{secrets.token_hex(8)}")
    file.touch(exist_ok=False)
    try:
        yield file.name
    finally:
        file.unlink()


def is_worktree(folder: str) -> bool:
    """Whether a folder on this machine is the top of a linked git worktree."""
    return os.path.isfile(os.path.join(folder, ".git"))


async def local(opencode: OpenCodeClient, task: TaskMetadata) -> Git | None:
    """Return git for a task's worktree when that was proven to be on this machine, and still is."""
    if task.worktree is None or task.token is None or not is_worktree(task.worktree):
        return None
    git = Git.at(task.worktree, opencode.environ)
    try:
        known = (await git.path(TOKEN_FILE)).read_text(encoding="ascii")
    except (OSError, ValueError, WorkflowError):
        return None
    return git if known == task.token else None


@asynccontextmanager
async def local_changes(opencode: OpenCodeClient, task: TaskMetadata, worktree: Git) -> AsyncGenerator[LocalChanges]:
    """Provide what a worktree on this machine holds beyond its base.

    Raises:
        WorkflowError: git cannot read it, or the project; that is not allowed.
    """
    assert task.worktree_of is not None and task.base is not None
    if not opencode.allowlist.allows(task.worktree_of):  # a session's metadata can be written by any client
        raise WorkflowError(f"the task's project {task.worktree_of} {opencode.allowlist.outside_message()}")
    project = await project_git(opencode, task.worktree_of)
    async with scratch(worktree) as folder:
        held = await snapshot(worktree, folder, task.base)
        yield LocalChanges(
            worktree=worktree,
            project=project,
            folder=folder,
            base=task.base,
            branch=task.branch,
            snapshot=held,
            merge=await merge(project, folder, held.changes, await since(worktree, folder, task.collected, held)),
            lost_commits=await lost_commits(worktree, task.branch),
            brought=held.tree == task.collected,
        )


async def since(worktree: Git, folder: Path, collected: str | None, held: Snapshot) -> dict[bytes, Change]:
    """Return what has changed since a state was brought over, for all paths that changed at any time."""
    if collected is None:
        return {}
    reading = with_index(worktree, folder, "collected")
    if (await reading.run("cat-file", "-t", collected, accept=(0, 1, 128))).strip() != b"tree":
        return {}  # brought over by a bridge that did not keep it
    later = await reading.changes(collected, held.tree)
    same = {one.path: Change(one.path, one.after, one.after) for one in held.changes}
    return {**same, **{one.path: one for one in later if not one.is_repository}}


async def project_git(opencode: OpenCodeClient, directory: str) -> Git:
    """Return git at the top of the working tree that a directory is in."""
    return Git.at(await Git.at(directory, opencode.environ).line("rev-parse", "--show-toplevel"), opencode.environ)


async def lost_commits(worktree: Git, branch: str | None) -> str:
    """Name the commits that only the worktree's branch has, and whose files are not those of the worktree."""
    if branch is None or not await worktree.run("for-each-ref", f"refs/heads/{branch}"):
        return ""
    others = ("--not", f"--exclude=refs/heads/{branch}", "--all")  # HEAD is one of all, where it has a commit
    number = int(await worktree.line("rev-list", "--count", f"refs/heads/{branch}", *others))
    return f"{number} commit{'s' * (number > 1)} that only branch {branch} has" if number else ""


@dataclass(frozen=True)
class Beginning:
    """The commit that a worktree begins with, None where it is not known.

    `skipped` are nested repositories and submodules whose changes were not taken along.
    """

    base: str | None
    skipped: list[bytes]


async def begin_at(opencode: OpenCodeClient, worktree: str, uncommitted_of: str | None) -> Beginning:
    """Return what a fresh worktree begins with; a project's uncommitted files are taken along first.

    They are uncommitted there as well. Their commit is on no branch, in no repository, and goes with the worktree.

    Raises:
        WorkflowError: git cannot read or write them.
    """
    target = Git.at(worktree, opencode.environ)
    head = await target.line("rev-parse", "HEAD")
    if uncommitted_of is None:
        return Beginning(head, [])
    source = await project_git(opencode, uncommitted_of)
    kept = (await target.path(OWN_OBJECTS)).resolve()
    make_objects(kept, [await target.path("objects")])
    source, target = storing(source, kept), storing(target, kept)
    async with scratch(source) as folder:
        held = await snapshot(source, folder, head, keep_objects=True)
        message = "The project's uncommitted files when a task began"
        base = await target.line("commit-tree", held.tree, "-p", head, "-m", message)
        own = with_index(target, folder, "fresh", keep_objects=True)
        await own.run("read-tree", head)
        await own.run("update-index", "-q", "--refresh", accept=(0, 1))
        with anyio.CancelScope(shield=True):
            await own.run("read-tree", "-m", "-u", head, base)
        return Beginning(base, held.repositories)
