"""Two OpenCode processes on one data folder, as of two assistants of one user: each knows only of its own work."""

from __future__ import annotations

import json
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import anyio
import httpx2
import pytest
from mcp import Client

from opencode_mcp.openapi import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.install import Program
from opencode_mcp.opencode.process import managed_server
from opencode_mcp.opencode.processes import SharingProcess, find_sharing_processes
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from opencode_mcp.workflows import elsewhere as deciding
from opencode_mcp.workflows.elsewhere import (
    MODEL_SECONDS,
    PROCESS_SECONDS,
    PROMPT_SECONDS,
    TOOL_SECONDS,
    describe_other_process,
)
from opencode_mcp.workflows.truth import read_snapshot
from tests.bridge import kill_server, servers
from tests.eventually import eventually

from .bench import QUICK, project_that_asks
from .seen import Seen
from .test_moments import Still

pytestmark = pytest.mark.anyio

WAIT_SECONDS = 120


@dataclass(frozen=True)
class Side:
    """One assistant: its client and the OpenCode that this has started; `mark` is in that one's environment."""

    client: Client
    endpoint: Endpoint
    mark: str

    async def call(self, tool: str, **arguments: Any) -> Seen:
        """Call a tool."""
        return Seen.of(await self.client.call_tool(tool, arguments))


@dataclass(frozen=True)
class Two:
    """Two assistants in one project, with the data of both in one folder."""

    ours: Side
    theirs: Side
    project: Path


@pytest.fixture
async def two(environ: Mapping[str, str], program: Program, catalog: Catalog, tmp_path: Path) -> AsyncGenerator[Two]:
    """Two OpenCodes on a data folder that no other test uses."""
    project = project_that_asks(tmp_path / "project", environ, QUICK)
    async with AsyncExitStack() as stack:
        theirs, ours = [
            await stack.enter_async_context(side(environ, program, catalog, project, f"{tmp_path.name}-{name}"))
            for name in ("theirs", "ours")
        ]
        yield Two(ours, theirs, project)


@asynccontextmanager
async def side(
    environ: Mapping[str, str], program: Program, catalog: Catalog, project: Path, name: str
) -> AsyncGenerator[Side]:
    """Provide one of the two."""
    mark = {"OPENCODE_MCP_TEST_ROW": name}
    data = {"XDG_DATA_HOME": str(project.parent / "data")}
    async with managed_server(program.command, str(project), {**environ, **data, **mark}) as server:
        endpoint = await server.endpoint()
        settings = Settings(url=str(endpoint.url), password=endpoint.password, directory=str(project))
        async with Client(create_server(settings, catalog)) as client:
            yield Side(client, endpoint, f"OPENCODE_MCP_TEST_ROW={name}")


def held(two: Two) -> tuple[str, Path]:
    """Return a prompt, and the file with which it is answered."""
    file = two.project / "go"
    return f"script:hold {file}", file


async def test_a_task_of_another_process_runs_cannot_be_stopped_and_takes_no_prompt(two: Two) -> None:
    """What it asks for is known there only; its end is seen by the other process as well."""
    prompt, file = held(two)
    task = await two.theirs.call("start_task", prompt=prompt, request_id="first")
    [pid] = servers(two.theirs.mark)

    reported = await two.ours.call("report_task", session_id=task.session_id)
    assert reported.state == "running", reported.text
    assert f"process {pid}" in reported["note"]
    assert reported["activity"] == "waiting for the model"
    assert reported["next"]["tool"] == "wait_for_tasks"

    stopped = await two.ours.call("stop_task", session_id=task.session_id)
    assert (stopped.state, "cannot be stopped here" in stopped.text) == ("error", True), stopped.text

    more = await two.ours.call("run_task", prompt="script:text more", session_id=task.session_id)
    assert (more.state, "cannot take a prompt now" in more.text) == ("error", True), more.text

    again = await two.ours.call("start_task", prompt=prompt, request_id="first")
    assert (again.session_id, again.state) == (task.session_id, "running")
    assert again["note"].startswith("request first is already running")

    resource = await two.ours.client.read_resource(f"opencode://session/{task.session_id}")
    assert json.loads(getattr(resource.contents[0], "text"))["state"] == "running"  # noqa: B009

    file.touch()
    done = (await two.ours.call("wait_for_tasks", session_ids=[task.session_id], timeout_seconds=WAIT_SECONDS)).tasks[0]
    assert (done.state, done["answer"], done["note"]) == ("completed", "held", None)
    after = await two.ours.call("run_task", prompt="script:text more", session_id=task.session_id)
    assert after.state == "completed", after.text

    call = json.dumps({"command": "true", "description": "Do nothing"})
    asks = await two.theirs.call("run_task", prompt=f"script:tool bash {call}", timeout_seconds=WAIT_SECONDS)
    assert asks.state == "waiting_permission"
    reported = await two.ours.call("report_task", session_id=asks.session_id)
    assert (reported.state, "waiting for an answer there" in reported["note"]) == ("running", True), reported.text


async def test_the_end_of_the_only_process_that_can_have_run_a_task_is_its_failure(two: Two) -> None:
    """It says when the session was last written to, and the session takes a prompt again."""
    task = await two.theirs.call("start_task", prompt="script:hang")
    kill_server(two.theirs.mark)
    await eventually(lambda: not find_sharing_processes(two.ours.endpoint))

    reported = await two.ours.call("report_task", session_id=task.session_id)

    assert reported.state == "failed", reported.text
    assert reported.message.startswith("OpenCode exited during the turn")
    assert "last written at 20" in reported.message
    after = await two.ours.call("run_task", prompt="script:text more", session_id=task.session_id)
    assert after.state == "completed", after.text


