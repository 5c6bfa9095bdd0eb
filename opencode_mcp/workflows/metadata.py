"""What any bridge must know of a task, kept with the task itself: in its session's metadata."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from opencode_mcp.opencode.models import Session, as_model

METADATA_KEY = "opencode_mcp"

Permissions = Literal["report", "ask", "allow", "reject"]
"""What happens when a tool call needs permission: report it, ask the user, allow it, reject it."""


class TaskMetadata(BaseModel):
    """Facts about a task.

    `permissions` is None for a session that is no task of ours; `worktree_of` is the project
    directory that the task's worktree was made of.
    """

    permissions: Permissions | None = None
    request_id: str | None = None
    worktree_of: str | None = None


def task_metadata(session: Session) -> TaskMetadata:
    """Read a session's task metadata; a session that no bridge created has the defaults."""
    return as_model(f"the metadata of {session.id}", TaskMetadata, session.metadata.get(METADATA_KEY, {}))


def with_task_metadata(metadata: dict[str, Any], task: TaskMetadata) -> dict[str, Any]:
    """Return session metadata that holds a task's."""
    return {**metadata, METADATA_KEY: task.model_dump(exclude_none=True)}
