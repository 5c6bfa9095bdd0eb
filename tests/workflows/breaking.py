"""Rows about what breaks under a task: OpenCode itself, and its stream of events."""

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
from tests.bridge import kill_server, marked, servers
from tests.chaos import cuts, proxied
from tests.server.connections import free_port

from .asking import touch
from .bench import QUICK, Bench
from .doing import wait_and_act
from .seen import Seen
from .table import Deed, Row

HANG = "script:hang"
TOOL_THEN_HANG = """script:chain [{"name": "read", "args": {"filePath": "README.md"}}]"""


def marking(bench: Bench) -> tuple[str, Mapping[str, str]]:
    """Return a mark, and an environment whose processes bear it."""
    return f"OPENCODE_MCP_TEST_ROW={bench.key}", {**bench.world.environ, "OPENCODE_MCP_TEST_ROW": bench.key}


def managed(bench: Bench, environ: Mapping[str, str]) -> Settings:
    """Settings of a bridge that starts its own OpenCode."""
    return Settings(command=(bench.world.program.command[0],), directory=str(bench.project), environ=environ)


async def killed_ours(bench: Bench) -> Seen:
    """The OpenCode that the bridge started is killed under a task; the next task finds another one."""
    mark, environ = marking(bench)
    async with bench.bridge(managed(bench, environ)) as client:
        before: list[int] = []

        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            if not before and message and message.startswith("waiting for the model"):
                before.extend(servers(mark))
                assert set(before) <= marked(f"{DEPTH_VARIABLE}=1").keys()
                kill_server(mark)

        result = await client.call_tool("run_task", {"prompt": HANG}, progress_callback=progressed)
        after = await bench.run("script:text again", client)
        assert after.state == "completed"
        assert before and not {*servers(mark)} & {*before}
        bench.sessions.clear()
    return Seen.of(result)


async def killed_ours_while_asking(bench: Bench) -> Seen:
    """The OpenCode that the bridge started is killed while the user is asked: the answer has nobody to go to."""
    mark, environ = marking(bench)

    async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        kill_server(mark)
        await anyio.sleep_forever()
        raise AssertionError

    async with bench.bridge(managed(bench, environ), mode="legacy", elicitation_callback=ask) as client:
        seen = await bench.run(touch(bench), client)
        bench.sessions.clear()
    return seen


@asynccontextmanager
async def opencode_at(bench: Bench, port: int) -> AsyncGenerator[Process]:
    """Run an OpenCode as its user does; no other process uses its data, or that one might be running the task."""
    command = (*bench.world.program.command, "serve", "--hostname", "127.0.0.1", "--port", str(port))
    environ = {**bench.world.environ, "XDG_DATA_HOME": str(bench.project.with_name(f"data-{bench.key}"))}
    async with await anyio.open_process(command, env=environ, cwd=bench.project) as process:
        try:
            assert process.stdout is not None
            async for text in TextReceiveStream(process.stdout):
                if "listening on" in text:
                    break
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()


async def killed_theirs(bench: Bench) -> Seen:
    """An OpenCode that the bridge is attached to is killed under a task."""
    return (await killed_and_back(bench))[0]


async def back_again(bench: Bench) -> Seen:
    """It is started again on the same port: the bridge reports what became of the task, and runs the next."""
    _, reported, after = await killed_and_back(bench)
    assert after.state == "completed", after.text
    return reported


async def killed_and_back(bench: Bench) -> tuple[Seen, Seen, Seen]:
    """Kill an attached OpenCode under a task, and start it again: the wait, the report then, the next task."""
    port = free_port()
    attached = Settings(url=f"http://127.0.0.1:{port}", directory=str(bench.project))
    async with bench.bridge(attached) as client:
        there = replace(bench, client=client, settings=attached, sessions=set())
        async with opencode_at(bench, port) as process:
            task = await there.call("start_task", prompt=HANG)

            async def die(bench: Bench, task: Seen) -> None:
                process.kill()

            broken = await wait_and_act(there, task, die)
        assert task.session_id in broken.text, "the session cannot be found again"
        async with opencode_at(bench, port):
            reported = await there.wait(task.session_id)
            after = await there.run("script:text again", session_id=task.session_id)
    return broken, reported, after


def with_cuts(prompt: str, number: int) -> Deed:
    """The bridge's event stream is cut so often during one task."""

    async def does(bench: Bench) -> Seen:
        port = httpx2.URL(str(bench.settings.url)).port
        assert port is not None
        async with (
            proxied(port, cuts(number)) as proxy,
            bench.bridge(replace(bench.settings, url=proxy.url)) as client,
        ):
            seen = await bench.run(prompt.replace("{touch}", touch(bench)), client)
            assert proxy.faults["cut"] == number or number == sys.maxsize, f"cut {proxy.faults['cut']} times"
        return seen

    return does


LOST = "^OpenCode exited during the turn"

ROWS = (
    Row("our OpenCode killed", killed_ours, "failed", LOST, 120, project={}),
    Row("our OpenCode killed while the user is asked", killed_ours_while_asking, "failed", LOST, 120, project={}),
    Row("their OpenCode killed", killed_theirs, "error", "is not reachable|was lost", 120, project={}),
    Row("their OpenCode killed and back", back_again, "failed", LOST, 120, project={}),
    Row("event stream cut ten times", with_cuts("script:slow 100 0.2", 10), "completed", "chunk99", 90),
    Row("event stream always cut", with_cuts("script:slow 10 0.2", sys.maxsize), "completed", "chunk9"),
    Row("event stream always cut, permission", with_cuts("{touch}", sys.maxsize), "waiting_permission", project=QUICK),
)
