"""Rows about models that fail, and a model's answers as they come."""

from __future__ import annotations

import json
import re

from tests.eventually import eventually

from .bench import Bench
from .doing import run
from .seen import Seen
from .table import Deed, Row

TWO_CALLS = json.dumps(
    [
        {"name": "write", "args": {"filePath": "notes.txt", "content": "one\ntwo\n"}},
        {"name": "read", "args": {"filePath": "notes.txt"}},
    ]
)


async def tool_calls(bench: Bench) -> Seen:
    """A task that writes and reads."""
    seen = await bench.run(f"script:chain {TWO_CALLS}")
    assert seen["changes"] == {"files": 1, "additions": 2, "deletions": 0, "paths": ["notes.txt"], "unknown": None}
    assert (bench.project / "notes.txt").read_text() == "one\ntwo\n"
    return seen


async def subagent(bench: Bench) -> Seen:
    """A task that has a subagent do it."""
    seen = await bench.run("script:task")
    children = (await bench.call("session_children", sessionID=seen.session_id))["result"]
    assert len(children) == 1
    return seen


PRICED = {"provider": {"scripted": {"models": {"scripted": {"cost": {"input": 1000, "output": 1000}}}}}}
"""US dollars for a million tokens: each call of the model, of 120 tokens, costs 0.12."""


async def spent(bench: Bench) -> Seen:
    """Two turns, the first with a subagent: what the turn, the session and all of it have spent are three figures."""
    first = await bench.run("script:task")
    assert spent_of(first) == [(240, 0.24), (240, 0.24), (360, 0.36)], first.text
    second = await bench.run("script:text", session_id=first.session_id)
    assert spent_of(second) == [(120, 0.12), (360, 0.36), (480, 0.48)], second.text
    assert second["model"] == "scripted/scripted"
    return second


def spent_of(seen: Seen) -> list[tuple[int, float]]:
    """The figures of the turn, the session, and the session with its subagents."""
    return [(seen[f"{of}tokens"], round(seen[f"{of}cost"], 6)) for of in ("turn_", "", "family_")]


async def failed_call(bench: Bench) -> Seen:
    """The model goes on after a tool call that failed: the report says that it did."""
    seen = await bench.run('script:tool read {"filePath": "nowhere.txt"}')
    [line] = seen["failed_calls"]
    assert re.search(r"^read nowhere\.txt: .*not found", line), line
    after = await bench.run("script:text", session_id=seen.session_id)
    assert after["failed_calls"] == [], "that was the turn before"
    return seen


async def reverted(bench: Bench) -> Seen:
    """A turn that was taken back is not reported as if it counted; the one before it is none."""
    first = await bench.run("script:write")
    assert first["note"] is None
    messages = (await bench.call("session_messages", sessionID=first.session_id))["result"]
    await bench.call("session_revert", sessionID=first.session_id, messageID=messages[0]["info"]["id"])
    seen = await bench.report(first.session_id)
    assert "This turn was reverted" in seen["note"]
    after = await bench.run("script:text again", session_id=first.session_id)
    assert after["note"] is None
    return seen


async def unreadable_file(bench: Bench) -> Seen:
    """OpenCode tells of an error that ends nothing."""
    session_id = await bench.create_session()
    file = {"type": "file", "mime": "text/plain", "url": f"file://{bench.project}/nowhere.txt", "filename": "nowhere"}
    parts = [{"type": "text", "text": f"script:text {bench.key}"}, file]
    await bench.call("session_prompt_async", sessionID=session_id, parts=parts)
    return await bench.wait(session_id)


async def changes_ten_times(bench: Bench) -> Seen:
    """The changes are complete as soon as the task is."""
    for number in range(9):
        seen = await written(bench, number)
        assert seen.state == "completed", seen.text
    return await written(bench, 9)


async def written(bench: Bench, number: int) -> Seen:
    """Write a file, and see it in the report."""
    call = {"filePath": f"file{number}.txt", "content": "line\n"}
    seen = await bench.run(f"script:tool write {json.dumps(call)}")
    assert seen["changes"]["paths"] == [call["filePath"]]
    return seen


RETRY = r"^retry \d of the model in \d+ s: "
ERROR = "the error that the prompt asked for"


def retried(prompt: str) -> Deed:
    """A task whose model fails again and again, looked at while OpenCode waits to try again."""

    async def does(bench: Bench) -> Seen:
        task = await bench.call("start_task", prompt=prompt)
        return await eventually(
            lambda: bench.report(task.session_id), lambda seen: re.search(RETRY, seen.message) is not None
        )

    return does


ROWS = (
    Row("model error 500 until OpenCode gives up", run("script:error 500", timeout_seconds=170), "failed", "500", 180),
    Row("plain answer", run("script:text {key}"), "completed", r"^Hello from the scripted model\. row\d+x$"),
    Row("a file that cannot be read", unreadable_file, "completed", "Hello from"),
    Row("spent by turn, session and family", spent, "completed", project=PRICED),
    Row("a tool call that fails", failed_call, "completed", "^done: tool$"),
    Row("a turn that was reverted", reverted, "completed", project={}),
    Row("tool calls", tool_calls, "completed", "^done: chain$", project={}),
    Row("subagent", subagent, "completed", "^done: task$"),
    Row("changes of ten tasks right after their end", changes_ten_times, "completed", seconds=150, project={}),
    Row("model error 400", run("script:error 400"), "failed", "HTTP 400: the error that the prompt asked for"),
    Row("model error 401", run("script:error 401"), "failed", "HTTP 401: the error that the prompt asked for"),
    Row("model error 429, retried", retried("script:error 429"), "running", RETRY + ERROR),
    Row("model error 429, once", run("script:flaky 429 {key}"), "completed", "^done: flaky$"),
    Row("model error 500, retried", retried("script:error 500"), "running", RETRY + ERROR),
    Row("model drops the connection", retried("script:drop"), "running", RETRY),
    Row("model says nothing", run("script:hang", timeout_seconds=3), "running", "^waiting for the model$"),
    Row("context overflow, compacted by OpenCode", run("script:overflow"), "completed"),
    Row(
        "context overflow, not compacted",
        run("script:overflow"),
        "failed",
        "ContextOverflowError: .*maximum context length is 1000 tokens",
        project={"compaction": {"auto": False}},
    ),
)
