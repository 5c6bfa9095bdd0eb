"""Scenarios of --on-event: each thing that happens to a task is one event, from the bridge that has sent its prompt."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
from mcp import Client

from tests.eventually import eventually

from .observed import ObservedResult
from .permissions import touch_prompt
from .scenario import Scenario
from .scenario_context import ScenarioContext

REPEAT_SECONDS = 2.0
"""How long a second event about the same is waited for."""


@asynccontextmanager
async def open_observed_bridge(ctx: ScenarioContext, command: str = "cat >> {file}") -> AsyncGenerator[Client]:
    """Open a bridge whose command writes down each event; `{file}` is where."""
    settings = replace(ctx.settings, on_event=command.format(file=ctx.file("events")))
    async with ctx.open_bridge(settings) as client:
        yield client


def read_events(ctx: ScenarioContext) -> list[dict[str, Any]]:
    """Return the events so far."""
    file = ctx.file("events")
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def wait_for_states(ctx: ScenarioContext, *states: str) -> list[dict[str, Any]]:
    """Wait for the events with these states, and for no other one; return them."""
    await eventually(lambda: len(read_events(ctx)) >= len(states))
    await anyio.sleep(REPEAT_SECONDS)
    events = read_events(ctx)
    assert [event["state"] for event in events] == [*states], events
    return events


async def wait_then_complete(ctx: ScenarioContext) -> ObservedResult:
    """A task that no call waits for: an event when it waits for a permission, one when it has ended."""
    async with open_observed_bridge(ctx) as client:
        task = await ctx.call_tool("start_task", client, prompt=touch_prompt(ctx), permissions="report")
        [waiting] = await wait_for_states(ctx, "waiting_permission")
        assert waiting["message"] == waiting["pending"][0]["wants"]
        assert "touch" in waiting["message"]
        assert (waiting["version"], waiting["session_id"]) == (1, task.session_id)
        assert waiting["directory"] == str(ctx.project)
        request_id = (await ctx.report_task(task.session_id)).request_id
        observed = await ctx.call_tool(
            "answer_permission", request_id=request_id, session_id=task.session_id, reply="once"
        )
        [_, completed] = await wait_for_states(ctx, "waiting_permission", "completed")
    assert completed["answer"] == completed["message"] == observed["answer"]
    assert completed["cost"] == observed["cost"]
    return observed


async def complete_by_policy(ctx: ScenarioContext) -> ObservedResult:
    """A request that the bridge answers by the task's policy sends no event; a follow-up sends its own."""
    async with open_observed_bridge(ctx) as client:
        observed = await ctx.run_task(touch_prompt(ctx), client, permissions="allow")
        session_id = observed.session_id
        more = await ctx.run_task("script:text more", client, session_id=session_id)
        events = await wait_for_states(ctx, "completed", "completed")
    assert [event["answer"] for event in events] == [observed["answer"], more["answer"]]
    return more


async def fail_after_retry(ctx: ScenarioContext) -> ObservedResult:
    """The end of a turn whose failed check is sent back sends no event; the end of the task sends one."""
    async with open_observed_bridge(ctx) as client:
        observed = await ctx.run_task("script:text fine", client, check=["exit 3"], check_retries=1)
        [event] = await wait_for_states(ctx, "check_failed")
    assert event["error"] == event["message"] == observed["error"]
    return observed


async def stop_and_fail(ctx: ScenarioContext) -> ObservedResult:
    """A task that is stopped, and one whose model fails. A bridge that only waits for them sends no event."""
    async with open_observed_bridge(ctx) as client, open_observed_bridge(ctx, "touch {file}-other") as other:
        task = await ctx.call_tool("start_task", client, prompt=ctx.held_prompt)
        await ctx.call_tool("stop_task", other, session_id=task.session_id)
        await wait_for_states(ctx, "stopped")
        failing = await ctx.call_tool("start_task", client, prompt="script:error 400")
        observed = await ctx.wait_for_task(failing.session_id, client=other)
        [_, event] = await wait_for_states(ctx, "stopped", "failed")
    assert event["error"].splitlines()[0] == observed["error"].splitlines()[0]
    assert not (ctx.project / f"{ctx.file('events').name}-other").exists()
    return observed


async def queue_prompt(ctx: ScenarioContext) -> ObservedResult:
    """Two calls end with a turn each: a prompt that is queued has events once it is sent."""
    async with open_observed_bridge(ctx) as client:
        task = await ctx.call_tool("start_task", client, prompt=ctx.held_prompt)
        more = {"prompt": "script:text more", "session_id": task.session_id, "when_busy": "queue"}
        await ctx.call_tool("start_task", client, **more)
        ctx.release()
        events = await wait_for_states(ctx, "completed", "completed")
    observed = await ctx.report_task(task.session_id)
    assert [event["answer"] for event in events] == ["held", observed["answer"]]
    return observed


async def hang_in_command(ctx: ScenarioContext) -> ObservedResult:
    """A command that hangs delays neither the report nor the end of the bridge."""
    async with open_observed_bridge(ctx, "touch {file}; sleep 300") as client:
        observed = await ctx.run_task("script:text fine", client)
        await eventually(ctx.file("events").exists)
    return observed


SCENARIOS = (
    Scenario("event: waits, then completed", wait_then_complete, "completed"),
    Scenario("event: completed by policy, and a follow-up", complete_by_policy, "completed", "more"),
    Scenario("event: check failed after a retry", fail_after_retry, "check_failed", "exit code 3"),
    Scenario("event: stopped, and failed", stop_and_fail, "failed", "400"),
    Scenario("event: a queued prompt", queue_prompt, "completed", "more$"),
    Scenario("event: the command hangs", hang_in_command, "completed", "fine"),
)
