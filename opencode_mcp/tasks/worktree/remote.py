"""A task's worktree on another machine: read and applied with OpenCode's own operations.

They handle text files only and do not show the base commit, nor commits when the project is not on its default branch.
A change that they cannot show or apply is an error that says how to apply it on that machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from opencode_mcp.exceptions import APIError, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import FileChange, Message, Session
from opencode_mcp.tasks.metadata import TaskMetadata
from opencode_mcp.tasks.turn_changes import has_snapshot, may_change

MAX_NAMED = 5


@dataclass(frozen=True)
class RemoteChanges:
    """The changes that OpenCode shows in a worktree, and in the project at `target`.

    `project_changes` are the project's uncommitted changes, by file; `unlisted` are files that the task's turns changed
    and that OpenCode does not show now: committed there, or reverted by a later turn. `may_hide_commits`: the worktree
    may have commits that nothing shows.
    """

    opencode: OpenCodeClient
    session: Session
    worktree: str
    branch: str | None
    target: str
    changes: list[FileChange]
    project_changes: dict[str, FileChange]
    unlisted: list[str]
    may_hide_commits: bool

    @property
    def state(self) -> str | None:
        """None: OpenCode's operations do not identify a state."""
        return None

    @property
    def unmergeable(self) -> list[str]:
        """Changes that cannot be applied, as text."""
        unsupported = [
            f"{change.file} ({reason})"
            for change in self.changes
            if (reason := unsupported_reason(change)) is not None and self._is_missing(change)
        ]
        committed = [
            f"{path} (committed or reverted in the worktree; OpenCode does not say which)" for path in self.unlisted
        ]
        return [*unsupported, *committed]

    @property
    def missing(self) -> list[str]:
        """Changes that the project lacks, as text; the unmergeable ones included."""
        return [
            *(
                change.file
                for change in self.changes
                if unsupported_reason(change) is None and self._is_missing(change)
            ),
            *self.unmergeable,
        ]

    @property
    def note(self) -> str | None:
        """What a reader of `files` must also know."""
        if not self.unmergeable:
            return None
        return f"OpenCode's operations cannot apply: {', '.join(self.unmergeable[:MAX_NAMED])}. {self.instructions}"

    @property
    def instructions(self) -> str:
        """What to do with the unmergeable changes."""
        branch = self.branch or "the worktree's branch"
        return (
            f"On OpenCode's machine: commit everything in {self.worktree}, then run `git merge {branch}` in "
            f"{self.target}; opencode-mcp on that machine does this itself"
        )

    async def files(self) -> list[FileChange]:
        """Return the changes."""
        return self.changes

    def contents(self) -> dict[str, str]:
        """Return the patch of each changed file; one without a text patch, or that is not shown, is like no other."""
        unknown = f"unknown in {self.worktree}"
        shown = {
            change.file: change.patch if unsupported_reason(change) is None else unknown for change in self.changes
        }
        return {**dict.fromkeys(self.unlisted, unknown), **shown}

    async def patch(self) -> str:
        """Return one patch of all changes."""
        return "".join(change.patch for change in self.changes)

    async def apply(self) -> None:
        """Apply all changes or none, and check that the project has them.

        Raises:
            WorkflowError: what cannot be applied, or the files that conflict.
        """
        if self.unmergeable:
            raise WorkflowError(
                "nothing was applied: these cannot be applied over the network: "
                f"{', '.join(self.unmergeable)}. {self.instructions}",
                self.session.id,
            )
        # The same line in both is common: OpenCode itself writes "$schema" into an opencode.json without one (1.18.33).
        missing = [change for change in self.changes if self._is_missing(change)]
        if not missing:
            return
        try:
            patch = "".join(change.patch for change in missing)
            await engine_of(self.opencode).apply_patch(self.target, patch)
        except APIError as error:
            changed_in_both = [change.file for change in missing if change.file in self.project_changes]
            reason = (
                f"changed in both, uncommitted in {self.target}: {', '.join(changed_in_both)}"
                if changed_in_both
                else f"changed in {self.target} since: {', '.join(change.file for change in missing)}"
            )
            raise WorkflowError(
                f"the changes conflict, nothing was applied ({error.message}); {reason}. {self.instructions}",
                self.session.id,
            ) from error
        current = await read_uncommitted(self.opencode, self.target)
        not_applied = [change.file for change in missing if not includes_change(current.get(change.file), change)]
        if not_applied:
            raise WorkflowError(
                f"OpenCode accepted the patch, but {self.target} does not show the changes of "
                f"{', '.join(not_applied)}: check the files there. Nothing was discarded. {self.instructions}",
                self.session.id,
            )

    @asynccontextmanager
    async def prepare_removal(self, force: bool) -> AsyncGenerator[str | None]:
        """Check that the worktree is on its own branch: OpenCode deletes the one that is checked out (1.18.33).

        Provides None, as no other branch stays.

        Raises:
            WorkflowError: another branch is checked out; or there may be commits that nothing shows.
        """
        if self.may_hide_commits and not force:
            raise WorkflowError(
                "nothing was discarded: the task ran without OpenCode's snapshots and the project is not on its "
                f"default branch, so commits in {self.worktree} are not visible here. Check with git there; "
                "`force: true` discards the worktree",
                self.session.id,
            )
        current_branch = (await engine_of(self.opencode).read_branch(self.worktree)).branch
        if self.branch is not None and current_branch not in {None, "HEAD", self.branch}:
            raise WorkflowError(
                f"nothing was discarded: {self.worktree} is on the branch {current_branch}, which would be deleted "
                "too. Run `git switch --detach` there on OpenCode's machine, then call again",
                self.session.id,
            )
        yield None

    def _is_missing(self, change: FileChange) -> bool:
        """Whether the project does not have a change, uncommitted, exactly as it is."""
        current = self.project_changes.get(change.file)
        return current is None or current.patch != change.patch


