"""Scenarios of time: a task that ends before the wait, one that outlasts it, and one with a huge answer."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import anyio
import mcp_types as types
from mcp.client import ClientRequestContext

from tests.eventually import eventually

from .observed import ObservedResult
from .permissions import touch_prompt
from .scenario import Action, Scenario
from .scenario_context import TASK_LIMIT_SECONDS, ScenarioContext

HUGE_CHARS = 5_000_000


async def wait_after_end(ctx: ScenarioContext) -> ObservedResult:
    """A task that has ended when the wait begins."""
    task = await ctx.run_task("script:text {key}")
    # Over a faulty network a read may need several attempts, and no seconds are too few for them on a busy machine.
    return await ctx.wait_for_task(task.session_id, timeout_seconds=60 if ctx.faulty_network else 0)


async def wait_from_another_bridge(ctx: ScenarioContext) -> ObservedResult:
    """A task that another server has started, and that goes on after that server's end."""
    async with ctx.open_bridge() as first:
        task = await ctx.call_tool("start_task", first, prompt=ctx.held_prompt)
        assert task.state == "running"
    ctx.release()
    return await ctx.wait_for_task(task.session_id)


async def wait_for_user_session(ctx: ScenarioContext) -> ObservedResult:
    """A session that no task tool has started: the user's own."""
    session_id = await ctx.create_session()
    parts = [{"type": "text", "text": ctx.held_prompt}]
    await ctx.call_tool("session_prompt_async", sessionID=session_id, parts=parts)

    async def is_running() -> bool:
        return (await ctx.report_task(session_id)).state == "running"

    await eventually(is_running)
    ctx.release()
    return await ctx.wait_for_task(session_id)


async def run_with_zero_limit(ctx: ScenarioContext) -> ObservedResult:
    """Without any time to wait the task is reported as it is: it runs, or is being started.

    On a busy machine OpenCode may create no session in the moment that it gets; then nothing was started.
    """
    task = await ctx.run_task("script:slow 10 0.5", timeout_seconds=0)
    for _ in range(10):
        if task.state != "error":
            break
        assert "nothing was started" in task.text, task.text
        task = await ctx.run_task("script:slow 10 0.5", timeout_seconds=0)
    assert task.state in {"starting", "running"}, task.text
    return (await ctx.call_tool(task["next"]["tool"], **task["next"]["arguments"])).tasks[0]


async def continue_after_limit(ctx: ScenarioContext) -> ObservedResult:
    """The time limit passes while the task runs; the report names the call that goes on waiting."""
    await ctx.load_project()
    task = await ctx.run_task(ctx.held_prompt, timeout_seconds=6)
    next_call: dict[str, Any]
    if ctx.faulty_network and task.state == "error":  # the last response was lost, and the time limit has passed
        match = re.search(r"The task is session (ses_\w+): call report_task once OpenCode answers again", task.text)
        assert match, task.text
        next_call = {"tool": "wait_for_tasks", "arguments": {"session_ids": [match[1]]}}
    else:
        assert task.state == "running", task.text
        next_call = task["next"]
        assert next_call == {"tool": "wait_for_tasks", "arguments": {"session_ids": [task.session_id]}}
    ctx.release()
    return (await ctx.call_tool(next_call["tool"], **next_call["arguments"])).tasks[0]


