"""Scenarios of clients that cancel a call: a task that the call started ends, one that it waited for goes on."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp import Client, StdioServerParameters

from examples.scripted_model import GuestServer
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.server import create_server
from tests.bridge import environ_for
from tests.eventually import eventually

from .observed import ObservedResult
from .scenario import Action, Scenario
from .scenario_context import CLIENT_MODES, ScenarioContext

Transport = Callable[[ScenarioContext, str], AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def stdio(ctx: ScenarioContext, mode: str) -> AsyncGenerator[Client]:
    """A client of a server in its own process."""
    environ = {**ctx.shared.environ, **environ_for(ctx.settings)}
    command = StdioServerParameters(command=sys.executable, args=["-m", "opencode_mcp"], env=environ)
    async with ctx.client_class(command, mode=mode) as client:
        yield client


@asynccontextmanager
async def http(ctx: ScenarioContext, mode: str) -> AsyncGenerator[Client]:
    """A client of a server over HTTP."""
    app = create_server(ctx.settings, ctx.shared.catalog).streamable_http_app(host="127.0.0.1")
    server = GuestServer(uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=1))
    listener = socket.create_server(("127.0.0.1", 0))
    async with background_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
            async with ctx.client_class(url, mode=mode) as client:
                yield client
        finally:
            server.should_exit = True


async def call_and_cancel(client: Client, tool: str, arguments: dict[str, Any], progress_text: str) -> None:
    """Call a tool, and cancel the call when a progress message contains `progress_text`."""
    with anyio.CancelScope() as scope:

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            if progress_text in (message or ""):
                scope.cancel()

        await client.call_tool(tool, arguments, progress_callback=on_progress)
    assert scope.cancelled_caught, f"{tool} ended before it was cancelled"


def find_sleep_commands(ctx: ScenarioContext) -> list[str]:
    """Return the scenario's commands that still run."""
    commands: list[str] = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            commands.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [command for command in commands if command.startswith(f"sleep {sleep_seconds(ctx)}")]


def sleep_seconds(ctx: ScenarioContext) -> str:
    """How long the scenario's command sleeps: a time that no other scenario uses."""
    return f"300.{ctx.key.strip('rowx'):0>4}"


def sleep_prompt(ctx: ScenarioContext) -> str:
    """A command that would outlast the scenario."""
    return f"script:tool bash {json.dumps({'command': f'sleep {sleep_seconds(ctx)}', 'description': 'Sleep'})}"


async def wait_until_ended(ctx: ScenarioContext, session_id: str) -> ObservedResult:
    """Wait until the command and the task have ended, and report the task."""

    async def command_ended() -> bool:
        return not find_sleep_commands(ctx)

    async def task_ended() -> bool:
        return (await ctx.report_task(session_id)).state != "running"

    await eventually(command_ended)
    await eventually(task_ended)
    return await ctx.report_task(session_id)


def run_task(transport: Transport, mode: str) -> Action:
    """The client cancels run_task: its command and its session end."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        async with transport(ctx, mode) as client:
            arguments = {"prompt": sleep_prompt(ctx), "permissions": "allow"}
            await call_and_cancel(client, "run_task", arguments, f"sleep {sleep_seconds(ctx)}: running")
            [session] = (await ctx.call_tool("session_list", directory=str(ctx.project)))["result"]
            return await wait_until_ended(ctx, session["id"])

    return action


def session_prompt(transport: Transport, mode: str) -> Action:
    """The client cancels session_prompt: its command and its session end."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        session_id = (await ctx.call_tool("session_create", permission=ALLOW_ALL))["id"]
        async with transport(ctx, mode) as client:
            arguments = {"sessionID": session_id, "parts": [{"type": "text", "text": sleep_prompt(ctx)}]}
            await call_and_cancel(client, "session_prompt", arguments, f"sleep {sleep_seconds(ctx)}: running")
            return await wait_until_ended(ctx, session_id)

    return action


