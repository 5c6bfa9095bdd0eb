"""What a report says of a task's worktree: whether it is there, and whether something is to be brought over."""

from __future__ import annotations

from dataclasses import dataclass

from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode import OpenCodeClient

from .changes import worktree_changes
from .metadata import TaskMetadata, task_metadata
from .place import removal
from .truth import Truth
from .turn_changes import Changes, changes_of, summed_changes


@dataclass(frozen=True)
class WorktreeReport:
    """`to_collect` is whether the worktree has changes that the project lacks; `note` is what else to say of it."""

    to_collect: bool = False
    note: str | None = None


async def turn_and_worktree(opencode: OpenCodeClient, truth: Truth) -> tuple[Changes, WorktreeReport]:
    """Read what the newest turn changed and, of a task in a worktree that does nothing now, what is to be collected.

    Where OpenCode does not know the turn's changes, those of the whole worktree stand for them.
    """
    task = task_metadata(truth.session)
    if task.worktree_of is None:
        return await changes_of(opencode, truth), WorktreeReport()
    if gone := await removal(opencode, truth.session, task):
        return Changes.of(await summed_changes(opencode, truth)), WorktreeReport(note=gone)
    changes = await changes_of(opencode, truth)
    if truth.busy:
        return changes, WorktreeReport()
    try:
        return await with_worktree(opencode, truth, task, changes)
    except OpenCodeError as error:
        return changes, WorktreeReport(note=f"the worktree cannot be read: {error}")


async def with_worktree(
    opencode: OpenCodeClient, truth: Truth, task: TaskMetadata, changes: Changes
) -> tuple[Changes, WorktreeReport]:
    """Read a worktree, for its own report and for changes that are not known."""
    async with worktree_changes(opencode, truth.session, task) as found:
        files = await found.files()
        missing, note = found.missing, found.note if found.left_behind else None
    if changes.unknown is not None:
        whole = Changes.of(files)
        whole.unknown = f"{changes.unknown}; these are all changes in the worktree since it was created, from git"
        changes = whole
    return changes, WorktreeReport(bool(missing), note)
