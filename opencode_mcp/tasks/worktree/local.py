"""A task's worktree on this machine: proven to be OpenCode's, read, merged into the project.

worktree_create -> proof -> base and token in the session's metadata -> snapshot -> merge -> project

This process runs git only where it has proven that it sees OpenCode's files; elsewhere `remote.py` is used.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from opencode_mcp.exceptions import APIError, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import FileChange
from opencode_mcp.tasks.metadata import TaskMetadata

from .copies import Copies, read_copies
from .git import (
    OBJECTS_FOLDER,
    Git,
    TreeChange,
    copy_objects,
    decode_text,
    make_objects_folder,
    scratch_folder,
    with_index,
    with_objects_folder,
)
from .merge import Merge, apply_merge, merge_changes
from .snapshot import TreeSnapshot, format_paths, snapshot_tree

TOKEN_FILE = "opencode-mcp-token"
"""A file in the worktree's own git folder, removed with it: proves later that this is the task's worktree."""


@dataclass(frozen=True)
class LocalChanges:
    """The changes in a worktree since its base, and their merge with the project as it is now.

    `folder` is the scratch folder with the new objects; `lost_commits` names commits that only the worktree's branch
    has. `applied`: this state was applied before. `copies` are ignored files of the project, which are in no change.
    """

    worktree: Git
    project: Git
    folder: Path
    base: str
    branch: str | None
    tree_snapshot: TreeSnapshot
    merge: Merge
    lost_commits: str
    applied: bool
    copies: Copies

    @property
    def target(self) -> str:
        """The top of the project's working tree, where changes are applied."""
        return self.project.root

    @property
    def state(self) -> str | None:
        """What identifies this state of the worktree."""
        return self.tree_snapshot.tree

    @property
    def unmergeable(self) -> list[str]:
        """Changes that cannot be applied, as text."""
        nested = [f"{decode_text(path)} (a nested repository or submodule)" for path in self.tree_snapshot.repositories]
        copied = [f"{decode_text(path)} (ignored by git, changed since it was copied)" for path in self.copies.changed]
        return [*nested, *copied, *([self.lost_commits] if self.lost_commits else [])]

    @property
    def missing(self) -> list[str]:
        """Changes that the project lacks, as text; the unmergeable ones included."""
        return [*([] if self.applied else map(decode_text, self.merge.missing)), *self.unmergeable]

    @property
    def note(self) -> str | None:
        """What a reader of `files` must also know."""
        notes: list[str] = []
        reverted = sorted(self.merge.merged.keys() - {change.path for change in self.tree_snapshot.changes})
        if reverted := [path for path in reverted if path in self.merge.missing]:
            notes.append(f"applied before and reverted by the task since: {format_paths(reverted)}")
        if self.tree_snapshot.repositories:
            nested = format_paths(self.tree_snapshot.repositories)
            notes.append(
                f"not included: {nested}, a nested repository or submodule with its own changes; {self.instructions}"
            )
        if self.copies.changed:
            changed = format_paths([*self.copies.changed])
            notes.append(f"not included: {changed}, changed since it was copied from the project; {self.instructions}")
        if self.tree_snapshot.ignored:
            notes.append(f"not included because git ignores them: {format_paths(self.tree_snapshot.ignored, 20)}")
        return "; ".join(notes) or None

    @property
    def instructions(self) -> str:
        """What to do with the unmergeable changes."""
        return f"push or copy it from {self.worktree.root}"

    async def files(self) -> list[FileChange]:
        """Return the changes as OpenCode reports them, without patches."""
        output = await self._diff("--numstat", "-z")
        lines = [line.split(b"\t", 2) for line in output.split(b"\0")[:-1]]
        numbers = {path: (added, deleted) for added, deleted, path in lines}
        return [
            FileChange(
                file=decode_text(change.path),
                status=change.status,
                additions=parse_line_count(numbers[change.path][0]),
                deletions=parse_line_count(numbers[change.path][1]),
            )
            for change in self.tree_snapshot.changes
        ]

    def contents(self) -> dict[str, str]:
        """Return mode and object of each changed file, "" for a deleted one."""
        return {
            decode_text(change.path): "" if change.after is None else f"{change.after.mode} {change.after.object_id}"
            for change in self.tree_snapshot.changes
        }

    async def patch(self) -> str:
        """Return one patch of all changes, binary files included, as git applies it."""
        return (await self._diff("-p", "--binary", "--full-index")).decode("utf-8", "replace")

    async def _diff(self, *options: str) -> bytes:
        index_git = with_index(self.worktree, self.folder, "reading")
        trees = (f"{self.base}^{{tree}}", self.tree_snapshot.tree)
        return await index_git.run("diff-tree", "-r", "--no-renames", *options, *trees)

    async def apply(self) -> None:
        """Apply the merge to the project, all or nothing.

        Raises:
            WorkflowError: conflicts, or a file is in the way; nothing was written.
        """
        listed = (await self.project.run("ls-files", "-u", "-z")).split(b"\0")[:-1]
        unmerged = {line.partition(b"\t")[2] for line in listed} & {
            change.path for change in self.tree_snapshot.changes
        }
        if unmerged:
            raise WorkflowError(
                f"{format_paths(sorted(unmerged))}: a merge or rebase in {self.target} has unresolved conflicts; "
                "resolve them and finish it first. Nothing was applied"
            )
        if self.merge.conflicts:
            conflicts = "; ".join(f"{decode_text(path)} {reason}" for path, reason in self.merge.conflicts.items())
            raise WorkflowError(
                f"the changes conflict, nothing was applied: {conflicts}. The task's files are in {self.worktree.root}"
            )
        await copy_objects(self.worktree, self.folder)
        await apply_merge(self.project, self.folder, self.merge)

    @asynccontextmanager
    async def prepare_removal(self, force: bool) -> AsyncGenerator[str | None]:
        """Verify that the worktree is unchanged, then keep it on its own branch (or detached) in the block.

        OpenCode deletes the branch that a worktree has checked out (1.18.33), even one that the task did not create.
        Provides that other branch, which stays, or None.

        Raises:
            WorkflowError: files have changed; or git fails.
        """
        async with scratch_folder(self.worktree) as folder:
            now = await snapshot_tree(self.worktree, folder, self.base, leave_out=self.copies.paths)
            if not force and now.tree != self.tree_snapshot.tree:
                raise WorkflowError(
                    f"nothing was discarded: files in {self.worktree.root} changed during the call, so a program still "
                    "writes there. Call again when it has exited"
                )
        ref = (await self.worktree.run("symbolic-ref", "-q", "HEAD", accept=(0, 1))).decode().strip()
        own_ref = f"refs/heads/{self.branch}"
        if ref in {"", own_ref}:
            yield None
            return
        with anyio.CancelScope(shield=True):
            if await self.worktree.run("for-each-ref", own_ref):
                await self.worktree.run("symbolic-ref", "HEAD", own_ref)
            else:
                await self.worktree.run("update-ref", "--no-deref", "HEAD", self.base)
        try:
            yield ref.removeprefix("refs/heads/")
        except BaseException:
            with anyio.CancelScope(shield=True), suppress(WorkflowError):  # the worktree may have been removed
                await self.worktree.run("symbolic-ref", "HEAD", ref)
            raise


