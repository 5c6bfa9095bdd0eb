"""What a report says of a task's worktree: whether it is there, and whether something is to be brought over."""

from __future__ import annotations

from dataclasses import dataclass

from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode import OpenCodeClient

from .changes import open_worktree_changes
from .metadata import TaskMetadata, task_metadata
from .place import describe_removal
from .truth import SessionSnapshot
from .turn_changes import TurnChanges, read_summed_changes, read_turn_changes


@dataclass(frozen=True)
class WorktreeReport:
    """`to_collect` is whether the worktree has changes that the project lacks; `note` is what else to say of it."""

    to_collect: bool = False
    note: str | None = None


async def read_turn_and_worktree(
    opencode: OpenCodeClient, snapshot: SessionSnapshot
) -> tuple[TurnChanges, WorktreeReport]:
    """Read what the newest turn changed and, of a task in a worktree that does nothing now, what is to be collected.

    Where OpenCode does not know the turn's changes, those of the whole worktree stand for them.
    """
    task = task_metadata(snapshot.session)
    if task.worktree_of is None:
        return await read_turn_changes(opencode, snapshot), WorktreeReport()
    if removal_note := await describe_removal(opencode, snapshot.session, task):
        return TurnChanges.from_files(await read_summed_changes(opencode, snapshot)), WorktreeReport(note=removal_note)
    changes = await read_turn_changes(opencode, snapshot)
    if snapshot.busy:
        return changes, WorktreeReport()
    try:
        return await read_with_worktree(opencode, snapshot, task, changes)
    except OpenCodeError as error:
        return changes, WorktreeReport(note=f"the worktree cannot be read: {error}")


async def read_with_worktree(
    opencode: OpenCodeClient, snapshot: SessionSnapshot, task: TaskMetadata, changes: TurnChanges
) -> tuple[TurnChanges, WorktreeReport]:
    """Read a worktree, for its own report and for changes that are not known."""
    async with open_worktree_changes(opencode, snapshot.session, task) as worktree:
        files = await worktree.files()
        missing, note = worktree.missing, worktree.note if worktree.unmergeable else None
    if changes.unknown is not None:
        all_changes = TurnChanges.from_files(files)
        all_changes.unknown = f"{changes.unknown}; these are all changes in the worktree since it was created, from git"
        changes = all_changes
    return changes, WorktreeReport(bool(missing), note)
