"""Rows about stop_task: nothing of a task works any more, and nothing of it waits any more."""

from __future__ import annotations

import json

from .asking import made, touch
from .bench import Bench
from .seen import Seen
from .table import Row

SLEEP = {"command": "sleep 300", "description": "Sleep"}


def with_child(prompt: str) -> str:
    """A subagent is told this. What it was stopped in is a result to OpenCode, which goes on with the next step."""
    child = {"description": "child", "prompt": prompt, "subagent_type": "general"}
    return f"script:chain {json.dumps([{'name': 'task', 'args': child}, {'name': 'bash', 'args': SLEEP}])}"


async def stop(bench: Bench, task: Seen) -> Seen:
    """Stop a task, and see that nothing is left of it."""
    seen = await bench.call("stop_task", session_id=task.session_id)
    where = str(bench.project)
    working = (await bench.call("session_status", directory=where)).facts
    children = (await bench.call("session_children", sessionID=task.session_id))["result"]
    family = {task.session_id, *(item["id"] for item in children)}
    assert not family & working.keys(), "something of it still works"
    pending = (await bench.call("permission_list", directory=where))["result"]
    assert not [item for item in pending if item["sessionID"] in family], "something of it still waits"
    return seen


async def working(bench: Bench) -> Seen:
    """A task at work."""
    return await stop(bench, await bench.call("start_task", prompt="script:hang"))


async def waiting(bench: Bench) -> Seen:
    """A task that waits for permission: OpenCode keeps the request of an aborted task, we do not."""
    seen = await stop(bench, await bench.run(touch(bench)))
    assert not made(bench).exists()
    return seen


async def aborted_before(bench: Bench) -> Seen:
    """A task that somebody aborted while it waited: what is left of it is cleared."""
    task = await bench.run(touch(bench))
    await bench.call("session_abort", sessionID=task.session_id)
    return await stop(bench, await bench.wait(task.session_id))


async def with_subagent(bench: Bench) -> Seen:
    """A task whose subagent is at work."""
    task = await bench.run(with_child(f"script:tool bash {json.dumps(SLEEP)}"), permissions="allow", timeout_seconds=3)
    assert task.state == "running"
    return await stop(bench, task)


async def with_waiting_subagent(bench: Bench) -> Seen:
    """A task whose subagent waits for permission."""
    seen = await stop(bench, await bench.run(with_child(touch(bench))))
    assert not made(bench).exists()
    return seen


async def over(bench: Bench) -> Seen:
    """A task that is over is not made another one."""
    return await stop(bench, await bench.run("script:text over"))


async def transcript(bench: Bench) -> Seen:
    """A conversation in pages: together they are the whole, newest last, a line for each tool call."""
    task = await bench.run("script:read")
    await bench.run("script:text second", session_id=task.session_id)
    whole = await bench.call("read_transcript", session_id=task.session_id)
    pages: list[str] = []
    page = await bench.call("read_transcript", session_id=task.session_id, limit=2)
    while True:
        pages.insert(0, page["text"])
        if page["earlier"] is None:
            break
        page = await bench.call("read_transcript", session_id=task.session_id, limit=2, before=page["earlier"])
    assert len(pages) > 2
    assert "\n\n".join(pages) == whole["text"]
    assert json.loads(whole.text) == whole.facts
    return whole


ROWS = (
    Row("stop a working task", working, "stopped", "^aborted$"),
    Row("stop a waiting task", waiting, "stopped", "^aborted$"),
    Row("stop a task that was aborted while it waited", aborted_before, "stopped", "^aborted$"),
    Row("stop a task with a working subagent", with_subagent, "stopped"),
    Row("stop a task with a waiting subagent", with_waiting_subagent, "stopped"),
    Row("stop a task that is over", over, "completed", "over$"),
    Row("transcript in pages", transcript, "answer", r"(?s)script:read.*> read README.md: completed.*second"),
)
