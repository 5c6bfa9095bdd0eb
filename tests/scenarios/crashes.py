"""Scenarios in which OpenCode or its event stream fails during a task."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import anyio
import httpx2
import mcp_types as types
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream
from mcp.client import ClientRequestContext

from opencode_mcp.settings import DEPTH_VARIABLE, Settings
from tests.bridge import find_opencode_pids, find_processes, kill_opencode
from tests.network_faults import cut_streams, open_faulty_proxy
from tests.server.connections import free_port

from .actions import wait_and_act
from .observed import ObservedResult
from .permissions import touch_prompt
from .scenario import Action, Scenario
from .scenario_context import TASK_LIMIT_SECONDS, ScenarioContext

HANG = "script:hang"
TOOL_THEN_HANG = """script:chain [{"name": "read", "args": {"filePath": "README.md"}}]"""


def marked_environment(ctx: ScenarioContext) -> tuple[str, Mapping[str, str]]:
    """Return a mark, and an environment whose processes bear it."""
    return f"OPENCODE_MCP_TEST_ROW={ctx.key}", {**ctx.shared.environ, "OPENCODE_MCP_TEST_ROW": ctx.key}


def managed_settings(ctx: ScenarioContext, environ: Mapping[str, str]) -> Settings:
    """Settings of a server that starts its own OpenCode."""
    return Settings(command=(ctx.shared.program.command[0],), directory=str(ctx.project), environ=environ)


async def kill_managed(ctx: ScenarioContext) -> ObservedResult:
    """The OpenCode that the server started is killed during a task; the next task gets a new one."""
    mark, environ = marked_environment(ctx)
    async with ctx.open_bridge(managed_settings(ctx, environ)) as client:
        before: list[int] = []

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            if not before and message and message.startswith("waiting for the model"):
                before.extend(find_opencode_pids(mark))
                assert set(before) <= find_processes(f"{DEPTH_VARIABLE}=1").keys()
                kill_opencode(mark)

        arguments = {"prompt": HANG, "timeout_seconds": TASK_LIMIT_SECONDS}
        result = await client.call_tool("run_task", arguments, progress_callback=on_progress)
        after = await ctx.run_task("script:text again", client)
        assert after.state == "completed"
        assert before and not {*find_opencode_pids(mark)} & {*before}
        ctx.reported_sessions.clear()
    return ObservedResult.from_result(result)


async def kill_managed_while_asking(ctx: ScenarioContext) -> ObservedResult:
    """The OpenCode that the server started is killed while the user is asked: the answer is lost."""
    mark, environ = marked_environment(ctx)

    async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        kill_opencode(mark)
        await anyio.sleep_forever()
        raise AssertionError

    async with ctx.open_bridge(managed_settings(ctx, environ), mode="legacy", elicitation_callback=ask) as client:
        observed = await ctx.run_task(touch_prompt(ctx), client)
        ctx.reported_sessions.clear()
    return observed


@asynccontextmanager
async def run_opencode(ctx: ScenarioContext, port: int) -> AsyncGenerator[Process]:
    """Run an OpenCode as its user does, with its own data: another process on the same data might run the task."""
    command = (*ctx.shared.program.command, "serve", "--hostname", "127.0.0.1", "--port", str(port))
    environ = {**ctx.shared.environ, "XDG_DATA_HOME": str(ctx.project.with_name(f"data-{ctx.key}"))}
    async with await anyio.open_process(command, env=environ, cwd=ctx.project) as process:
        try:
            assert process.stdout is not None
            async for text in TextReceiveStream(process.stdout):
                if "listening on" in text:
                    break
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()


async def kill_attached(ctx: ScenarioContext) -> ObservedResult:
    """An OpenCode that the server is attached to is killed during a task."""
    return (await kill_and_restart_attached(ctx))[0]


async def restart_attached(ctx: ScenarioContext) -> ObservedResult:
    """It is started again on the same port: the server reports the task's state, and runs the next one."""
    _, reported, after = await kill_and_restart_attached(ctx)
    assert after.state == "completed", after.text
    return reported


async def kill_and_restart_attached(ctx: ScenarioContext) -> tuple[ObservedResult, ObservedResult, ObservedResult]:
    """Kill an attached OpenCode during a task and start it again; return the wait, the report and the next task."""
    port = free_port()
    attached = replace(ctx.settings, url=f"http://127.0.0.1:{port}")
    async with ctx.open_bridge(attached) as client:
        attached_ctx = replace(ctx, client=client, settings=attached, reported_sessions=set())
        async with run_opencode(ctx, port) as process:
            task = await attached_ctx.call_tool("start_task", prompt=HANG)

            async def kill(ctx: ScenarioContext, task: ObservedResult) -> None:
                process.kill()

            broken = await wait_and_act(attached_ctx, task, kill)
        assert task.session_id in broken.text, "the session cannot be found again"
        async with run_opencode(ctx, port):
            reported = await attached_ctx.wait_for_task(task.session_id)
            after = await attached_ctx.run_task("script:text again", session_id=task.session_id)
    return broken, reported, after


def with_stream_cuts(prompt: str, number: int) -> Action:
    """The server's event stream is cut `number` times during one task."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        port = httpx2.URL(str(ctx.settings.url)).port
        assert port is not None
        async with (
            open_faulty_proxy(port, cut_streams(number)) as proxy,
            ctx.open_bridge(replace(ctx.settings, url=proxy.url)) as client,
        ):
            observed = await ctx.run_task(prompt.replace("{touch}", touch_prompt(ctx)), client)
            assert proxy.faults["cut"] == number or number == sys.maxsize, f"cut {proxy.faults['cut']} times"
        return observed

    return action


LOST_TASK = "^OpenCode exited during the turn"

SCENARIOS = (
    Scenario("managed OpenCode killed", kill_managed, "failed", LOST_TASK, config={}),
    Scenario(
        "managed OpenCode killed while the user is asked",
        kill_managed_while_asking,
        "failed",
        LOST_TASK,
        config={},
    ),
    Scenario("attached OpenCode killed", kill_attached, "error", "is not reachable|was lost", config={}),
    Scenario("attached OpenCode killed and restarted", restart_attached, "failed", LOST_TASK, config={}),
    Scenario("event stream cut ten times", with_stream_cuts("script:slow 100 0.2", 10), "completed", "chunk99"),
    Scenario("event stream always cut", with_stream_cuts("script:slow 10 0.2", sys.maxsize), "completed", "chunk9"),
    Scenario(
        "event stream always cut, permission",
        with_stream_cuts("{touch}", sys.maxsize),
        "waiting_permission",
        config={},
    ),
)