def parse_line_count(number: bytes) -> int:
    """Read a line count of `--numstat`; that of a binary file (`-`) is 0."""
    return 0 if number == b"-" else int(number)


async def prove_local(opencode: OpenCodeClient, worktree: str) -> str | None:
    """Prove that OpenCode's new worktree is on this machine, and return the token that proves it later.

    OpenCode must list a file that this process creates in it; the token is then stored in the worktree's git folder.
    None: the worktree is elsewhere, or git does not work in it.
    """
    git = Git.for_directory(worktree, opencode.environ)
    if not is_worktree(worktree):
        return None
    try:
        if not await is_shared(opencode, worktree):
            return None
        token = secrets.token_hex(16)
        (await git.git_path(TOKEN_FILE)).write_text(token, encoding="ascii")
    except (OSError, APIError, WorkflowError):
        return None
    return token


async def is_shared(opencode: OpenCodeClient, folder: str) -> bool:
    """Whether a folder on this machine is the one that OpenCode has under that path.

    Raises:
        OSError: no file can be created in it.
        APIError: OpenCode does not have the folder.
    """
    with probe_file(folder) as name:
        listed = await engine_of(opencode).list_files(folder, ".")
    return name in listed


async def refuse_altered(opencode: OpenCodeClient, task: TaskMetadata) -> None:
    """Refuse a worktree on this machine that was a git worktree when the task started and is not one now.

    OpenCode's own operations would show no changes in it.

    Raises:
        WorkflowError: how to recover its files.
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
def probe_file(folder: str) -> Generator[str]:
    """Create an empty file with a random name in a folder for the block; provide the name."""
    file = Path(folder, f".opencode-mcp-{secrets.token_hex(8)}")
    file.touch(exist_ok=False)
    try:
        yield file.name
    finally:
        file.unlink()


def is_worktree(folder: str) -> bool:
    """Whether a folder on this machine is the top of a linked git worktree."""
    return os.path.isfile(os.path.join(folder, ".git"))


async def open_local_worktree(opencode: OpenCodeClient, task: TaskMetadata) -> Git | None:
    """Return git for a task's worktree when that was proven to be on this machine, and still is."""
    if task.worktree is None or task.token is None or not is_worktree(task.worktree):
        return None
    git = Git.for_directory(task.worktree, opencode.environ)
    try:
        stored_token = (await git.git_path(TOKEN_FILE)).read_text(encoding="ascii")
    except (OSError, ValueError, WorkflowError):
        return None
    return git if stored_token == task.token else None


