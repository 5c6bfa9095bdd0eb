"""Scenarios of a task's setup: its commands run in the task's directory, and the prompt is sent only if they pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio

from tests.eventually import eventually

from .observed import ObservedResult
from .scenario import Scenario
from .scenario_context import ScenarioContext
from .worktrees import exists

PLAN_CONFIG = {
    "default_agent": "plan",
    "agent": {"build": {"disable": True}},
}
"""A configuration without OpenCode's usual agent."""


async def list_worktrees(ctx: ScenarioContext) -> list[str]:
    """Return the worktrees of the scenario's project."""
    return (await ctx.call_tool("worktree_list", directory=str(ctx.project)))["result"]


async def list_sessions(ctx: ScenarioContext, **arguments: Any) -> list[str]:
    """Return the sessions of the scenario's project."""
    listed = await ctx.call_tool("session_list", directory=str(ctx.project), scope="project", **arguments)
    return [session["id"] for session in listed["result"]]


async def set_up_worktree(ctx: ScenarioContext) -> ObservedResult:
    """Commands prepare the worktree, where its check needs them; a follow-up has no setup."""
    observed = await ctx.run_task(
        "script:text fine", worktree=True, setup=["mkdir deps", "touch deps/made && pwd"], check=["ls deps"]
    )
    assert observed["check"]["output"].endswith("made")
    assert (Path(observed["directory"]) / "deps" / "made").exists()
    assert not (ctx.project / "deps").exists()
    refused = await ctx.run_task("script:text more", session_id=observed.session_id, setup=["true"])
    assert "setup is for a new session" in refused.text
    return await ctx.run_task("script:text more", session_id=observed.session_id)


async def fail_setup(ctx: ScenarioContext) -> ObservedResult:
    """The second of three commands fails: no model is called, and neither a session nor a worktree is left."""
    setup = ["echo one > made.txt", "echo no network; exit 7", "touch never.txt"]
    observed = await ctx.run_task(f"script:text fine {ctx.key}", worktree=True, setup=setup)
    assert "no network" in observed["error"]
    assert not ctx.model_requests()
    assert not await list_worktrees(ctx)
    assert not exists(observed["directory"])
    assert not await list_sessions(ctx)
    assert not (ctx.project / "made.txt").exists()
    return await ctx.report_task(observed.session_id)


async def fail_one_setup(ctx: ScenarioContext) -> ObservedResult:
    """Of two tasks one cannot be set up: the other one goes on."""
    tasks = [{"prompt": "script:text one", "setup": ["exit 5"]}, {"prompt": "script:text two", "setup": ["true"]}]
    failed, other = (await ctx.call_tool("run_tasks", tasks=tasks, timeout_seconds=80)).tasks
    assert failed.state == "failed"
    assert "exit code 5" in failed["error"]
    assert await list_worktrees(ctx) == [other["directory"]]
    return await ctx.wait_for_task(other.session_id)


async def stop_setup(ctx: ScenarioContext) -> ObservedResult:
    """A setup that hangs: its report says what runs, and stop_task ends it and removes all."""
    begun, ended = ctx.file("begun"), ctx.file("ended")
    setup = [f"touch {begun}; sleep 300; touch {ended}"]
    reports = list[ObservedResult]()

    async def run() -> None:
        reports.append(await ctx.run_task(f"script:text fine {ctx.key}", worktree=True, setup=setup))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await eventually(begun.exists)
        [session_id] = await list_sessions(ctx, roots=True)
        starting = await ctx.report_task(session_id)
        assert starting["activity"].startswith("setting up: touch ")
        async with ctx.open_bridge() as other:
            elsewhere = await ctx.call_tool("report_task", other, session_id=session_id)
        assert (starting.state, elsewhere.state) == ("starting", "running")
        reports.append(await ctx.call_tool("stop_task", session_id=session_id))
        assert not exists(starting["directory"])
    assert not await list_worktrees(ctx)
    assert not ended.exists()
    assert not ctx.model_requests()
    return reports[0]


async def limit_setup(ctx: ScenarioContext) -> ObservedResult:
    """A setup counts in the minutes of its task; what it changed in the project's own files stays."""
    return await ctx.run_task("script:text fine", setup=["sleep 300"], limits={"minutes": 0.05})


async def deny_setup(ctx: ScenarioContext) -> ObservedResult:
    """A rule of OpenCode that denies the command holds for a setup."""
    observed = await ctx.run_task("script:text fine", worktree=True, setup=["true", f"touch {ctx.file('made')}"])
    assert not await list_worktrees(ctx)
    assert not ctx.file("made").exists()
    return observed


def write_ignored_files(project: Path) -> None:
    """Write files that git ignores, one that it does not, and a `.worktreeinclude` that names all of them."""
    (project / ".git" / "info" / "exclude").write_text(".env\ndeps/\n")
    (project / "deps").mkdir()
    for name in (".env", "deps/made", "notes.txt"):
        (project / name).write_text("KEY=project\n")
    (project / ".worktreeinclude").write_text(".env\ndeps/\nnotes.txt\n")


async def include_files(ctx: ScenarioContext) -> ObservedResult:
    """The setup and the check find the ignored files that are named; they are no changes, and removed with the rest."""
    write_ignored_files(ctx.project)
    found = "ls -a . deps && test -e .env && test -e deps/made && test ! -e notes.txt"
    observed = await ctx.run_task("script:text fine", worktree=True, setup=[found], check=[found])
    assert "2 files copied to the worktree by .worktreeinclude" in observed["note"]
    collected = await ctx.call_tool("collect_changes", session_id=observed.session_id, discard=True)
    assert {file["path"] for file in collected["files"]} <= {"opencode.json"}  # to which OpenCode adds `$schema`
    assert collected["discarded"]
    assert not exists(observed["directory"])
    assert (ctx.project / "deps" / "made").exists()
    return observed


async def change_included_file(ctx: ScenarioContext) -> ObservedResult:
    """A copy that was changed: the report says so, and only `force` discards it; the project's file is as it was."""
    write_ignored_files(ctx.project)
    observed = await ctx.run_task("script:text fine", worktree=True, check=["echo KEY=task > .env"])
    assert "not included: .env, changed since it was copied" in observed["note"]
    refused = await ctx.call_tool("collect_changes", session_id=observed.session_id, apply=True, discard=True)
    assert exists(observed["directory"])
    await ctx.call_tool("collect_changes", session_id=observed.session_id, discard=True, force=True)
    assert not exists(observed["directory"])
    assert (ctx.project / ".env").read_text() == "KEY=project\n"
    return refused


SCENARIOS = (
    Scenario("setup in a worktree", set_up_worktree, "completed", "more", config={}),
    Scenario("setup fails", fail_setup, "failed", "the setup failed with exit code 7: echo one", config={}),
    Scenario("setup fails for one of two tasks", fail_one_setup, "completed", "two", config=PLAN_CONFIG),
    Scenario("setup hangs and is stopped", stop_setup, "stopped", "before it started", config={}),
    Scenario("setup beyond the task's limit", limit_setup, "failed", r"the setup took longer than 3 s"),
    Scenario("files of .worktreeinclude", include_files, "completed", "fine", config={}),
    Scenario(
        "files of .worktreeinclude, changed by the task",
        change_included_file,
        "error",
        r"nothing was discarded.*\.env \(ignored by git, changed",
        config={},
    ),
    Scenario(
        "setup denied by a rule",
        deny_setup,
        "error",
        "setup: OpenCode's rules deny the agent",
        config={"permission": {"bash": {"touch *": "deny"}}},
    ),
)
