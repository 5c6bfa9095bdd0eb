"""Actions that several scenarios use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .observed import ObservedResult
from .scenario import Action
from .scenario_context import ScenarioContext

TaskAction = Callable[[ScenarioContext, ObservedResult], Awaitable[object]]
"""Does something to a reported task."""


def run_task(prompt: str, **arguments: Any) -> Action:
    """Run a task; `{key}` in the prompt becomes the scenario's key."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        return await ctx.run_task(prompt.replace("{key}", ctx.key), **arguments)

    return action


def call_tool(tool: str, **arguments: Any) -> Action:
    """Call a tool."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        return await ctx.call_tool(tool, **arguments)

    return action


def while_waiting(prompt: str, act: TaskAction, **arguments: Any) -> Action:
    """Start a task, wait for it, and act on it at the wait's first progress message."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        task = await ctx.call_tool("start_task", prompt=prompt.replace("{key}", ctx.key), **arguments)
        return await wait_and_act(ctx, task, act)

    return action


async def wait_and_act(ctx: ScenarioContext, task: ObservedResult, act: TaskAction) -> ObservedResult:
    """Wait for a task through another server, and act on it at the wait's first progress message."""
    acted = False

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        nonlocal acted
        if not acted:
            acted = True
            await act(ctx, task)

    async with ctx.open_bridge() as waiter:
        result = await waiter.call_tool(
            "wait_for_tasks", {"session_ids": [task.session_id]}, progress_callback=on_progress
        )
    assert acted, "the wait was over before anything could be done"
    observed = ObservedResult.from_result(result)
    return observed.tasks[0] if "tasks" in observed.content else observed
