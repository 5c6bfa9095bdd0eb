"""Scenarios of a request that is repeated because its response was lost: nothing is done twice."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import anyio
from mcp import Client

from .observed import ObservedResult
from .scenario import Action, Scenario
from .scenario_context import ScenarioContext


def repeat_request(prompt: str, **arguments: Any) -> Action:
    """The same request after its task has ended."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        request = repeatable_arguments(ctx, prompt, **arguments)
        first = await ctx.run_task(**request)
        async with ctx.open_bridge() as other:
            second = await ctx.run_task(client=other, **request)
        assert second.session_id == first.session_id
        assert second["directory"] == first["directory"]
        assert second["note"] == f"request {ctx.key} is already done"
        check_asked_once(ctx)
        return second

    return action


async def repeat_while_running(ctx: ScenarioContext) -> ObservedResult:
    """The same request while its task runs."""
    request = repeatable_arguments(ctx, ctx.held_prompt)
    first = await ctx.call_tool("start_task", **request)
    second = await ctx.call_tool("start_task", **request)
    assert second.session_id == first.session_id
    assert second["note"] == f"request {ctx.key} is already running"
    ctx.release()
    observed = await ctx.wait_for_task(second.session_id)
    check_asked_once(ctx)
    return observed


async def repeat_in_session(ctx: ScenarioContext) -> ObservedResult:
    """The same request for a session that has had another prompt since."""
    task = await ctx.run_task("script:text first")
    request = repeatable_arguments(ctx, "script:text", session_id=task.session_id)
    await ctx.run_task(**request)
    await ctx.run_task("script:text later", session_id=task.session_id)
    second = await ctx.run_task(**request)
    assert second["note"] == f"request {ctx.key} is already done"
    check_asked_once(ctx)
    return second


async def repeat_with_another_prompt(ctx: ScenarioContext) -> ObservedResult:
    """A used request id with another prompt: the call does not return the first one's report."""
    await ctx.run_task(**repeatable_arguments(ctx, "script:text"))
    observed = await ctx.run_task(**repeatable_arguments(ctx, "script:text another"))
    assert not ctx.model_requests(f"script:text another {ctx.key}"), "the other prompt was sent"
    return observed


def repeat_at_once(bridges: int, in_session: bool = False, **arguments: Any) -> Action:
    """The same request concurrently: twice through one server, or once through each of several."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        request = repeatable_arguments(ctx, "script:text", **arguments)
        if in_session:
            request["session_id"] = await ctx.create_session()
        results: list[ObservedResult] = []

        async def send(client: Client) -> None:
            results.append(await ctx.run_task(client=client, **request))

        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(ctx.open_bridge()) for _ in range(bridges)]
            async with anyio.create_task_group() as tasks:
                for client in clients * (2 if bridges == 1 else 1):
                    tasks.start_soon(send, client)
        assert len({result.session_id for result in results}) == 1, "the task was started twice"
        assert {result.state for result in results} == {"completed"}, [result.text for result in results]
        check_asked_once(ctx)
        return results[0]

    return action


def repeatable_arguments(ctx: ScenarioContext, prompt: str, **arguments: Any) -> dict[str, Any]:
    """Return a request that is safe to repeat."""
    return {"prompt": f"{prompt} {ctx.key}", "request_id": ctx.key, **arguments}


def check_asked_once(ctx: ScenarioContext) -> None:
    """Check that the model was called once, apart from a call for a title."""
    requests = [request for request in ctx.model_requests() if request.script != "title"]
    assert len([request for request in requests if ctx.key in request.argument]) == 1, (
        f"the model was asked {len(requests)} times"
    )


SCENARIOS = (
    Scenario("request repeated", repeat_request("script:text"), "completed"),
    Scenario("request repeated, of a failed task", repeat_request("script:error 400"), "failed"),
    Scenario("request repeated, in a worktree", repeat_request("script:text", worktree=True), "completed", config={}),
    Scenario("request repeated while it runs", repeat_while_running, "completed", "^held$"),
    Scenario("request repeated in a session", repeat_in_session, "completed"),
    Scenario(
        "request repeated with another prompt",
        repeat_with_another_prompt,
        "error",
        "with another prompt.* was not sent",
    ),
    Scenario("request twice at once", repeat_at_once(1), "completed"),
    Scenario("request three times at once, by three bridges", repeat_at_once(3), "completed"),
    Scenario("request twice at once in a session", repeat_at_once(2, in_session=True), "completed"),
    Scenario("request twice at once, in a worktree", repeat_at_once(2, worktree=True), "completed", config={}),
)
