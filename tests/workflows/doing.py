"""Deeds that several tables use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .bench import Bench
from .seen import Seen
from .table import Deed

Act = Callable[[Bench, Seen], Awaitable[object]]
"""Does something to a task that was reported."""


def run(prompt: str, **arguments: Any) -> Deed:
    """Run a task; `{key}` in the prompt is the row's."""

    async def does(bench: Bench) -> Seen:
        return await bench.run(prompt.replace("{key}", bench.key), **arguments)

    return does


def call(tool: str, **arguments: Any) -> Deed:
    """Call a tool."""

    async def does(bench: Bench) -> Seen:
        return await bench.call(tool, **arguments)

    return does


def while_waiting(prompt: str, act: Act, **arguments: Any) -> Deed:
    """Start a task, wait for it, and act on it as soon as the wait is seen to have begun."""

    async def does(bench: Bench) -> Seen:
        task = await bench.call("start_task", prompt=prompt.replace("{key}", bench.key), **arguments)
        return await wait_and_act(bench, task, act)

    return does


async def wait_and_act(bench: Bench, task: Seen, act: Act) -> Seen:
    """Wait for a task through another bridge, and act on it at the wait's first sign of life."""
    acted = False

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        nonlocal acted
        if not acted:
            acted = True
            await act(bench, task)

    async with bench.bridge() as waiter:
        result = await waiter.call_tool(
            "wait_for_tasks", {"session_ids": [task.session_id]}, progress_callback=progressed
        )
    assert acted, "the wait was over before anything could be done"
    seen = Seen.of(result)
    return seen.tasks[0] if "tasks" in seen.facts else seen