def wait_for_tasks(transport: Transport, mode: str) -> Action:
    """The client cancels a wait: the task goes on."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        async with transport(ctx, mode) as client:
            task = await ctx.call_tool("start_task", prompt="script:slow 50 0.2")
            await call_and_cancel(client, "wait_for_tasks", {"session_ids": [task.session_id]}, "chunk")
            return await ctx.wait_for_task(task.session_id)

    return action


async def answer_permission(ctx: ScenarioContext) -> ObservedResult:
    """The client cancels the wait that follows its reply: the reply holds, and the task goes on."""
    command = {"command": f"until test -e {ctx.file('go')}; do sleep 0.1; done", "description": "Wait for a file"}
    task = await ctx.run_task(f"script:tool bash {json.dumps(command)}")
    async with ctx.open_bridge(mode="auto") as client:
        request = {"request_id": task.request_id, "reply": "once"}
        await call_and_cancel(client, "answer_permission", request, "sleep 0.1; done: running")
        ctx.release()
        return await ctx.wait_for_task(task.session_id)


def run_tasks(mode: str) -> Action:
    """The client cancels run_tasks: all of them end."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        prompts = [f"script:hang {ctx.key} {name}" for name in ("first", "second")]
        tasks = [{"prompt": prompt, "worktree": True} for prompt in prompts]
        async with ctx.open_bridge(mode=mode) as client, anyio.create_task_group() as calls:
            calls.start_soon(client.call_tool, "run_tasks", {"tasks": tasks})
            await eventually(lambda: all(map(ctx.model_requests, prompts)))
            calls.cancel_scope.cancel()
        sessions = (await ctx.call_tool("session_list", directory=str(ctx.project), scope="project"))["result"]
        assert len(sessions) == 2, sessions
        results = [await ctx.report_task(item["id"]) for item in sessions]
        assert [item.state for item in results] == ["stopped", "stopped"], [item.text for item in results]
        return results[0]

    return action


def cancel_at_every_moment(worktree: bool) -> Action:
    """The client cancels run_task ever sooner after its start: nothing keeps running."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        for delay in (1.6, 0.8, 0.4, 0.2, 0.1, 0.05, 0.02, 0.01):
            async with ctx.open_bridge() as client:
                with anyio.move_on_after(delay):
                    await ctx.run_task("script:hang", client, worktree=worktree)
        after = await ctx.run_task("script:text after")
        sessions = (await ctx.call_tool("session_list", directory=str(ctx.project), scope="project"))["result"]
        for session in sessions:
            working = (await ctx.call_tool("session_status", directory=session["directory"])).content
            assert working == {}, f"{session['id']} still works"
        used_directories = {entry["directory"] for entry in sessions}
        worktrees: list[str] = (await ctx.call_tool("worktree_list", directory=str(ctx.project)))["result"]
        assert not set(worktrees) - used_directories, "a worktree without a session is left"
        return after

    return action


ALLOW_ALL = [{"permission": "*", "pattern": "*", "action": "allow"}]

SCENARIOS = (
    *(
        Scenario(
            f"{action.__name__} cancelled over {transport.__name__}, {protocol_version}",
            action(transport, mode),
            state,
            config={},
        )
        for protocol_version, mode in CLIENT_MODES.items()
        for action, transport, state in (
            (run_task, stdio, "stopped"),
            (run_task, http, "stopped"),
            (session_prompt, stdio, "stopped"),
            (session_prompt, http, "stopped"),
            (wait_for_tasks, stdio, "completed"),
            (wait_for_tasks, http, "completed"),
        )
    ),
    Scenario("answer_permission cancelled", answer_permission, "completed"),
    Scenario("run_tasks cancelled", run_tasks("auto"), "stopped", config={}),
    Scenario(
        "run_task cancelled at every moment of its start",
        cancel_at_every_moment(False),
        "completed",
        config={},
    ),
    Scenario("run_task cancelled, in a worktree", cancel_at_every_moment(True), "completed", config={}),
)
