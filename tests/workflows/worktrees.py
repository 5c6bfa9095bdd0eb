"""Rows about tasks in worktrees of their own."""

from __future__ import annotations

import json
from pathlib import Path

from .bench import QUICK, Bench
from .doing import call
from .seen import Seen
from .table import Row

TASKS = 10
TASKS_SECONDS = 300
"""For ten tasks on two cores, and for what is played beside them."""


def writes(name: str, content: str) -> str:
    """A prompt that writes a file."""
    return f"script:tool write {json.dumps({'filePath': name, 'content': content})}"


def files(directory: str | Path) -> dict[str, str]:
    """Return what tasks wrote into a directory."""
    return {path.name: path.read_text() for path in Path(directory).glob("file*.txt")}


def is_there(directory: str) -> bool:
    """Whether a directory exists."""
    return Path(directory).exists()


async def ten(bench: Bench) -> Seen:
    """Ten tasks, each in its worktree; two are brought over, and the worktree of one is thrown away."""
    prompts = [writes(f"file{number}.txt", f"by task {number}\n") for number in range(TASKS)]
    seen = await bench.call("run_tasks", tasks=[{"prompt": item} for item in prompts], timeout_seconds=280)
    tasks = seen.tasks
    assert [item.state for item in tasks] == ["completed"] * TASKS
    assert len({item["directory"] for item in tasks} | {str(bench.project)}) == TASKS + 1
    for number, item in enumerate(tasks):
        assert files(item["directory"]) == {f"file{number}.txt": f"by task {number}\n"}
        assert item["changes"]["paths"] == [f"file{number}.txt"]
    assert files(bench.project) == {}

    for number in (0, 1):
        applied = await bench.call("collect_changes", session_id=tasks[number].session_id, apply=True)
        assert applied["applied_to"] == str(bench.project)
    assert files(bench.project) == {"file0.txt": "by task 0\n", "file1.txt": "by task 1\n"}
    discarded = await bench.call("collect_changes", session_id=tasks[0].session_id, apply=True, discard=True)
    assert discarded["applied_to"] == str(bench.project), "what is there already is no conflict"
    assert discarded["discarded"]
    assert not is_there(tasks[0]["directory"])
    assert len(files(bench.project)) == 2, "what had been brought over went with the worktree"
    return tasks[-1]


async def conflict(bench: Bench) -> Seen:
    """Changes that do not fit any more are refused, with their paths, and nothing of them is applied."""
    calls = [
        {"name": "write", "args": {"filePath": "new.txt", "content": "new\n"}},
        {"name": "edit", "args": {"filePath": "README.md", "oldString": "hello", "newString": "goodbye"}},
    ]
    reads = {"name": "read", "args": {"filePath": "README.md"}}
    task = await bench.run(f"script:chain {json.dumps([reads, *calls])}", worktree=True)
    assert task["changes"]["paths"] == ["README.md", "new.txt"], task.text
    (bench.project / "README.md").write_text("something else\n")
    seen = await bench.call("collect_changes", session_id=task.session_id, apply=True, discard=True)
    assert not (bench.project / "new.txt").exists()
    assert is_there(task["directory"]), "what could not be applied was discarded"
    return seen


async def apply_at_work(bench: Bench) -> Seen:
    """A task that still works is not brought over."""
    task = await bench.call("start_task", prompt="script:hang", worktree=True)
    return await bench.call("collect_changes", session_id=task.session_id, apply=True)


async def apply_without_worktree(bench: Bench) -> Seen:
    """A task that works in the project has nothing to bring over."""
    task = await bench.run("script:text here")
    return await bench.call("collect_changes", session_id=task.session_id, apply=True)


async def patch(bench: Bench) -> Seen:
    """A task's changes as a patch."""
    task = await bench.run(writes("new.txt", "line\n"))
    seen = await bench.call("collect_changes", session_id=task.session_id, format="patch")
    assert seen["files"] == [{"path": "new.txt", "status": "added", "additions": 1, "deletions": 0}]
    return seen


async def one_of_several_refused(bench: Bench) -> Seen:
    """Several tasks, of which the last cannot start: the others are not started, or do not go on unseen."""
    tasks = [{"prompt": "script:hang"}, {"prompt": "script:hang", "model": "no/such"}]
    seen = await bench.call("run_tasks", tasks=tasks)
    for session in (await bench.call("session_list", directory=str(bench.project), scope="project"))["result"]:
        assert (await bench.report(session["id"])).state == "stopped"
    left = (await bench.call("worktree_list", directory=str(bench.project)))["result"]
    sessions = (await bench.call("session_list", directory=str(bench.project), scope="project"))["result"]
    assert len(left) == len(sessions), "a worktree of no task is left behind"
    return seen


HERE = [{"prompt": "script:text one", "worktree": False}, {"prompt": "script:text two", "worktree": False}]

ROWS = (
    Row("ten tasks in ten worktrees", ten, "completed", seconds=TASKS_SECONDS, project={}),
    Row(
        "changes that conflict",
        conflict,
        "error",
        r"nothing was applied.*README\.md",
        seconds=TASKS_SECONDS,
        project={},
    ),
    Row("changes of a task at work", apply_at_work, "error", "still running", seconds=TASKS_SECONDS, project={}),
    Row("changes of a task without worktree", apply_without_worktree, "error", "not in a worktree"),
    Row("changes as a patch", patch, "answer", r"\+line", seconds=TASKS_SECONDS, project={}),
    Row(
        "several tasks, one unknown model",
        one_of_several_refused,
        "error",
        "unknown model 'no/such'",
        seconds=TASKS_SECONDS,
        project=QUICK,
    ),
    Row(
        "two tasks in one directory",
        call("run_tasks", tasks=HERE),
        "error",
        "give each a worktree or its own directory",
    ),
)
