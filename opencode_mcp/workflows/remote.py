"""A task's worktree on another machine: read and brought over with OpenCode's own operations.

They know text only, no base commit, and no commits where the project is not on its default branch. What they
cannot show or bring over is an error that says so, and how to do it there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from opencode_mcp.exceptions import APIError, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import FileChange, Message, ProjectPath, Session

from .metadata import TaskMetadata
from .turn_changes import has_snapshot, may_change

SHOWN = 5


@dataclass(frozen=True)
class RemoteChanges:
    """What OpenCode shows of a worktree, and of the project that it is to be brought into.

    `there` are the project's uncommitted changes; `unseen` are files that the task's turns changed and that
    OpenCode does not show now: committed there, or put back by a later turn. `blind` is whether there may be commits
    of which nothing tells.
    """

    opencode: OpenCodeClient
    session: Session
    worktree: str
    branch: str | None
    target: str
    changes: list[FileChange]
    there: dict[str, FileChange]
    unseen: list[str]
    blind: bool

    @property
    def state(self) -> str | None:
        """Over OpenCode's operations no state can be told from another."""
        return None

    @property
    def left_behind(self) -> list[str]:
        """What cannot be brought over, in words."""
        odd = [
            f"{one.file} ({reason})"
            for one in self.changes
            if (reason := obstacle(one)) is not None and self._lacks(one)
        ]
        committed = [
            f"{path} (committed or reverted in the worktree; OpenCode does not say which)" for path in self.unseen
        ]
        return [*odd, *committed]

    @property
    def missing(self) -> list[str]:
        """What the project does not have, in words."""
        return [*(one.file for one in self.changes if obstacle(one) is None and self._lacks(one)), *self.left_behind]

    @property
    def note(self) -> str | None:
        """What a reader of the files must know beside them."""
        if not self.left_behind:
            return None
        return f"OpenCode's operations cannot apply: {', '.join(self.left_behind[:SHOWN])}. {self.how}"

    @property
    def how(self) -> str:
        """What to do where OpenCode's operations end."""
        branch = self.branch or "the worktree's branch"
        return (
            f"On OpenCode's machine: commit everything in {self.worktree}, then run `git merge {branch}` in "
            f"{self.target}; opencode-mcp on that machine does this itself"
        )

    async def files(self) -> list[FileChange]:
        """Return the changes."""
        return self.changes

    async def patch(self) -> str:
        """Return one patch of all changes."""
        return "".join(one.patch for one in self.changes)

    async def apply(self) -> None:
        """Bring everything over, all or nothing, and see that it arrived.

        Raises:
            WorkflowError: what cannot be brought over, or a conflict, and where.
        """
        if self.left_behind:
            raise WorkflowError(
                "nothing was applied: these cannot be applied over the network: "
                f"{', '.join(self.left_behind)}. {self.how}",
                self.session.id,
            )
        # The same line in both is common: OpenCode itself writes "$schema" into an opencode.json without one (1.18.33).
        lacking = [one for one in self.changes if self._lacks(one)]
        if not lacking:
            return
        try:
            await self.opencode.call("vcs_apply", directory=self.target, patch="".join(one.patch for one in lacking))
        except APIError as error:
            both = [one.file for one in lacking if one.file in self.there]
            where = (
                f"changed in both, uncommitted in {self.target}: {', '.join(both)}"
                if both
                else f"changed in {self.target} since: {', '.join(one.file for one in lacking)}"
            )
            raise WorkflowError(
                f"the changes conflict, nothing was applied ({error.message}); {where}. {self.how}", self.session.id
            ) from error
        now = await uncommitted(self.opencode, self.target)
        lost = [one.file for one in lacking if not holds(now.get(one.file), one)]
        if lost:
            raise WorkflowError(
                f"OpenCode accepted the patch, but {self.target} does not show the changes of {', '.join(lost)}: "
                f"check the files there. Nothing was discarded. {self.how}",
                self.session.id,
            )

    @asynccontextmanager
    async def leaving(self, force: bool) -> AsyncGenerator[str | None]:
        """See that the worktree is on its own branch: OpenCode deletes the one that it has checked out (1.18.33).

        Raises:
            WorkflowError: it is on another; or it may have commits that cannot be seen.
        """
        if self.blind and not force:
            raise WorkflowError(
                "nothing was discarded: the task ran without OpenCode's snapshots and the project is not on its "
                f"default branch, so commits in {self.worktree} are not visible here. Check with git there; "
                "`force: true` discards the worktree",
                self.session.id,
            )
        vcs: dict[str, Any] = await self.opencode.call("vcs_get", directory=self.worktree)
        now = vcs.get("branch")
        if self.branch is not None and now not in {None, "HEAD", self.branch}:
            raise WorkflowError(
                f"nothing was discarded: {self.worktree} is on the branch {now}, which would be deleted too. Run "
                "`git switch --detach` there on OpenCode's machine, then call again",
                self.session.id,
            )
        yield None

    def _lacks(self, change: FileChange) -> bool:
        """Whether the project does not have a change, uncommitted, exactly as it is."""
        there = self.there.get(change.file)
        return there is None or there.patch != change.patch


