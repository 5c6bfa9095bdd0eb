"""What a task changed; for one in a worktree also: bring it over, or throw it away."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from opencode_mcp.exceptions import APIError, WorkflowError
from opencode_mcp.opencode import OpenCode
from opencode_mcp.opencode.models import FileChange, Message, Session

from .context import Context
from .diffs import diff_of
from .metadata import task_metadata
from .truth import Truth, look


class CollectChanges(BaseModel):
    """Arguments of collect_changes."""

    model_config = ConfigDict(extra="forbid")

    session_id: str = Field(pattern="^ses")
    message_id: str | None = Field(None, pattern="^msg", description="Only what this user message led to.")
    format: Literal["stat", "patch"] = "stat"
    apply: bool = Field(
        False, description="Worktree tasks: bring the changes to the project's own files, without a commit."
    )
    discard: bool = Field(
        False, description="Worktree tasks: remove the worktree and its branch (after apply, if both)."
    )


class ChangedFile(BaseModel):
    """One changed file."""

    path: str
    status: str
    additions: int
    deletions: int


class CollectedChanges(BaseModel):
    """What a task changed, and what became of it."""

    session_id: str
    directory: str
    files: list[ChangedFile]
    additions: int
    deletions: int
    patch: str | None
    applied_to: str | None
    discarded: bool


async def collect_changes(context: Context, arguments: CollectChanges) -> CollectedChanges:
    """Collect what a task changed.

    Raises:
        WorkflowError: it still works; it has no worktree to apply or discard; the changes conflict.
    """
    opencode = context.opencode
    truth = await look(opencode, arguments.session_id)
    project = task_metadata(truth.session).worktree_of
    if arguments.apply or arguments.discard:
        refuse_unless_over(truth, project, arguments)
    if project is not None and arguments.message_id is None:
        changes = await worktree_changes(opencode, truth.session, project)
    else:
        changes = await message_changes(opencode, truth, arguments.message_id)
    if arguments.apply and changes:
        await apply(opencode, truth.session, project, changes)
    if arguments.discard:
        await opencode.call("worktree_remove", directory=project, body={"directory": truth.session.directory})
    return CollectedChanges(
        session_id=truth.session.id,
        directory=truth.session.directory,
        files=[
            ChangedFile(path=one.file, status=one.status, additions=one.additions, deletions=one.deletions)
            for one in changes
        ],
        additions=sum(one.additions for one in changes),
        deletions=sum(one.deletions for one in changes),
        patch="".join(one.patch for one in changes) if arguments.format == "patch" else None,
        applied_to=project if arguments.apply and changes else None,
        discarded=arguments.discard,
    )


def refuse_unless_over(truth: Truth, project: str | None, arguments: CollectChanges) -> None:
    """Refuse to apply or discard what is not a finished task's worktree.

    Raises:
        WorkflowError: why not.
    """
    session_id = truth.session.id
    if project is None:
        raise WorkflowError(
            f"{session_id} works in {truth.session.directory} itself, not in a worktree: there is nothing to "
            "apply or discard (session_revert undoes a message's changes)",
            session_id,
        )
    if truth.busy:
        raise WorkflowError(f"{session_id} still works; wait_for_tasks or stop_task first", session_id)
    if arguments.message_id is not None:
        raise WorkflowError("apply and discard take the whole task, not one message", session_id)


async def message_changes(opencode: OpenCode, truth: Truth, message_id: str | None) -> list[FileChange]:
    """Return the changes of one user message, or of all of them in order."""
    session_id = truth.session.id
    messages = await opencode.call_as(list[Message], "session_messages", sessionID=session_id)
    ended = {one.user_message_id: one.info.time.completed for one in messages}  # of several the last one decides
    ids = [one.info.id for one in messages if one.info.role == "user"] if message_id is None else [message_id]
    return [change for id in ids for change in await diff_of(opencode, session_id, id, ended.get(id))]


async def worktree_changes(opencode: OpenCode, session: Session, project: str) -> list[FileChange]:
    """Return all that differs in a worktree: against the branch it came from, commits included.

    OpenCode compares with the default branch only. When the project is on another one, that would
    hold the other branch's commits as well, so then only what is not committed counts.
    """
    vcs: dict[str, Any] = await opencode.call("vcs_get", directory=project)
    mode = "branch" if vcs.get("branch") == vcs.get("default_branch") else "git"
    try:
        return await opencode.call_as(list[FileChange], "vcs_diff", directory=session.directory, mode=mode)
    except APIError as error:
        raise WorkflowError(f"the worktree {session.directory} cannot be read: {error}", session.id) from error


async def apply(opencode: OpenCode, session: Session, project: str | None, changes: list[FileChange]) -> None:
    """Apply the changes to the project's working tree, all or nothing; what it has already is left alone.

    Raises:
        WorkflowError: a binary file, or a conflict, and where.
    """
    binary = [one.file for one in changes if not one.patch or "\nBinary files " in one.patch]
    if binary:
        raise WorkflowError(f"binary files cannot be brought over by patch: {', '.join(binary)}", session.id)
    uncommitted = await opencode.call_as(list[FileChange], "vcs_diff", directory=project, mode="git")
    there = {one.file: one.patch for one in uncommitted}
    # The same line in both is common: OpenCode itself writes "$schema" into an opencode.json without one (1.18.33).
    missing = [one for one in changes if there.get(one.file) != one.patch]
    if not missing:
        return
    try:
        await opencode.call("vcs_apply", directory=project, patch="".join(one.patch for one in missing))
    except APIError as error:
        both = [one.file for one in missing if one.file in there]
        where = (
            f"changed in both, and not committed in {project}: {', '.join(both)}"
            if both
            else f"the files have moved on in {project} since: {', '.join(one.file for one in missing)}"
        )
        raise WorkflowError(
            f"the changes conflict, nothing was applied ({error.message}); {where}", session.id
        ) from error
