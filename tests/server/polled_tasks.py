"""Polled tasks of a fake OpenCode, and its events."""

from __future__ import annotations

from typing import Any

from anyio.abc import TaskGroup

from opencode_mcp.server.mcp_tasks.polled_task import PolledTask
from opencode_mcp.tasks import Context
from opencode_mcp.tasks.mcp_task_handle import TaskHandle, Turn
from tests.tasks.test_race_conditions import DONE, FakeOpenCode

PROMPT_ID: str = DONE["info"].get("parentID", DONE["info"]["id"])
BUSY = {"ses_1": {"type": "busy"}}
PERMISSION = {"id": "per_1", "sessionID": "ses_1", "permission": "bash", "patterns": ["make"]}


def make_task(*session_ids: str) -> PolledTask:
    """Return a task of one turn for each session."""
    turns = tuple(Turn(session_id, PROMPT_ID) for session_id in session_ids or ("ses_1",))
    return PolledTask(TaskHandle("run_task", turns))


def event(event_type: str, session_id: str = "ses_1", **properties: Any) -> dict[str, Any]:
    """Return an event of a session."""
    return {"type": event_type, "properties": {"sessionID": session_id, **properties}}


def bare_event(event_type: str) -> dict[str, Any]:
    """Return an event of no session."""
    return {"type": event_type, "properties": dict[str, Any]()}


async def read_count(opencode: FakeOpenCode, task: PolledTask, context: Context, tasks: TaskGroup) -> int:
    """Return how many requests to OpenCode one request of the client makes."""
    before = len(opencode.calls)
    await task.refresh(context, tasks)
    return len(opencode.calls) - before
