"""Scenarios of a prompt to a busy session: it is refused, queued or interrupts; each call gets its own answer."""

from __future__ import annotations

from typing import Any

import anyio
from mcp import Client

from tests.eventually import eventually

from .observed import ObservedResult
from .permissions import touch_prompt, touched_file
from .scenario import Scenario
from .scenario_context import ScenarioContext


async def wait_until_queued(ctx: ScenarioContext, session_id: str, count: int) -> None:
    """Wait until a session has this many queued prompts."""
    text = f"{count} prompt{'s' * (count > 1)} queued"
    await eventually(lambda: ctx.report_task(session_id), lambda report: text in (report["note"] or ""))


async def queue_two(ctx: ScenarioContext) -> ObservedResult:
    """Two prompts behind a running turn, whose check runs before them: three calls, each with its own answer."""
    reports: dict[str, ObservedResult] = {}

    session_id = await ctx.create_session()

    async def run(name: str, prompt: str, exit_code: int) -> None:
        check = [f"echo {name} >> {ctx.file('order')}; exit {exit_code}"]
        reports[name] = await ctx.run_task(prompt, session_id=session_id, when_busy="queue", check=check)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, "first", ctx.held_prompt, 1)
        await eventually(ctx.model_requests)
        for count, name in ((1, "second"), (2, "third")):
            tasks.start_soon(run, name, f"script:text {name}", 0)
            await wait_until_queued(ctx, session_id, count)
        ctx.release()
    assert {report.session_id for report in reports.values()} == {session_id}
    assert {name: report.state for name, report in reports.items()} == {
        "first": "check_failed",
        "second": "completed",
        "third": "completed",
    }
    answers = [reports[name]["answer"].split()[-1] for name in ("first", "second", "third")]
    assert answers == ["held", "second", "third"]
    assert ctx.file("order").read_text().split() == ["first", "second", "third"]
    assert not (await ctx.report_task(session_id))["note"]
    return reports["second"]


async def queue_behind_permission(ctx: ScenarioContext) -> ObservedResult:
    """A prompt behind a turn that waits for permission: its report has that request, and the answer goes on to both."""
    task = await ctx.run_task(touch_prompt(ctx))
    queued = await ctx.run_task("script:text after it", session_id=task.session_id, when_busy="queue")
    assert (queued.state, queued.request_id) == ("waiting_permission", task.request_id)
    assert "the prompt is sent after the running turn" in queued["note"]
    observed = await ctx.call_tool(
        "answer_permission", session_id=task.session_id, request_id=task.request_id, reply="once", timeout_seconds=60
    )
    assert touched_file(ctx).exists()
    return observed


async def drop_queue(ctx: ScenarioContext) -> ObservedResult:
    """stop_task drops a queued prompt, says so, and its call ends; the same prompt can be sent again."""
    task = await ctx.call_tool("start_task", prompt="script:hang")
    request: dict[str, Any] = {"session_id": task.session_id, "when_busy": "queue", "request_id": ctx.key}
    request["prompt"] = "script:text later"
    results: list[ObservedResult] = []

    async def run() -> None:
        results.append(await ctx.run_task(**request))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await wait_until_queued(ctx, task.session_id, 1)
        again = await ctx.call_tool("start_task", **request)
        assert (again.state, again["note"].split(" queued: ")[0]) == ("running", f"request {ctx.key} is already queued")
        stopped = (await ctx.call_tool("stop_task", session_id=task.session_id))["note"]
        assert stopped == "1 queued prompt dropped, not sent: script:text later"
    assert (await ctx.call_tool("session_children", sessionID=task.session_id))["result"] == []
    assert (await ctx.report_task(task.session_id)).state == "stopped"
    return results[0]


async def interrupt_turn(ctx: ScenarioContext) -> ObservedResult:
    """A running turn is aborted, and what was queued behind it comes after the prompt that interrupts."""
    task = await ctx.call_tool("start_task", prompt="script:hang")
    await ctx.call_tool(
        "start_task", session_id=task.session_id, prompt="script:text last", when_busy="queue", limits={"minutes": 9}
    )
    observed = await ctx.run_task("script:text now", session_id=task.session_id, when_busy="interrupt")
    assert "interrupted" in observed["note"]
    assert (await ctx.wait_for_task(task.session_id))["answer"].endswith("last")
    transcript = (await ctx.call_tool("read_transcript", session_id=task.session_id))["text"]
    positions = [transcript.index(f"script:{words}") for words in ("hang", "text now", "text last")]
    assert positions == sorted(positions)
    return observed


async def take_over_queue(ctx: ScenarioContext) -> ObservedResult:
    """The bridge that queued a prompt ends: of two others that wait one sends it, with its options, once."""
    made = ctx.file("made")
    async with ctx.open_bridge() as starter:
        task = await ctx.call_tool("start_task", starter, prompt=ctx.held_prompt)
        more = {"session_id": task.session_id, "when_busy": "queue", "check": [f"echo ran >> {made}"]}
        await ctx.call_tool("start_task", starter, prompt=f"script:text later {ctx.key}", **more)
    refused = await ctx.run_task("script:text more", session_id=task.session_id)
    assert refused.state == "error"
    results: list[ObservedResult] = []

    async def wait(client: Client) -> None:
        results.append(await ctx.wait_for_task(task.session_id, client=client))

    async with ctx.open_bridge() as other, anyio.create_task_group() as tasks:
        for client in (ctx.client, other):
            tasks.start_soon(wait, client)
        ctx.release()
    assert made.read_text() == "ran\n"
    assert [result["answer"].split()[-1] for result in results] == [ctx.key, ctx.key]
    sent = [request for request in ctx.model_requests(f"script:text later {ctx.key}") if request.script == "text"]
    assert len(sent) == 1
    return results[0]


async def queue_for_idle(ctx: ScenarioContext) -> ObservedResult:
    """A session that is idle gets the prompt at once; so does a new one."""
    task = await ctx.run_task("script:text first", when_busy="queue")
    observed = await ctx.run_task("script:text at once", session_id=task.session_id, when_busy="queue")
    assert not observed["note"]
    assert (await ctx.call_tool("session_children", sessionID=task.session_id))["result"] == []
    return observed


SCENARIOS = (
    Scenario("prompts queued behind a running turn", queue_two, "completed", "second$", config={}),
    Scenario("prompt queued behind a permission", queue_behind_permission, "completed", "after it"),
    Scenario("queued prompt dropped", drop_queue, "stopped", "dropped from the queue; it was not sent"),
    Scenario("prompt that interrupts", interrupt_turn, "completed", "now$"),
    Scenario("queued prompt taken over by other bridges", take_over_queue, "completed", "later"),
    Scenario("prompt queued for an idle session", queue_for_idle, "completed", "at once$"),
)
