"""Discard a worktree on a real OpenCode: only what belongs to the task is removed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.tasks.worktree.git import Git
from opencode_mcp.tasks.worktree.local import read_local_changes
from tests.scenarios.worktrees import exists
from tests.tasks.worktree.test_local import client as client_of
from tests.tasks.worktree.test_local import make_task
from tests.tasks.worktree.test_merge import Pair, pair
from tests.tasks.worktree.test_worktrees import call, call_refused, call_succeeds, git, run_in_worktree

pytestmark = pytest.mark.anyio

__all__ = ["pair"]


async def test_a_branch_that_the_task_checked_out_is_kept(
    client: Client, project: Path, environ: Mapping[str, str]
) -> None:
    """OpenCode deletes the branch that a worktree is on: here the user's, with a commit that no other branch has."""
    git(project, environ, "checkout", "-qb", "precious")
    git(project, environ, "commit", "--allow-empty", "-qm", "precious")
    git(project, environ, "checkout", "-q", "-")
    task = await run_in_worktree(client, "git checkout -q precious && echo new > new.txt")

    done = await call_succeeds(client, "collect_changes", session_id=task.session_id, apply=True, discard=True)

    assert "precious" in done["note"] and "kept the branch" in done["note"]
    assert not exists(task["directory"])
    branches = git(project, environ, "branch", "--format=%(refname:short)").splitlines()
    assert "precious" in branches
    assert not [one for one in branches if one.startswith("opencode/")], "its own branch goes"
    assert git(project, environ, "log", "-1", "--format=%s", "precious") == "precious"


async def test_a_worktree_with_a_running_session_is_not_discarded(client: Client) -> None:
    """A fork works in the same folder."""
    task = await run_in_worktree(client, "echo one > one.txt")
    fork = await call_succeeds(client, "session_fork", sessionID=task.session_id)
    await call_succeeds(client, "start_task", session_id=fork["id"], prompt="script:hang")

    said = await call_refused(client, "collect_changes", session_id=task.session_id, apply=True, discard=True)

    assert "nothing was discarded" in said and fork["id"] in said
    assert exists(f"{task['directory']}/one.txt")
    await call(client, "stop_task", session_id=fork["id"])
    await call_succeeds(client, "collect_changes", session_id=task.session_id, apply=True, discard=True)


async def test_a_folder_that_is_not_a_worktree_is_not_compared(client: Client, project: Path) -> None:
    """Without its .git, or with another one, OpenCode would report no changes."""
    for command in ("rm .git", "rm .git && git init -q && git add -A && git commit -qm all"):
        task = await run_in_worktree(client, f"echo one > one.txt && {command}")
        for arguments in ({}, {"apply": True, "discard": True}):
            said = await call_refused(client, "collect_changes", session_id=task.session_id, **arguments)
            assert "is no longer the git worktree" in said
        assert exists(f"{task['directory']}/one.txt")
    assert not (project / "one.txt").exists()


async def test_a_locked_worktree_is_reported_as_kept(client: Client, project: Path) -> None:
    """The changes were applied, and the error says both."""
    task = await run_in_worktree(client, "echo one > one.txt && git worktree lock .")

    said = await call_refused(client, "collect_changes", session_id=task.session_id, apply=True, discard=True)

    assert "the changes were applied to" in said and "was not discarded" in said and "locked" in said
    assert (project / "one.txt").read_text() == "one\n"
    assert exists(f"{task['directory']}/one.txt")


async def test_a_worktree_that_changes_during_removal_is_kept(catalog: Catalog, pair: Pair) -> None:
    """A program that the task left running writes after the changes were read."""
    worktree = Git.for_directory(str(pair.worktree), pair.environ)
    async with read_local_changes(client_of(catalog, pair), make_task(pair), worktree) as found:
        (pair.worktree / "late.txt").write_text("late\n")
        with pytest.raises(WorkflowError, match="changed during the call"):
            async with found.prepare_removal(force=False):
                pass
        async with found.prepare_removal(force=True) as branch:
            assert branch is None


async def test_a_failed_removal_restores_the_branch(catalog: Catalog, pair: Pair) -> None:
    """The worktree is on its own branch only during the removal."""
    pair.git(pair.worktree, "checkout", "-qb", "other")
    worktree = Git.for_directory(str(pair.worktree), pair.environ)
    async with read_local_changes(client_of(catalog, pair), make_task(pair), worktree) as found:
        with pytest.raises(WorkflowError, match="not removed"):
            async with found.prepare_removal(force=False) as branch:
                assert branch == "other"
                assert pair.git(pair.worktree, "branch", "--show-current").strip() == "task"
                raise WorkflowError("not removed")
    assert pair.git(pair.worktree, "branch", "--show-current").strip() == "other"
