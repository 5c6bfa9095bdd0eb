"""Scenarios of models that fail, and of what a model's turn reports."""

from __future__ import annotations

import json
import re

from tests.conftest import SNAPSHOTS
from tests.eventually import eventually

from .actions import run_task
from .observed import ObservedResult
from .scenario import Action, Scenario
from .scenario_context import ScenarioContext

TWO_CALLS = json.dumps(
    [
        {"name": "write", "args": {"filePath": "notes.txt", "content": "one\ntwo\n"}},
        {"name": "read", "args": {"filePath": "notes.txt"}},
    ]
)


async def tool_calls(ctx: ScenarioContext) -> ObservedResult:
    """A task that writes and reads."""
    observed = await ctx.run_task(f"script:chain {TWO_CALLS}")
    assert observed["changes"] == {"files": 1, "additions": 2, "deletions": 0, "paths": ["notes.txt"]}
    assert (ctx.project / "notes.txt").read_text() == "one\ntwo\n"
    return observed


async def subagent(ctx: ScenarioContext) -> ObservedResult:
    """A task that delegates to a subagent."""
    observed = await ctx.run_task("script:task")
    transcript = await ctx.call_tool("read_transcript", session_id=observed.session_id)
    named = re.findall(rf"> {ctx.traits.subagent} child: completed \(session (ses_\w+)\)", transcript["text"])
    assert len(named) == 1, transcript.text
    if not ctx.faulty_network:  # where the response of an operation may be lost, which takes two minutes to end
        children = (await ctx.call_tool("session_children", sessionID=observed.session_id))["result"]
        assert [child["id"] for child in children] == named
    return observed


PRICED_CONFIG = {"provider": {"scripted": {"models": {"scripted": {"cost": {"input": 1000, "output": 1000}}}}}}
"""US dollars for a million tokens: each call of the model, of 120 tokens, costs 0.12."""


async def report_spending(ctx: ScenarioContext) -> ObservedResult:
    """Two turns, the first with a subagent: turn and family have their own figures where they differ."""
    first = await ctx.run_task("script:task")
    assert spending_figures(first) == [(None, None), (240, 0.24), (360, 0.36)], first.text
    second = await ctx.run_task("script:text", session_id=first.session_id)
    assert spending_figures(second) == [(120, 0.12), (360, 0.36), (480, 0.48)], second.text
    assert second["model"] == "scripted/scripted"
    return second


def spending_figures(seen: ObservedResult) -> list[tuple[int | None, float | None]]:
    """The figures of the turn, the session, and the session with its subagents."""
    return [(seen[f"{prefix}tokens"], seen[f"{prefix}cost"]) for prefix in ("turn_", "", "family_")]


async def failed_tool_call(ctx: ScenarioContext) -> ObservedResult:
    """The model goes on after a failed tool call: the report lists that call."""
    observed = await ctx.run_task('script:tool read {"filePath": "nowhere.txt"}')
    [line] = observed["failed_calls"]
    assert re.search(r"^read nowhere\.txt: .*not found", line), line
    after = await ctx.run_task("script:text", session_id=observed.session_id)
    assert after["failed_calls"] == [], "the failed call was in the turn before"
    return observed


async def reverted_turn(ctx: ScenarioContext) -> ObservedResult:
    """The report notes that a turn was reverted; the reports before and after have no note."""
    first = await ctx.run_task("script:write")
    assert first["note"] is None
    messages = (await ctx.call_tool("session_messages", sessionID=first.session_id))["result"]
    await ctx.call_tool("session_revert", sessionID=first.session_id, messageID=messages[0]["info"]["id"])
    observed = await ctx.report_task(first.session_id)
    assert "This turn was reverted" in observed["note"]
    after = await ctx.run_task("script:text again", session_id=first.session_id)
    assert after["note"] is None
    return observed


async def wait_for_silent_model(ctx: ScenarioContext) -> ObservedResult:
    """The time limit passes while the model says nothing."""
    await ctx.load_project()
    return await ctx.run_task("script:hang", timeout_seconds=6)


