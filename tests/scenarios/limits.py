"""Scenarios of a task's limits: it is stopped, with all that it did, when its family has used more."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from .observed import ObservedResult
from .refusals import VARIANT_CONFIG
from .scenario import Action, Scenario
from .scenario_context import ScenarioContext

PRICED_CONFIG = {
    "permission": {"bash": "allow"},
    "provider": {"scripted": {"models": {"scripted": {"cost": {"input": 10_000, "output": 10_000}}}}},
}
"""A call of the model uses 120 tokens and costs $1.2."""

STEP = {"command": "sleep 0.2", "description": "Work"}
ENDLESS = f"script:loop bash {json.dumps(STEP)}"


def run_limited(prompt: str, **limits: float) -> Action:
    """Run a task with limits."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        return await ctx.run_task(prompt, limits=limits)

    return action


async def stop_at_cost(ctx: ScenarioContext) -> ObservedResult:
    """A task beyond its cost: what it did is kept, and a follow-up goes on with limits of its own."""
    observed = await run_limited(ENDLESS, cost=3)(ctx)
    assert observed["cost"] > 3
    again = await ctx.report_task(observed.session_id)
    assert (again.state, again["error"]) == ("stopped", observed["error"])
    follow_up = await ctx.run_task("script:text more", session_id=observed.session_id, limits={"cost": 3})
    assert follow_up.state == "completed"
    transcript = await ctx.call_tool("read_transcript", session_id=observed.session_id)
    assert "sleep 0.2" in transcript.text
    return observed


async def stop_in_subagent(ctx: ScenarioContext) -> ObservedResult:
    """What a subagent uses counts."""
    child: dict[str, Any] = {"description": "child", "prompt": ENDLESS, "subagent_type": "general"}
    observed = await run_limited(f"script:tool task {json.dumps(child)}", tokens=500)(ctx)
    assert observed["tokens"] <= 500 < observed["family_tokens"]
    return observed


async def stop_hanging_check(ctx: ScenarioContext) -> ObservedResult:
    """A check counts in the minutes of its task."""
    begun = ctx.file("begun")
    await ctx.load_project()
    observed = await ctx.run_task(
        "script:text fine", limits={"minutes": 0.25}, check=[f"touch {begun} && sleep 300"], check_retries=3
    )
    assert begun.exists()
    return observed


async def limit_second_bridge(ctx: ScenarioContext) -> ObservedResult:
    """The bridge that started the task has ended: another one that waits for it enforces its limit."""
    async with ctx.open_bridge() as starter:
        task = await ctx.call_tool("start_task", starter, prompt="script:hang", limits={"minutes": 0.1})
    return await ctx.wait_for_task(task.session_id)


def run_bounded(prompt: str, models: tuple[str, ...] = (), max_cost: float | None = None, **arguments: Any) -> Action:
    """Run a task on a bridge that bounds models and costs."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        settings = replace(ctx.settings, models=models, max_cost=max_cost)
        async with ctx.open_bridge(settings) as client:
            refused = await ctx.call_tool("session_prompt", client, sessionID="ses_1", parts=[])
            assert "is disabled on this server, by --m" in refused.text
            return await ctx.run_task(prompt, client, **arguments)

    return action


OTHER_CHILD = {"description": "child", "prompt": "script:slow 40 0.3", "subagent_type": "thinker"}
OTHER_CONFIG = {**VARIANT_CONFIG, "agent": {"thinker": {"mode": "all", "model": "scripted/other"}}}

SCENARIOS = (
    Scenario(
        "cost of a bridge, not widened by an argument",
        run_bounded(ENDLESS, max_cost=3, limits={"cost": 99}),
        "stopped",
        r"limit of \$3",
        config=PRICED_CONFIG,
    ),
    Scenario(
        "model that the bridge does not allow",
        run_bounded("script:text hi", ("scripted/s*",), model="scripted/other"),
        "error",
        "scripted/other is not allowed: --models allows scripted/scripted;",
        config=OTHER_CONFIG,
    ),
    Scenario(
        "model of an agent that the bridge does not allow",
        run_bounded("script:text hi", ("scripted/s*",), agent="thinker"),
        "error",
        "scripted/other is not allowed",
        config=OTHER_CONFIG,
    ),
    Scenario(
        "model of a subagent that the bridge does not allow",
        run_bounded(f"script:tool task {json.dumps(OTHER_CHILD)}", ("scripted/s*",)),
        "stopped",
        "model scripted/other answered, which --models does not allow",
        config=OTHER_CONFIG,
    ),
    Scenario("model that the bridge allows", run_bounded("script:text hi", ("*/scripted",)), "completed", "hi"),
    Scenario("limit of cost", stop_at_cost, "stopped", r"limit of \$3", config=PRICED_CONFIG),
    Scenario(
        "limit of tokens, in a subagent", stop_in_subagent, "stopped", "limit of 500 tokens", config=PRICED_CONFIG
    ),
    Scenario("limit of minutes", run_limited("script:hang", minutes=0.05), "stopped", "limit of 0.05 minutes"),
    Scenario("limit of minutes, in a check", stop_hanging_check, "stopped", "limit of 0.25 minutes"),
    Scenario("limit enforced by another bridge", limit_second_bridge, "stopped", "limit of 0.1 minutes"),
    Scenario(
        "limits that are not passed", run_limited("script:text ok", cost=9, tokens=999, minutes=9), "completed", "ok"
    ),
    Scenario("limit that is not positive", run_limited("script:text ok", cost=0), "error", "cost"),
)
