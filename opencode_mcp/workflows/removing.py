"""Remove a task's worktree: only when no session is running in it, and only its own branch."""

from __future__ import annotations

import time

import anyio

from opencode_mcp.exceptions import OpenCodeError, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import Session, SessionStatus

from .elsewhere import read_snapshot_across_processes
from .metadata import TaskMetadata, save_task_metadata
from .place import describe_removal
from .truth import SessionSnapshot, classify

PICKUP_SECONDS = 10.0
"""How long a prompt may take from its acceptance until it is worked on; 1.3 s were seen."""


async def refuse_running_work(
    opencode: OpenCodeClient, session: Session, task: TaskMetadata, discard: bool, force: bool
) -> None:
    """Refuse to touch the files of a task at work, and to discard a worktree in which anything else works.

    Raises:
        WorkflowError: what works there, and what to do.
    """
    snapshot, other_process_note = await read_snapshot_across_processes(opencode, session.id)
    if snapshot.busy or was_just_written(snapshot):
        raise WorkflowError(f"{session.id} is still running; call wait_for_tasks or stop_task first", session.id)
    if not discard:
        return
    if other_process_note is not None and not force:
        raise WorkflowError(
            f"nothing was discarded. {other_process_note} `force: true` removes the worktree anyway", session.id
        )
    others: set[str] = set()
    for directory in {task.worktree or session.directory, session.directory}:
        statuses = await opencode.call_as(dict[str, SessionStatus], "session_status", directory=directory)
        others |= {session_id for session_id, status in statuses.items() if status.type != "idle"}
    if others:
        raise WorkflowError(
            f"nothing was discarded: {', '.join(sorted(others))} running in the same worktree; call "
            "wait_for_tasks or stop_task first",
            session.id,
        )


def was_just_written(snapshot: SessionSnapshot) -> bool:
    """Whether a session has a prompt that may be yet to be worked on, or a reply that may be yet to be completed."""
    newest = snapshot.newest_message
    written_at = snapshot.session.time.created if newest is None else newest.written_at
    return classify(snapshot).stalled_reason is not None and abs(time.time() - written_at / 1000) < PICKUP_SECONDS


async def remove_worktree(opencode: OpenCodeClient, session: Session, task: TaskMetadata, outcome: str) -> None:
    """Remove a worktree. That is noted first: a session whose directory is gone may be outside of an allowed one.

    Raises:
        OpenCodeError: it was not removed.
    """
    await save_task_metadata(opencode, session.id, removed=outcome)
    try:
        worktree = task.worktree or session.directory
        await opencode.call("worktree_remove", directory=task.worktree_of, body={"directory": worktree})
        if await describe_removal(opencode, session, task) is None:
            raise WorkflowError(f"OpenCode reports the worktree {worktree} as removed, but it still exists")
    except OpenCodeError:
        with anyio.CancelScope(shield=True):
            await save_task_metadata(opencode, session.id, removed=None)
        raise
