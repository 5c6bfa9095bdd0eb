"""Rows about clients that cancel a call: what they started ends, what they only waited for goes on."""

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
from opencode_mcp.opencode.background import background_task_group
from opencode_mcp.server import create_server
from tests.bridge import variables_of
from tests.eventually import eventually

from .bench import MODES, QUICK, Bench
from .seen import Seen
from .table import Deed, Row

Transport = Callable[[Bench, str], AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def stdio(bench: Bench, mode: str) -> AsyncGenerator[Client]:
    """A client of a bridge that is a process of its own."""
    environ = {**bench.world.environ, **variables_of(bench.settings)}
    command = StdioServerParameters(command=sys.executable, args=["-m", "opencode_mcp"], env=environ)
    async with Client(command, mode=mode) as client:
        yield client


@asynccontextmanager
async def http(bench: Bench, mode: str) -> AsyncGenerator[Client]:
    """A client of a bridge over HTTP."""
    app = create_server(bench.settings, bench.world.catalog).streamable_http_app(host="127.0.0.1")
    server = GuestServer(uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=1))
    listener = socket.create_server(("127.0.0.1", 0))
    async with background_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        async with Client(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", mode=mode) as client:
            yield client
        server.should_exit = True


async def call_and_cancel(client: Client, tool: str, arguments: dict[str, Any], when: str) -> None:
    """Call a tool, and cancel it when its progress has these words."""
    with anyio.CancelScope() as scope:

        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            if when in (message or ""):
                scope.cancel()

        await client.call_tool(tool, arguments, progress_callback=progressed)
    assert scope.cancelled_caught, f"{tool} ended before it was cancelled"


def sleeping(bench: Bench) -> list[str]:
    """Return the row's commands that are alive."""
    found: list[str] = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            found.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [command for command in found if command.startswith(f"sleep {seconds(bench)}")]


def seconds(bench: Bench) -> str:
    """How long the row's command sleeps: a time that no other row's does."""
    return f"300.{bench.key.strip('rowx'):0>4}"


def sleep(bench: Bench) -> str:
    """A command that would outlast the row."""
    return f"script:tool bash {json.dumps({'command': f'sleep {seconds(bench)}', 'description': 'Sleep'})}"


async def ended(bench: Bench, session_id: str) -> Seen:
    """Wait until the command has gone and its task is reported as what it became."""

    async def gone() -> bool:
        return not sleeping(bench)

    async def over() -> bool:
        return (await bench.report(session_id)).state != "running"

    await eventually(gone)
    await eventually(over)
    return await bench.report(session_id)


def run_task(transport: Transport, mode: str) -> Deed:
    """The client cancels run_task: its command and its session end."""

    async def does(bench: Bench) -> Seen:
        async with transport(bench, mode) as client:
            arguments = {"prompt": sleep(bench), "permissions": "allow"}
            await call_and_cancel(client, "run_task", arguments, f"sleep {seconds(bench)}: running")
            [session] = (await bench.call("session_list", directory=str(bench.project)))["result"]
            return await ended(bench, session["id"])

    return does


def session_prompt(transport: Transport, mode: str) -> Deed:
    """The client cancels session_prompt: its command and its session end."""

    async def does(bench: Bench) -> Seen:
        session_id = (await bench.call("session_create", permission=ALLOW_ALL))["id"]
        async with transport(bench, mode) as client:
            arguments = {"sessionID": session_id, "parts": [{"type": "text", "text": sleep(bench)}]}
            await call_and_cancel(client, "session_prompt", arguments, f"sleep {seconds(bench)}: running")
            return await ended(bench, session_id)

    return does


def wait_for_tasks(transport: Transport, mode: str) -> Deed:
    """The client cancels a wait: the task goes on."""

    async def does(bench: Bench) -> Seen:
        async with transport(bench, mode) as client:
            task = await bench.call("start_task", prompt="script:slow 50 0.2")
            await call_and_cancel(client, "wait_for_tasks", {"session_ids": [task.session_id]}, "chunk")
            return await bench.wait(task.session_id)

    return does


def run_tasks(mode: str) -> Deed:
    """The client cancels run_tasks: all of them end."""

    async def does(bench: Bench) -> Seen:
        prompts = [f"script:hang {bench.key} {name}" for name in ("first", "second")]
        tasks = [{"prompt": prompt, "worktree": True} for prompt in prompts]
        async with bench.bridge(mode=mode) as client, anyio.create_task_group() as calls:
            calls.start_soon(client.call_tool, "run_tasks", {"tasks": tasks})
            await eventually(lambda: all(map(bench.asked_of_model, prompts)))
            calls.cancel_scope.cancel()
        sessions = (await bench.call("session_list", directory=str(bench.project), scope="project"))["result"]
        assert len(sessions) == 2, sessions
        seen = [await bench.report(item["id"]) for item in sessions]
        assert [item.state for item in seen] == ["stopped", "stopped"], [item.text for item in seen]
        return seen[0]

    return does


def at_every_moment(worktree: bool) -> Deed:
    """The client cancels run_task sooner and sooner after it began: nothing is left at work."""

    async def does(bench: Bench) -> Seen:
        for delay in (1.6, 0.8, 0.4, 0.2, 0.1, 0.05, 0.02, 0.01):
            async with bench.bridge() as client:
                with anyio.move_on_after(delay):
                    await bench.run("script:hang", client, worktree=worktree)
        after = await bench.run("script:text after")
        sessions = (await bench.call("session_list", directory=str(bench.project), scope="project"))["result"]
        for session in sessions:
            working = (await bench.call("session_status", directory=session["directory"])).facts
            assert working == {}, f"{session['id']} still works"
        used = {entry["directory"] for entry in sessions}
        made: list[str] = (await bench.call("worktree_list", directory=str(bench.project)))["result"]
        assert not set(made) - used, "a worktree was made for nothing"
        return after

    return does


ALLOW_ALL = [{"permission": "*", "pattern": "*", "action": "allow"}]

ROWS = (
    *(
        Row(f"{does.__name__} cancelled over {transport.__name__}, {era}", does(transport, mode), state, project=QUICK)
        for era, mode in MODES.items()
        for does, transport, state in (
            (run_task, stdio, "stopped"),
            (run_task, http, "stopped"),
            (session_prompt, stdio, "stopped"),
            (session_prompt, http, "stopped"),
            (wait_for_tasks, stdio, "completed"),
            (wait_for_tasks, http, "completed"),
        )
    ),
    Row("run_tasks cancelled", run_tasks("auto"), "stopped", project=QUICK),
    Row("run_task cancelled at every moment of its start", at_every_moment(False), "completed", project=QUICK),
    Row("run_task cancelled, in a worktree", at_every_moment(True), "completed", project=QUICK),
)