async def unreadable_file(ctx: ScenarioContext) -> ObservedResult:
    """OpenCode sends a session.error event that does not end the turn."""
    await ctx.load_project()
    session_id = await ctx.create_session()
    file = {"type": "file", "mime": "text/plain", "url": f"file://{ctx.project}/nowhere.txt", "filename": "nowhere"}
    parts = [{"type": "text", "text": f"script:text {ctx.key}"}, file]
    await ctx.call_tool("session_prompt_async", sessionID=session_id, parts=parts)
    return await ctx.wait_for_task(session_id)


async def changes_ten_times(ctx: ScenarioContext) -> ObservedResult:
    """The changes are complete as soon as the task is."""
    for number in range(9):
        observed = await write_and_check(ctx, number)
        assert observed.state == "completed", observed.text
    return await write_and_check(ctx, 9)


async def write_and_check(ctx: ScenarioContext, number: int) -> ObservedResult:
    """Write a file, and check that the report has it."""
    call = {"filePath": f"file{number}.txt", "content": "line\n"}
    observed = await ctx.run_task(f"script:tool write {json.dumps(call)}")
    assert observed["changes"]["paths"] == [call["filePath"]]
    return observed


RETRY_PATTERN = r"^retry \d of the model in \d+ s: "
MODEL_ERROR = "the error that the prompt asked for"


def while_retrying(prompt: str) -> Action:
    """A task whose model keeps failing, reported while OpenCode waits for its next retry."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        task = await ctx.call_tool("start_task", prompt=prompt)
        return await eventually(
            lambda: ctx.report_task(task.session_id), lambda seen: re.search(RETRY_PATTERN, seen.message) is not None
        )

    return action


SCENARIOS = (
    Scenario(
        "model error 500 until OpenCode gives up",
        run_task("script:error 500", timeout_seconds=170),
        "failed",
        "500",
        180,
    ),
    Scenario("plain answer", run_task("script:text {key}"), "completed", r"^Hello from the scripted model\. row\d+x$"),
    Scenario("a file that cannot be read", unreadable_file, "completed", "Hello from"),
    Scenario("spent by turn, session and family", report_spending, "completed", config=PRICED_CONFIG),
    Scenario("a tool call that fails", failed_tool_call, "completed", "^done: tool$"),
    Scenario("a turn that was reverted", reverted_turn, "completed", config=SNAPSHOTS),
    Scenario("tool calls", tool_calls, "completed", "^done: chain$", config=SNAPSHOTS),
    Scenario("subagent", subagent, "completed", "^done: task$"),
    Scenario(
        "changes of ten tasks right after their end",
        changes_ten_times,
        "completed",
        config=SNAPSHOTS,
    ),
    Scenario(
        "model error 400", run_task("script:error 400"), "failed", "HTTP 400: the error that the prompt asked for"
    ),
    Scenario(
        "model error 401", run_task("script:error 401"), "failed", "HTTP 401: the error that the prompt asked for"
    ),
    Scenario("model error 429, retried", while_retrying("script:error 429"), "running", RETRY_PATTERN + MODEL_ERROR),
    Scenario("model error 429, once", run_task("script:flaky 429 {key}"), "completed", "^done: flaky$"),
    Scenario("model error 500, retried", while_retrying("script:error 500"), "running", RETRY_PATTERN + MODEL_ERROR),
    Scenario("model drops the connection", while_retrying("script:drop"), "running", RETRY_PATTERN),
    Scenario("model says nothing", wait_for_silent_model, "running", "^waiting for the model$"),
    Scenario("context overflow, compacted by OpenCode", run_task("script:overflow"), "completed"),
    Scenario(
        "context overflow, not compacted",
        run_task("script:overflow"),
        "failed",
        "ContextOverflowError: .*maximum context length is 1000 tokens",
        config={"compaction": {"auto": False}},
    ),
)
