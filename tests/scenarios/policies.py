"""Scenarios of a task's permission policy: which requests are answered without the user."""

from __future__ import annotations

import json

import mcp_types as types
from mcp.client import ClientRequestContext

from .observed import ObservedResult
from .permissions import REQUEST_CASES, touch_prompt, touched_file
from .refusals import VARIANT_CONFIG
from .scenario import Action, Scenario
from .scenario_context import ScenarioContext

SUBAGENT_CASE = REQUEST_CASES[1]


def run_under_policy(permissions: str, subagent: bool = False, runs: bool = False) -> Action:
    """Run a command under a policy. The client could ask its user, and must not."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
            raise AssertionError("the user was asked")

        async with ctx.open_bridge(mode="legacy", elicitation_callback=ask) as client:
            prompt = SUBAGENT_CASE.prompt(ctx) if subagent else touch_prompt(ctx)
            observed = await ctx.run_task(prompt, client, permissions=permissions)
        assert touched_file(ctx).exists() == runs
        return observed

    return action


async def wait_from_another_client(ctx: ScenarioContext) -> ObservedResult:
    """A task with the policy `report` is only reported, whichever client waits for it."""

    async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        raise AssertionError("the user was asked")

    task = await ctx.run_task(touch_prompt(ctx))
    async with ctx.open_bridge(mode="legacy", elicitation_callback=ask) as client:
        return await ctx.wait_for_task(task.session_id, client=client)


async def withdraw_allow(ctx: ScenarioContext) -> ObservedResult:
    """A session that was allowed everything: OpenCode cannot revoke that."""
    task = await ctx.run_task("script:text before", permissions="allow")
    observed = await ctx.run_task(touch_prompt(ctx), session_id=task.session_id, permissions="report")
    assert not touched_file(ctx).exists()
    return observed


async def keep_policy(ctx: ScenarioContext) -> ObservedResult:
    """A session's policy holds for its next task."""
    task = await ctx.run_task("script:text before", permissions="reject")
    observed = await ctx.run_task(touch_prompt(ctx), session_id=task.session_id)
    assert not touched_file(ctx).exists()
    return observed


async def change_policy(ctx: ScenarioContext) -> ObservedResult:
    """A session's policy can be changed to `allow`."""
    task = await ctx.run_task("script:text before", permissions="reject")
    observed = await ctx.run_task(touch_prompt(ctx), session_id=task.session_id, permissions="allow")
    assert touched_file(ctx).exists()
    return observed


async def fail_to_ask(ctx: ScenarioContext) -> ObservedResult:
    """A client that declares elicitation, and fails to ask."""

    async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ErrorData:
        return types.ErrorData(code=types.INTERNAL_ERROR, message="no window to ask in")

    async with ctx.open_bridge(mode="legacy", elicitation_callback=ask) as client:
        observed = await ctx.run_task(touch_prompt(ctx), client)
    assert not touched_file(ctx).exists()
    return observed


async def keep_agent(ctx: ScenarioContext) -> ObservedResult:
    """A follow-up keeps the agent, the model and its variant, so `plan` does not edit; a named agent replaces it."""
    task = await ctx.run_task("script:text first", agent="plan", model="scripted/other", variant="high")
    edit = f"script:tool write {json.dumps({'filePath': touched_file(ctx).name, 'content': 'edited'})}"
    kept = await ctx.run_task(edit, session_id=task.session_id)
    assert not touched_file(ctx).exists()
    assert kept["note"] == "agent plan, as in the session's last prompt"
    assert kept["model"] == "scripted/other"
    messages = (await ctx.call_tool("session_messages", sessionID=task.session_id))["result"]
    prompt = next(message["info"] for message in reversed(messages) if message["info"]["role"] == "user")
    assert (prompt["agent"], prompt["model"]["variant"]) == ("plan", "high")
    observed = await ctx.run_task(edit, session_id=task.session_id, agent="build")
    assert touched_file(ctx).read_text() == "edited"
    return observed


SCENARIOS = (
    Scenario("policy allow", run_under_policy("allow", runs=True), "completed"),
    Scenario("policy allow, subagent", run_under_policy("allow", subagent=True, runs=True), "completed"),
    Scenario("policy reject", run_under_policy("reject"), "stopped", "rejected"),
    Scenario("policy reject, subagent", run_under_policy("reject", subagent=True), "completed"),
    Scenario("policy report, client could ask", run_under_policy("report"), "waiting_permission"),
    Scenario("policy report, another client could ask", wait_from_another_client, "waiting_permission"),
    Scenario("policy kept by the session", keep_policy, "stopped", "rejected"),
    Scenario("agent kept by the session", keep_agent, "completed", config=VARIANT_CONFIG),
    Scenario("policy reject, then allow", change_policy, "completed"),
    Scenario("policy allow, then report", withdraw_allow, "error", "allows everything"),
    Scenario("policy ask, client fails to ask", fail_to_ask, "waiting_permission"),
)