async def remote_changes(
    opencode: OpenCodeClient, session: Session, task: TaskMetadata, messages: list[Message]
) -> RemoteChanges:
    """Read what OpenCode shows of a worktree; `messages` are the session's, whose steps name what they changed.

    OpenCode compares with the default branch only. When the project is on another one, that would hold the
    other branch's commits as well, so then only what is not committed counts.

    Raises:
        WorkflowError: the worktree cannot be read.
    """
    assert task.worktree_of is not None
    worktree = task.worktree or session.directory
    target = (await opencode.call_as(ProjectPath, "path_get", directory=task.worktree_of)).worktree
    vcs: dict[str, Any] = await opencode.call("vcs_get", directory=target)
    mode = "branch" if vcs.get("branch") and vcs.get("branch") == vcs.get("default_branch") else "git"
    try:
        changes = await opencode.call_as(list[FileChange], "vcs_diff", directory=worktree, mode=mode)
    except APIError as error:
        raise WorkflowError(f"the worktree {worktree} cannot be read: {error}", session.id) from error
    shown = {one.file for one in changes}
    unseen = [] if mode == "branch" else sorted(touched(messages, worktree) - shown)
    there = await uncommitted(opencode, target)
    blind = mode != "branch" and any(map(works_unseen, messages))
    return RemoteChanges(opencode, session, worktree, task.branch, target, changes, there, unseen, blind)


def works_unseen(message: Message) -> bool:
    """Whether a message has tool calls that may change files, and no snapshot to tell which."""
    return any(map(may_change, message.parts)) and not has_snapshot(message)


def touched(messages: list[Message], worktree: str) -> set[str]:
    """Return the files that the steps of a task have changed, relative to the worktree's top."""
    paths = [path for message in messages for part in message.parts if part.type == "patch" for path in part.files]
    return {path.removeprefix(worktree).lstrip("/\\").replace("\\", "/") for path in paths}


async def uncommitted(opencode: OpenCodeClient, directory: str) -> dict[str, FileChange]:
    """Return what is not committed in a working tree, by file."""
    changes = await opencode.call_as(list[FileChange], "vcs_diff", directory=directory, mode="git")
    return {one.file: one for one in changes}


def obstacle(change: FileChange) -> str | None:
    """Say why OpenCode's text patch does not carry a change, or None."""
    if "\ufffd" in change.file or "\ufffd" in change.patch:
        return "not UTF-8"
    if not change.patch or "\nBinary files " in change.patch:
        return "binary"
    if "\nSubproject commit " in change.patch or "+Subproject commit " in change.patch:
        return "a nested repository or submodule"
    return None


def holds(there: FileChange | None, change: FileChange) -> bool:
    """Whether a file's changes have all lines of another change of it."""
    return there is not None and lines_of(there.patch) >= lines_of(change.patch)


def lines_of(patch: str) -> Counter[str]:
    """Return the lines that a patch adds and removes."""
    return Counter(line for line in patch.splitlines() if line[:1] in {"+", "-"} and line[:4] not in {"+++ ", "--- "})
