"""Scenarios in which another client changes a session while a task tool waits for it."""

from __future__ import annotations

import anyio
import mcp_types as types
from mcp.client import ClientRequestContext

from .actions import TaskAction, wait_and_act, while_waiting
from .observed import ObservedResult
from .permissions import touch_prompt
from .scenario import Action, Scenario
from .scenario_context import ScenarioContext


async def abort(ctx: ScenarioContext, task: ObservedResult) -> None:
    """Abort the session."""
    await ctx.call_tool("session_abort", sessionID=task.session_id)


async def delete(ctx: ScenarioContext, task: ObservedResult) -> None:
    """Delete the session."""
    await ctx.call_tool("session_delete", sessionID=task.session_id)
    ctx.reported_sessions.discard(task.session_id)


async def dispose(ctx: ScenarioContext, task: ObservedResult) -> None:
    """Make OpenCode dispose its instance of the project."""
    disposed = await ctx.call_tool("config_update", directory=str(ctx.project), body={})
    assert disposed.state == "answer", disposed.text


async def continue_session(ctx: ScenarioContext, task: ObservedResult) -> None:
    """Send the session another prompt."""
    parts = [{"type": "text", "text": "script:text more"}]
    await ctx.call_tool("session_prompt_async", sessionID=task.session_id, parts=parts)
    ctx.release()


async def give_more_work(ctx: ScenarioContext) -> ObservedResult:
    """The session gets another prompt while it works."""
    task = await ctx.call_tool("start_task", prompt=ctx.held_prompt)
    return await wait_and_act(ctx, task, continue_session)


def while_asking(act: TaskAction) -> Action:
    """The session changes while the user is being asked; the user does not answer."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
            [session] = (await ctx.call_tool("session_list", directory=str(ctx.project)))["result"]
            await act(ctx, ObservedResult({"session_id": session["id"]}, "", False))
            await anyio.sleep_forever()
            raise AssertionError

        async with ctx.open_bridge(mode="legacy", elicitation_callback=ask) as client:
            return await ctx.run_task(touch_prompt(ctx), client)

    return action


SLEEP_PROMPT = 'script:tool bash {"command": "sleep 300", "description": "Sleep"}'

SCENARIOS = (
    Scenario("aborted by another client", while_waiting("script:hang", abort), "stopped", "^aborted$"),
    Scenario("aborted in a command", while_waiting(SLEEP_PROMPT, abort, permissions="allow"), "stopped", "^aborted$"),
    Scenario("aborted while the user is asked", while_asking(abort), "stopped", "^aborted$", config={}),
    Scenario("deleted by another client", while_waiting("script:hang", delete), "error", "Session not found"),
    Scenario(
        "deleted in a command", while_waiting(SLEEP_PROMPT, delete, permissions="allow"), "error", "Session not found"
    ),
    Scenario("deleted while the user is asked", while_asking(delete), "error", "Session not found", config={}),
    Scenario("disposed by another client", while_waiting("script:hang", dispose), "stopped", "", config={}),
    Scenario(
        "disposed in a command",
        while_waiting(SLEEP_PROMPT, dispose, permissions="allow"),
        "stopped",
        "",
        config={},
    ),
    Scenario("disposed while the user is asked", while_asking(dispose), "stopped", "", config={}),
    Scenario("given more to do by another client", give_more_work, "completed", "more$"),
)