@asynccontextmanager
async def read_local_changes(
    opencode: OpenCodeClient, task: TaskMetadata, worktree: Git
) -> AsyncGenerator[LocalChanges]:
    """Provide the changes in a worktree on this machine.

    Raises:
        WorkflowError: git cannot read the worktree or the project; or the project is not in an allowed directory.
    """
    assert task.worktree_of is not None and task.base is not None
    if not opencode.allowlist.allows(task.worktree_of):  # a session's metadata can be written by any client
        raise WorkflowError(f"the task's project {task.worktree_of} {opencode.allowlist.outside_message()}")
    project = await open_project_git(opencode, task.worktree_of)
    async with scratch_folder(worktree) as folder:
        copies = await read_copies(worktree, project)
        tree_snapshot = await snapshot_tree(worktree, folder, task.base, leave_out=copies.paths)
        yield LocalChanges(
            worktree=worktree,
            project=project,
            folder=folder,
            base=task.base,
            branch=task.branch,
            tree_snapshot=tree_snapshot,
            merge=await merge_changes(
                project,
                folder,
                tree_snapshot.changes,
                await read_changes_since(worktree, folder, task.collected, tree_snapshot),
            ),
            lost_commits=await find_lost_commits(worktree, task.branch),
            applied=tree_snapshot.tree == task.collected,
            copies=copies,
        )


async def read_changes_since(
    worktree: Git, folder: Path, collected: str | None, tree_snapshot: TreeSnapshot
) -> dict[bytes, TreeChange]:
    """Return the changes since a state was applied, by path; a path without any has an entry with equal sides."""
    if collected is None:
        return {}
    index_git = with_index(worktree, folder, "collected")
    if (await index_git.run("cat-file", "-t", collected, accept=(0, 1, 128))).strip() != b"tree":
        return {}  # applied by a process that did not keep the objects
    later = await index_git.diff_trees(collected, tree_snapshot.tree)
    unchanged = {change.path: TreeChange(change.path, change.after, change.after) for change in tree_snapshot.changes}
    return {**unchanged, **{change.path: change for change in later if not change.is_repository}}


async def open_project_git(opencode: OpenCodeClient, directory: str) -> Git:
    """Return git at the top of the working tree that a directory is in."""
    return Git.for_directory(
        await Git.for_directory(directory, opencode.environ).run_line("rev-parse", "--show-toplevel"), opencode.environ
    )


async def find_lost_commits(worktree: Git, branch: str | None) -> str:
    """Say how many commits only the worktree's branch has; "" for none."""
    if branch is None or not await worktree.run("for-each-ref", f"refs/heads/{branch}"):
        return ""
    others = ("--not", f"--exclude=refs/heads/{branch}", "--all")  # HEAD is one of all, where it has a commit
    number = int(await worktree.run_line("rev-list", "--count", f"refs/heads/{branch}", *others))
    return f"{number} commit{'s' * (number > 1)} that only branch {branch} has" if number else ""


@dataclass(frozen=True)
class StartPoint:
    """The commit that a worktree starts from, None where it is unknown.

    `skipped` are nested repositories and submodules whose changes were not copied.
    """

    base: str | None
    skipped: list[bytes]


async def prepare_start_point(opencode: OpenCodeClient, worktree: str, uncommitted_of: str | None) -> StartPoint:
    """Return the commit that a new worktree starts from, after copying a project's uncommitted files to it if asked.

    They are uncommitted in the worktree too. The commit that holds them is on no branch; its objects are removed with
    the worktree.

    Raises:
        WorkflowError: git cannot read or write them.
    """
    target = Git.for_directory(worktree, opencode.environ)
    head = await target.run_line("rev-parse", "HEAD")
    if uncommitted_of is None:
        return StartPoint(head, [])
    source = await open_project_git(opencode, uncommitted_of)
    objects_folder = (await target.git_path(OBJECTS_FOLDER)).resolve()
    make_objects_folder(objects_folder, [await target.git_path("objects")])
    source, target = with_objects_folder(source, objects_folder), with_objects_folder(target, objects_folder)
    async with scratch_folder(source) as folder:
        tree_snapshot = await snapshot_tree(source, folder, head, keep_objects=True)
        message = "The project's uncommitted files when a task began"
        base = await target.run_line("commit-tree", tree_snapshot.tree, "-p", head, "-m", message)
        index_git = with_index(target, folder, "fresh", keep_objects=True)
        await index_git.run("read-tree", head)
        await index_git.run("update-index", "-q", "--refresh", accept=(0, 1))
        # --reset: OpenCode may have changed a file already, as it adds `$schema` to its config (1.18.33).
        with anyio.CancelScope(shield=True):
            await index_git.run("read-tree", "--reset", "-u", head, base)
        return StartPoint(base, tree_snapshot.repositories)