HOUR = 3600.0
TOOL: dict[str, Any] = {"type": "tool", "tool": "bash", "state": {"status": "running", "input": {}}}


def unfinished(silence: float, *parts: Any) -> list[Any]:
    """A turn whose reply is incomplete, and was last written to so long ago."""
    at = (time.time() - silence) * 1000
    reply = {"id": "msg_2", "role": "assistant", "parentID": "msg_1", "time": {"created": at}}
    return [{"info": reply, "parts": [*parts]}]


def prompt(silence: float, *before: Any) -> list[Any]:
    """A prompt without a reply, after other messages."""
    info = {"id": "msg_3", "role": "user", "time": {"created": (time.time() - silence) * 1000}}
    return [*before, {"info": info, "parts": []}]


def a_process(ago: float) -> SharingProcess:
    """A process that was started so long ago."""
    return SharingProcess(7, "opencode", time.time() - ago)


def see(monkeypatch: pytest.MonkeyPatch, there: tuple[SharingProcess, ...] | None) -> None:
    """Have these processes there, or have none known."""

    def seen(endpoint: Endpoint) -> tuple[SharingProcess, ...] | None:
        return there

    monkeypatch.setattr(deciding, "find_sharing_processes", seen)


@pytest.mark.parametrize(
    ("messages", "started", "runs"),
    [
        (lambda: unfinished(HOUR), 2 * HOUR, True),
        (lambda: unfinished(HOUR), HOUR / 2, False),
        (lambda: unfinished(PROCESS_SECONDS + HOUR), PROCESS_SECONDS + 2 * HOUR, False),
        (lambda: unfinished(10), None, False),
        (lambda: prompt(PROMPT_SECONDS / 2), HOUR, True),
        (lambda: prompt(PROMPT_SECONDS * 2), HOUR, False),
        (lambda: prompt(PROMPT_SECONDS * 2, *unfinished(HOUR)), HOUR, True),
        (lambda: unfinished(MODEL_SECONDS / 2), "unknown", True),
        (lambda: unfinished(MODEL_SECONDS * 1.2), "unknown", False),
        (lambda: unfinished(MODEL_SECONDS * 1.2, TOOL), "unknown", True),
        (lambda: unfinished(TOOL_SECONDS * 1.2, TOOL), "unknown", False),
        (lambda: prompt(PROMPT_SECONDS / 2), "unknown", True),
        (lambda: prompt(PROMPT_SECONDS * 2), "unknown", False),
    ],
)
async def test_whether_another_process_may_be_running_a_session(
    monkeypatch: pytest.MonkeyPatch, messages: Callable[[], list[Any]], started: float | str | None, runs: bool
) -> None:
    """By the last write, and by when the other processes were started: `started` so long ago, None: there is none."""
    see(monkeypatch, () if started is None else None if started == "unknown" else (a_process(float(started)),))
    opencode = Still(messages=messages())
    opencode.server.current_endpoint = lambda: "an endpoint"

    note = await describe_other_process(cast("Any", opencode), await read_snapshot(cast("Any", opencode), "ses_1"))

    assert (note is not None) is runs, note


async def test_what_grows_without_this_server_is_run_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where no process is to be seen, as that of another container."""
    see(monkeypatch, ())
    opencode = cast("Any", Still(messages=unfinished(5)))
    opencode.server.current_endpoint = lambda: "an endpoint"
    before = await read_snapshot(opencode, "ses_1")
    assert await describe_other_process(opencode, before) is None
    opencode.messages = unfinished(0, TOOL)

    note = await describe_other_process(opencode, await read_snapshot(opencode, "ses_1"), before)

    assert (
        note
        == "Another OpenCode process is running this session: its messages change, and this OpenCode does not run it."
    )
    see(monkeypatch, (a_process(HOUR), a_process(-HOUR)))
    note = await describe_other_process(opencode, await read_snapshot(opencode, "ses_1"), before)
    assert note is not None and note.startswith(
        "Another OpenCode process (opencode, process 7) is running this session: its messages"
    )


@pytest.mark.usefixtures("environ")
async def test_the_processes_that_use_a_servers_data_are_known_on_linux(tmp_path: Path) -> None:
    """Those that have the same database open as the process that listens at the address; nothing is known of others."""
    file = tmp_path / "any name.db"
    database = sqlite3.connect(file, isolation_level=None)
    database.execute("PRAGMA journal_mode=wal")
    database.execute("CREATE TABLE t (x)")
    code = (
        "import sqlite3, sys; one = sqlite3.connect(sys.argv[1]); one.execute('SELECT * FROM t'); "
        "print(1, flush=True); input()"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = Endpoint(httpx2.URL(f"http://localhost:{server.getsockname()[1]}"))
        assert find_sharing_processes(here) == ()
        async with await anyio.open_process((sys.executable, "-c", code, str(file))) as child:
            assert child.stdout is not None
            await child.stdout.receive()
            began = time.time()
            others = find_sharing_processes(here)
            child.kill()
        assert others is not None
        [other] = others
        assert (other.pid, began - 60 < other.started <= began) == (child.pid, True)
        assert find_sharing_processes(here) == ()
    database.close()
    assert find_sharing_processes(here) is None
    assert find_sharing_processes(Endpoint(httpx2.URL("http://192.0.2.1:4096"))) is None
