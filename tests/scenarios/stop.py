"""Scenarios of stop_task: afterwards nothing of a task runs or waits."""

from __future__ import annotations

import json

from .observed import ObservedResult
from .permissions import touch_prompt, touched_file
from .scenario import Scenario
from .scenario_context import ScenarioContext

SLEEP_ARGUMENTS = {"command": "sleep 300", "description": "Sleep"}


def subagent_prompt(prompt: str) -> str:
    """Return a prompt that gives a subagent `prompt`; after a stopped subagent OpenCode goes on with the next step."""
    child = {"description": "child", "prompt": prompt, "subagent_type": "general"}
    return f"script:chain {json.dumps([{'name': 'task', 'args': child}, {'name': 'bash', 'args': SLEEP_ARGUMENTS}])}"


async def stop_and_check(ctx: ScenarioContext, task: ObservedResult) -> ObservedResult:
    """Stop a task, and check that nothing of it runs or waits."""
    observed = await ctx.call_tool("stop_task", session_id=task.session_id)
    directory = str(ctx.project)
    active = (await ctx.call_tool("session_status", directory=directory)).content
    children = (await ctx.call_tool("session_children", sessionID=task.session_id))["result"]
    family = {task.session_id, *(item["id"] for item in children)}
    assert not family & active.keys(), "something of it still works"
    pending = (await ctx.call_tool("permission_list", directory=directory))["result"]
    assert not [item for item in pending if item["sessionID"] in family], "something of it still waits"
    return observed


async def stop_working_task(ctx: ScenarioContext) -> ObservedResult:
    """A running task."""
    return await stop_and_check(ctx, await ctx.call_tool("start_task", prompt="script:hang"))


async def stop_waiting_task(ctx: ScenarioContext) -> ObservedResult:
    """A task that waits for permission: OpenCode keeps the request of an aborted task, stop_task clears it."""
    observed = await stop_and_check(ctx, await ctx.run_task(touch_prompt(ctx)))
    assert not touched_file(ctx).exists()
    return observed


async def stop_aborted_task(ctx: ScenarioContext) -> ObservedResult:
    """A task that a client aborted while it waited: stop_task clears its request."""
    task = await ctx.run_task(touch_prompt(ctx))
    await ctx.call_tool("session_abort", sessionID=task.session_id)
    return await stop_and_check(ctx, await ctx.wait_for_task(task.session_id))


async def stop_working_subagent(ctx: ScenarioContext) -> ObservedResult:
    """A task whose subagent runs."""
    await ctx.load_project()
    prompt = subagent_prompt(f"script:tool bash {json.dumps(SLEEP_ARGUMENTS)}")
    task = await ctx.run_task(prompt, permissions="allow", timeout_seconds=6)
    assert task.state == "running", task.text
    return await stop_and_check(ctx, task)


async def stop_waiting_subagent(ctx: ScenarioContext) -> ObservedResult:
    """A task whose subagent waits for permission."""
    observed = await stop_and_check(ctx, await ctx.run_task(subagent_prompt(touch_prompt(ctx))))
    assert not touched_file(ctx).exists()
    return observed


async def stop_ended_task(ctx: ScenarioContext) -> ObservedResult:
    """A task that has ended keeps its state."""
    return await stop_and_check(ctx, await ctx.run_task("script:text over"))


async def read_transcript_pages(ctx: ScenarioContext) -> ObservedResult:
    """A conversation in pages: together they are the whole, newest last, a line for each tool call."""
    task = await ctx.run_task("script:read")
    await ctx.run_task("script:text second", session_id=task.session_id)
    whole = await ctx.call_tool("read_transcript", session_id=task.session_id)
    pages: list[str] = []
    page = await ctx.call_tool("read_transcript", session_id=task.session_id, limit=2)
    while True:
        pages.insert(0, page["text"])
        if "earlier" not in page.content:
            break
        page = await ctx.call_tool("read_transcript", session_id=task.session_id, limit=2, before=page["earlier"])
    assert len(pages) > 2
    assert "\n\n".join(pages) == whole["text"]
    assert json.loads(whole.text) == whole.content
    return whole


SCENARIOS = (
    Scenario("stop a working task", stop_working_task, "stopped", "^aborted$"),
    Scenario("stop a waiting task", stop_waiting_task, "stopped", "^aborted$"),
    Scenario("stop a task that was aborted while it waited", stop_aborted_task, "stopped", "^aborted$"),
    Scenario("stop a task with a working subagent", stop_working_subagent, "stopped"),
    Scenario("stop a task with a waiting subagent", stop_waiting_subagent, "stopped"),
    Scenario("stop a task that is over", stop_ended_task, "completed", "over$"),
    Scenario(
        "transcript in pages", read_transcript_pages, "answer", r"(?s)script:read.*> read README.md: completed.*second"
    ),
)