async def read_huge_answer(ctx: ScenarioContext) -> ObservedResult:
    """An answer of 5 MB is read page by page, whole."""
    observed = await ctx.run_task(f"script:huge {HUGE_CHARS}")
    assert (len(observed["answer"]), observed["answer_chars"]) == (20_000, HUGE_CHARS)
    pages: list[str] = [observed["answer"]]
    async with ctx.open_bridge(replace(ctx.settings, max_result_chars=2_000_000)) as wide_client:  # five calls, not 250
        while observed["next"]:
            assert observed["next"]["tool"] == "report_task"
            observed = await ctx.call_tool("report_task", wide_client, **observed["next"]["arguments"])
            pages.append(observed["answer"])
    assert "".join(pages) == (f"{'x' * 99}\n" * (HUGE_CHARS // 100))
    return observed


async def progress_while_silent(ctx: ScenarioContext) -> ObservedResult:
    """The call sends progress although the model is silent."""
    times: list[float] = [anyio.current_time()]

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        times.append(anyio.current_time())

    async with ctx.open_bridge() as client:
        arguments = {"prompt": "script:hang", "timeout_seconds": 23}
        result = await client.call_tool("run_task", arguments, progress_callback=on_progress)
    times.append(anyio.current_time())
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps) < 20, f"silent for {max(gaps):.1f} s"
    return ObservedResult.from_result(result)


async def progress_on_each_step(ctx: ScenarioContext) -> ObservedResult:
    """Each step is sent as it happens, with its tool and the tool's argument."""
    messages: list[str] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        messages.append(message or "")

    prompt = """script:chain [{"name": "read", "args": {"filePath": "README.md"}},
        {"name": "glob", "args": {"pattern": "*.md"}}]"""
    async with ctx.open_bridge() as client:
        arguments = {"prompt": prompt, "timeout_seconds": TASK_LIMIT_SECONDS}
        result = await client.call_tool("run_task", arguments, progress_callback=on_progress)
    for text in ("read README.md: ", "glob *.md: ", "writing: done: chain ", "[360 tokens, $0.00]"):
        assert any(text in reported for reported in messages), f"{text!r} is not in {messages}"
    return ObservedResult.from_result(result)


def limit_while_asking(mode: str) -> Action:
    """The time limit passes while the user is being asked."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        form_shown = anyio.Event()

        async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
            form_shown.set()
            if mode == "legacy":
                await anyio.sleep_forever()
            return types.ElicitResult(action="cancel")

        await ctx.load_project()
        async with ctx.open_bridge(mode=mode, elicitation_callback=ask) as client:
            observed = await ctx.run_task(touch_prompt(ctx), client, timeout_seconds=20)
        assert form_shown.is_set()
        assert not (ctx.project / f"made-{ctx.key}").exists()
        return observed

    return action


async def wait_for_any(ctx: ScenarioContext) -> ObservedResult:
    """The first of several tasks to end also ends the wait; the others are reported with their states."""
    slow = await ctx.call_tool("start_task", prompt="script:hang")
    fast = await ctx.call_tool("start_task", prompt="script:slow 3 0.2")
    observed = await ctx.call_tool("wait_for_tasks", session_ids=[slow.session_id, fast.session_id], until="any")
    assert [task.state for task in observed.tasks] == ["running", "completed"]
    return observed.tasks[1]


async def wait_for_any_failed(ctx: ScenarioContext) -> ObservedResult:
    """A failed task ends the wait as well."""
    slow = await ctx.call_tool("start_task", prompt="script:hang")
    failed = await ctx.run_task("script:error 400")
    observed = await ctx.call_tool("wait_for_tasks", session_ids=[slow.session_id, failed.session_id], until="any")
    assert [task.state for task in observed.tasks] == ["running", "failed"]
    return observed.tasks[1]


async def wait_for_all(ctx: ScenarioContext) -> ObservedResult:
    """Every task is waited for, and each is reported with its state."""
    prompts = ("script:slow 3 0.2", touch_prompt(ctx), "script:error 400")
    tasks = [await ctx.call_tool("start_task", prompt=prompt) for prompt in prompts]
    observed = await ctx.call_tool("wait_for_tasks", session_ids=[task.session_id for task in tasks], until="all")
    assert [task.state for task in observed.tasks] == ["completed", "waiting_permission", "failed"]
    return observed.tasks[1]


SCENARIOS = (
    Scenario("answer of 5 MB", read_huge_answer, "completed"),
    Scenario("progress every ten seconds", progress_while_silent, "running"),
    Scenario("progress on each step", progress_on_each_step, "completed", "^done: chain$"),
    Scenario("finished before the wait", wait_after_end, "completed"),
    Scenario("started by another bridge", wait_from_another_bridge, "completed", "^held$"),
    Scenario("started by the user", wait_for_user_session, "completed", "^held$"),
    Scenario("time limit reached, then waited for", continue_after_limit, "completed", "^held$"),
    Scenario("time limit 0", run_with_zero_limit, "completed", "chunk9"),
    Scenario(
        "time limit reached while the user is asked, 2025-11-25", limit_while_asking("legacy"), "waiting_permission"
    ),
    Scenario(
        "time limit reached while the user is asked, 2026-07-28", limit_while_asking("auto"), "waiting_permission"
    ),
    Scenario("wait for any", wait_for_any, "completed"),
    Scenario("wait for any, one failed", wait_for_any_failed, "failed"),
    Scenario("wait for all", wait_for_all, "waiting_permission"),
)
