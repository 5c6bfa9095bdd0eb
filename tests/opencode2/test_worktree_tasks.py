"""Tasks in worktrees of OpenCode 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.scripted_model import ScriptedModel

from .scenario_context import open_opencode2_context

pytestmark = pytest.mark.anyio


async def test_a_worktree_is_discarded_while_another_one_is_used(
    model: ScriptedModel, tmp_path: Path, spawns: None
) -> None:
    """The list of what runs has the sessions of all directories. Of a removed worktree no changes can be read."""
    async with open_opencode2_context(model, tmp_path, "row4003x", {}) as (ctx, fake):
        asking = await ctx.run_task("script:bash", worktree=True)
        wrote = await ctx.run_task("script:write", worktree=True)
        silent = await ctx.run_task("script:text", worktree=True)
        assert (asking.state, wrote["changes"]["paths"]) == ("waiting_permission", ["scripted.txt"])
        for task in (wrote, silent):
            collected = await ctx.call_tool("collect_changes", session_id=task.session_id, apply=True, discard=True)
            assert collected["discarded"], collected.text
        left = (await ctx.call_tool("worktree_list", directory=str(ctx.project)))["result"]
        assert left == [asking["directory"]]
        refused = await ctx.call_tool("collect_changes", session_id=asking.session_id, discard=True)
        assert "is still running" in refused.text
        later = await ctx.report_task(wrote.session_id)
        assert later.state == "completed", later.text
        assert later["changes"] == {"unknown": "the directory was removed, and OpenCode shows no changes without it"}
        assert "changes" not in (await ctx.report_task(silent.session_id)).content
        assert (ctx.project / "scripted.txt").is_file()
    assert (fake.contract.faults, fake.answer_faults, fake.not_played) == ([], [], [])
