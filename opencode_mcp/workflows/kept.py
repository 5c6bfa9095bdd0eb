"""Check that the server stored a task's metadata; older servers drop it."""

from __future__ import annotations

import anyio

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import Session

from .metadata import TaskMetadata, task_metadata


async def check_metadata_stored(opencode: OpenCodeClient, session: Session, task: TaskMetadata) -> None:
    """See that a session that was just created has the metadata that was sent; else delete it again.

    Raises:
        WorkflowError: the server has dropped it (seen in 1.15.0 and before), and the task needs it.
    """
    if task_metadata(session) == task or not describe_metadata_needs(task):
        return
    with anyio.CancelScope(shield=True):
        await opencode.call("session_delete", sessionID=session.id)
    raise WorkflowError(
        f"{opencode.server.describe()} does not store session metadata, which {describe_metadata_needs(task)} needs: "
        "nothing was started. Use OpenCode 1.15.13 or later, or a task with permissions `report`, no "
        "request_id and no worktree."
    )


def describe_metadata_needs(task: TaskMetadata) -> str:
    """Name what of a task is nowhere but in its session's metadata; "" for nothing."""
    needs = {
        "request_id": task.request_id is not None,
        "worktree": task.worktree_of is not None,
        f"permissions `{task.permissions}`": task.permissions not in {None, "report", "allow"},
    }
    return ", ".join(name for name, needed in needs.items() if needed)
