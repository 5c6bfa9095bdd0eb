"""The sessions that answer the same task, found by the metadata that each has from its creation on."""

from __future__ import annotations

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import Session

from .idempotency import SEARCHED_SESSIONS
from .metadata import TaskMetadata, readable_metadata


async def find_answers(opencode: OpenCodeClient, task: TaskMetadata) -> list[Session]:
    """Return the sessions of a task's group whose worktrees were not removed by collect_changes, in their order.

    Of a session and its forks it is the first. Sessions that are not among the newest SEARCHED_SESSIONS are not found.
    """
    if task.answer_group is None:
        return []
    listed = await engine_of(opencode).list_sessions(task.worktree_of, SEARCHED_SESSIONS)
    found: dict[int, Session] = {}
    for session in sorted(listed, key=lambda session: (session.time.created, session.id)):
        group = readable_metadata(session).answer_group
        if group is not None and group.key == task.answer_group.key:
            found.setdefault(group.number, session)
    return [found[number] for number in sorted(found) if readable_metadata(found[number]).removed is None]