async def read_remote_changes(
    opencode: OpenCodeClient, session: Session, task: TaskMetadata, messages: list[Message]
) -> RemoteChanges:
    """Read the changes that OpenCode shows in a worktree; the steps in the session's `messages` name changed files.

    OpenCode compares with the default branch only. When the project is on another branch, that comparison would
    include the other branch's commits, so then only uncommitted changes are read.

    Raises:
        WorkflowError: the worktree cannot be read.
    """
    assert task.worktree_of is not None
    worktree = task.worktree or session.directory
    engine = engine_of(opencode)
    target = (await engine.read_paths(task.worktree_of)).worktree
    on = await engine.read_branch(target)
    base = "branch" if on.branch and on.branch == on.default_branch else "git"
    try:
        changes = await engine.diff_files(worktree, base)
    except APIError as error:
        raise WorkflowError(f"the worktree {worktree} cannot be read: {error}", session.id) from error
    listed = {change.file for change in changes}
    unlisted = [] if base == "branch" else sorted(touched_files(messages, worktree) - listed)
    project_changes = await read_uncommitted(opencode, target)
    may_hide_commits = base != "branch" and any(map(may_change_unseen, messages))
    return RemoteChanges(
        opencode, session, worktree, task.branch, target, changes, project_changes, unlisted, may_hide_commits
    )


def may_change_unseen(message: Message) -> bool:
    """Whether a message has tool calls that may change files, and no snapshot that shows which."""
    return any(map(may_change, message.parts)) and not has_snapshot(message)


def touched_files(messages: list[Message], worktree: str) -> set[str]:
    """Return the files that the steps of a task have changed, relative to the worktree's top."""
    paths = [path for message in messages for part in message.parts if part.type == "patch" for path in part.files]
    return {path.removeprefix(worktree).lstrip("/\\").replace("\\", "/") for path in paths}


async def read_uncommitted(opencode: OpenCodeClient, directory: str) -> dict[str, FileChange]:
    """Return the uncommitted changes in a working tree, by file."""
    changes = await engine_of(opencode).diff_files(directory, "git")
    return {change.file: change for change in changes}


def unsupported_reason(change: FileChange) -> str | None:
    """Say why OpenCode's text patch does not carry a change, or None."""
    if "\ufffd" in change.file or "\ufffd" in change.patch:
        return "not UTF-8"
    if not change.patch or "\nBinary files " in change.patch:
        return "binary"
    if "\nSubproject commit " in change.patch or "+Subproject commit " in change.patch:
        return "a nested repository or submodule"
    return None


def includes_change(current: FileChange | None, change: FileChange) -> bool:
    """Whether a file's current change has all lines of another one."""
    return current is not None and changed_lines(current.patch) >= changed_lines(change.patch)


def changed_lines(patch: str) -> Counter[str]:
    """Return the lines that a patch adds and removes."""
    return Counter(line for line in patch.splitlines() if line[:1] in {"+", "-"} and line[:4] not in {"+++ ", "--- "})
