"""Scenarios of tasks in worktrees."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import SNAPSHOTS

from .actions import call_tool
from .observed import ObservedResult
from .scenario import Scenario
from .scenario_context import ScenarioContext

TASKS = 10
TASKS_SECONDS = 300
"""The time limit for ten tasks on two cores, with other tests running."""


def write_prompt(name: str, content: str) -> str:
    """A prompt that writes a file."""
    return f"script:tool write {json.dumps({'filePath': name, 'content': content})}"


def read_files(directory: str | Path) -> dict[str, str]:
    """Return what tasks wrote into a directory."""
    return {path.name: path.read_text() for path in Path(directory).glob("file*.txt")}


def exists(directory: str) -> bool:
    """Whether a directory exists."""
    return Path(directory).exists()


async def ten_tasks(ctx: ScenarioContext) -> ObservedResult:
    """Ten tasks, each in its worktree; the changes of two are applied, and one worktree is discarded."""
    prompts = [write_prompt(f"file{number}.txt", f"by task {number}\n") for number in range(TASKS)]
    observed = await ctx.call_tool("run_tasks", tasks=[{"prompt": item} for item in prompts], timeout_seconds=280)
    tasks = observed.tasks
    assert [item.state for item in tasks] == ["completed"] * TASKS
    assert len({item["directory"] for item in tasks} | {str(ctx.project)}) == TASKS + 1
    for number, item in enumerate(tasks):
        assert read_files(item["directory"]) == {f"file{number}.txt": f"by task {number}\n"}
        assert item["changes"]["paths"] == [f"file{number}.txt"]
    assert read_files(ctx.project) == {}

    for number in (0, 1):
        applied = await ctx.call_tool("collect_changes", session_id=tasks[number].session_id, apply=True)
        assert applied["applied_to"] == str(ctx.project)
    assert read_files(ctx.project) == {"file0.txt": "by task 0\n", "file1.txt": "by task 1\n"}
    discarded = await ctx.call_tool("collect_changes", session_id=tasks[0].session_id, apply=True, discard=True)
    assert discarded["applied_to"] == str(ctx.project), "what is there already is no conflict"
    assert discarded["discarded"]
    assert not exists(tasks[0]["directory"])
    assert len(read_files(ctx.project)) == 2, "discarding the worktree removed applied changes"
    return tasks[-1]


async def apply_conflict(ctx: ScenarioContext) -> ObservedResult:
    """Changes that conflict are refused with their paths, and nothing is applied."""
    calls = [
        {"name": "write", "args": {"filePath": "new.txt", "content": "new\n"}},
        {"name": "edit", "args": {"filePath": "README.md", "oldString": "hello", "newString": "goodbye"}},
    ]
    reads = {"name": "read", "args": {"filePath": "README.md"}}
    task = await ctx.run_task(f"script:chain {json.dumps([reads, *calls])}", worktree=True)
    assert task["changes"]["paths"] == ["README.md", "new.txt"], task.text
    (ctx.project / "README.md").write_text("something else\n")
    observed = await ctx.call_tool("collect_changes", session_id=task.session_id, apply=True, discard=True)
    assert not (ctx.project / "new.txt").exists()
    assert exists(task["directory"]), "what could not be applied was discarded"
    return observed


async def apply_while_working(ctx: ScenarioContext) -> ObservedResult:
    """The changes of a running task are not applied."""
    task = await ctx.call_tool("start_task", prompt="script:hang", worktree=True)
    return await ctx.call_tool("collect_changes", session_id=task.session_id, apply=True)


async def apply_without_worktree(ctx: ScenarioContext) -> ObservedResult:
    """A task that works in the project has nothing to apply."""
    task = await ctx.run_task("script:text here")
    return await ctx.call_tool("collect_changes", session_id=task.session_id, apply=True)


async def collect_patch(ctx: ScenarioContext) -> ObservedResult:
    """A task's changes as a patch."""
    task = await ctx.run_task(write_prompt("new.txt", "line\n"))
    observed = await ctx.call_tool("collect_changes", session_id=task.session_id, format="patch")
    assert observed["files"] == [{"path": "new.txt", "status": "added", "additions": 1, "deletions": 0}]
    return observed


async def start_with_invalid_task(ctx: ScenarioContext) -> ObservedResult:
    """Several tasks, of which the last cannot start: the others are not started, or are stopped."""
    tasks = [{"prompt": "script:hang"}, {"prompt": "script:hang", "model": "no/such"}]
    observed = await ctx.call_tool("run_tasks", tasks=tasks)
    for session in (await ctx.call_tool("session_list", directory=str(ctx.project), scope="project"))["result"]:
        assert (await ctx.report_task(session["id"])).state == "stopped"
    worktrees = (await ctx.call_tool("worktree_list", directory=str(ctx.project)))["result"]
    sessions = (await ctx.call_tool("session_list", directory=str(ctx.project), scope="project"))["result"]
    assert len(worktrees) == len(sessions), "a worktree of no task is left behind"
    return observed


SAME_DIRECTORY_TASKS = [
    {"prompt": "script:text one", "worktree": False},
    {"prompt": "script:text two", "worktree": False},
]


async def answer_without_session(ctx: ScenarioContext) -> ObservedResult:
    """A request of a task in a worktree is found by its id alone, also by a server that has not reported it, and when
    a newer session's worktree is gone."""
    asking = await ctx.run_task("script:bash", worktree=True)
    removed = await ctx.run_task("script:text", worktree=True)
    await ctx.call_tool("collect_changes", session_id=removed.session_id, discard=True)
    assert not exists(removed["directory"])
    async with ctx.open_bridge() as other:
        return await ctx.call_tool("answer_permission", other, request_id=asking.request_id, reply="once")


SCENARIOS = (
    Scenario("ten tasks in ten worktrees", ten_tasks, "completed", limit_seconds=TASKS_SECONDS, config=SNAPSHOTS),
    Scenario(
        "changes that conflict",
        apply_conflict,
        "error",
        r"nothing was applied.*README\.md",
        limit_seconds=TASKS_SECONDS,
        config=SNAPSHOTS,
    ),
    Scenario(
        "changes of a task at work",
        apply_while_working,
        "error",
        "still running",
        limit_seconds=TASKS_SECONDS,
        config={},
    ),
    Scenario("permission asked in a worktree", answer_without_session, "completed", "^done: bash$", config={}),
    Scenario("changes of a task without worktree", apply_without_worktree, "error", "not in a worktree"),
    Scenario("changes as a patch", collect_patch, "answer", r"\+line", limit_seconds=TASKS_SECONDS, config=SNAPSHOTS),
    Scenario(
        "several tasks, one unknown model",
        start_with_invalid_task,
        "error",
        "unknown model 'no/such'",
        limit_seconds=TASKS_SECONDS,
        config={},
    ),
    Scenario(
        "two tasks in one directory",
        call_tool("run_tasks", tasks=SAME_DIRECTORY_TASKS),
        "error",
        "give each a worktree or its own directory",
    ),
)
