"""A task that continues after its changes were applied, on a real OpenCode."""

from __future__ import annotations

from pathlib import Path

import pytest
from mcp import Client

from tests.scenarios.worktrees import exists
from tests.tasks.worktree.test_worktrees import call_succeeds, run_in_worktree, shell_prompt

pytestmark = pytest.mark.anyio


async def test_follow_up_changes_are_applied_after_the_first_ones(client: Client, project: Path) -> None:
    """The same lines change again, and an added file is deleted: both are applied; then discarding is allowed."""
    task = await run_in_worktree(client, "echo first > one.txt && echo first > two.txt")
    await call_succeeds(client, "collect_changes", session_id=task.session_id, apply=True)
    more = shell_prompt("echo second > one.txt && rm two.txt")
    again = await call_succeeds(client, "run_task", session_id=task.session_id, prompt=more, timeout_seconds=120)
    assert again["next"]["tool"] == "collect_changes"

    done = await call_succeeds(client, "collect_changes", session_id=task.session_id, apply=True, discard=True)

    assert done["applied_to"] == str(project) and "two.txt" in done["note"]
    assert (project / "one.txt").read_text() == "second\n"
    assert not (project / "two.txt").exists()
    assert not exists(task["directory"])
