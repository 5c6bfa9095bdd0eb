"""Two OpenCode processes on one data folder, as with two assistants of one user: each knows only its own work."""

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

from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.opencode.process.managed import managed_server
from opencode_mcp.opencode.process.other_processes import SharingProcess, find_sharing_processes
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from opencode_mcp.tasks import external_activity as deciding
from opencode_mcp.tasks.external_activity import (
    MODEL_SECONDS,
    PROCESS_SECONDS,
    PROMPT_SECONDS,
    TOOL_SECONDS,
    describe_other_process,
)
from opencode_mcp.tasks.session_state import read_snapshot
from tests.bridge import find_opencode_pids, kill_opencode
from tests.eventually import eventually
from tests.scenarios.observed import ObservedResult
from tests.scenarios.scenario_context import make_asking_project

from .test_race_conditions import FakeOpenCode

pytestmark = pytest.mark.anyio

WAIT_SECONDS = 120


@dataclass(frozen=True)
class TaskProcess:
    """One assistant: its client and the OpenCode that its server started; `mark` is in that process's environment."""

    client: Client
    endpoint: Endpoint
    mark: str

    async def call(self, tool: str, **arguments: Any) -> ObservedResult:
        """Call a tool."""
        return ObservedResult.from_result(await self.client.call_tool(tool, arguments))


@dataclass(frozen=True)
class TwoProcesses:
    """Two assistants in one project, with the data of both in one folder."""

    own: TaskProcess
    other: TaskProcess
    project: Path


@pytest.fixture
async def processes(
    environ: Mapping[str, str], program: Program, catalog: Catalog, tmp_path: Path
) -> AsyncGenerator[TwoProcesses]:
    """Two OpenCodes on a data folder that no other test uses."""
    project = make_asking_project(tmp_path / "project", environ, {})
    async with AsyncExitStack() as stack:
        theirs, ours = [
            await stack.enter_async_context(open_process(environ, program, catalog, project, f"{tmp_path.name}-{name}"))
            for name in ("theirs", "ours")
        ]
        yield TwoProcesses(ours, theirs, project)


@asynccontextmanager
async def open_process(
    environ: Mapping[str, str], program: Program, catalog: Catalog, project: Path, name: str
) -> AsyncGenerator[TaskProcess]:
    """Provide one of the two."""
    mark = {"OPENCODE_MCP_TEST_ROW": name}
    data = {"XDG_DATA_HOME": str(project.parent / "data")}
    async with managed_server(program.command, str(project), {**environ, **data, **mark}) as server:
        endpoint = await server.endpoint()
        settings = Settings(url=str(endpoint.url), password=endpoint.password, directory=str(project))
        async with Client(create_server(settings, catalog)) as client:
            yield TaskProcess(client, endpoint, f"OPENCODE_MCP_TEST_ROW={name}")


def hold_prompt(two: TwoProcesses) -> tuple[str, Path]:
    """Return a prompt, and the file with which it is answered."""
    file = two.project / "go"
    return f"script:hold {file}", file


async def test_a_task_of_another_process_runs_cannot_be_stopped_and_takes_no_prompt(processes: TwoProcesses) -> None:
    """Only that process knows its requests; the other one sees its end."""
    prompt, file = hold_prompt(processes)
    task = await processes.other.call("start_task", prompt=prompt, request_id="first")
    [pid] = find_opencode_pids(processes.other.mark)

    reported = await processes.own.call("report_task", session_id=task.session_id)
    assert reported.state == "running", reported.text
    assert f"process {pid}" in reported["note"]
    assert reported["activity"] == "waiting for the model"
    assert reported["next"]["tool"] == "wait_for_tasks"

    stopped = await processes.own.call("stop_task", session_id=task.session_id)
    assert (stopped.state, "cannot be stopped here" in stopped.text) == ("error", True), stopped.text

    more = await processes.own.call("run_task", prompt="script:text more", session_id=task.session_id)
    assert (more.state, "cannot take a prompt now" in more.text) == ("error", True), more.text

    again = await processes.own.call("start_task", prompt=prompt, request_id="first")
    assert (again.session_id, again.state) == (task.session_id, "running")
    assert again["note"].startswith("request first is already running")

    resource = await processes.own.client.read_resource(f"opencode://session/{task.session_id}")
    assert json.loads(getattr(resource.contents[0], "text"))["state"] == "running"  # noqa: B009

    file.touch()
    done = (
        await processes.own.call("wait_for_tasks", session_ids=[task.session_id], timeout_seconds=WAIT_SECONDS)
    ).tasks[0]
    assert (done.state, done["answer"], done["note"]) == ("completed", "held", None)
    after = await processes.own.call("run_task", prompt="script:text more", session_id=task.session_id)
    assert after.state == "completed", after.text

    call = json.dumps({"command": "true", "description": "Do nothing"})
    asks = await processes.other.call("run_task", prompt=f"script:tool bash {call}", timeout_seconds=WAIT_SECONDS)
    assert asks.state == "waiting_permission"
    reported = await processes.own.call("report_task", session_id=asks.session_id)
    assert (reported.state, "waiting for an answer there" in reported["note"]) == ("running", True), reported.text


async def test_the_end_of_the_only_process_that_can_have_run_a_task_is_its_failure(processes: TwoProcesses) -> None:
    """The error says when the session was last written to; the session then accepts a prompt."""
    task = await processes.other.call("start_task", prompt="script:hang")

    async def has_reply() -> bool:
        messages = (await processes.other.call("session_messages", sessionID=task.session_id))["result"]
        return any(message["info"]["role"] == "assistant" for message in messages)

    await eventually(has_reply)
    kill_opencode(processes.other.mark)
    await eventually(lambda: not find_sharing_processes(processes.own.endpoint))

    reported = await processes.own.call("report_task", session_id=task.session_id)

    assert reported.state == "failed", reported.text
    assert reported.message.startswith("OpenCode exited during the turn")
    assert "last written at 20" in reported.message
    after = await processes.own.call("run_task", prompt="script:text more", session_id=task.session_id)
    assert after.state == "completed", after.text


HOUR = 3600.0
TOOL: dict[str, Any] = {"type": "tool", "tool": "bash", "state": {"status": "running", "input": {}}}


def unfinished_turn(silence: float, *parts: Any) -> list[Any]:
    """A turn whose reply is incomplete, and was last written to so long ago."""
    at = (time.time() - silence) * 1000
    reply = {"id": "msg_2", "role": "assistant", "parentID": "msg_1", "time": {"created": at}}
    return [{"info": reply, "parts": [*parts]}]


def unanswered_prompt(silence: float, *before: Any) -> list[Any]:
    """A prompt without a reply, after other messages."""
    info = {"id": "msg_3", "role": "user", "time": {"created": (time.time() - silence) * 1000}}
    return [*before, {"info": info, "parts": []}]


def make_sharing_process(ago: float) -> SharingProcess:
    """A process that was started so long ago."""
    return SharingProcess(7, "opencode", time.time() - ago)


def patch_sharing_processes(monkeypatch: pytest.MonkeyPatch, processes: tuple[SharingProcess, ...] | None) -> None:
    """Replace the processes that are found; None: they cannot be known."""

    def find_processes(endpoint: Endpoint) -> tuple[SharingProcess, ...] | None:
        return processes

    monkeypatch.setattr(deciding, "find_sharing_processes", find_processes)


@pytest.mark.parametrize(
    ("messages", "started", "runs"),
    [
        (lambda: unfinished_turn(HOUR), 2 * HOUR, True),
        (lambda: unfinished_turn(HOUR), HOUR / 2, False),
        (lambda: unfinished_turn(PROCESS_SECONDS + HOUR), PROCESS_SECONDS + 2 * HOUR, False),
        (lambda: unfinished_turn(10), None, False),
        (lambda: unanswered_prompt(PROMPT_SECONDS / 2), HOUR, True),
        (lambda: unanswered_prompt(PROMPT_SECONDS * 2), HOUR, False),
        (lambda: unanswered_prompt(PROMPT_SECONDS * 2, *unfinished_turn(HOUR)), HOUR, True),
        (lambda: unfinished_turn(MODEL_SECONDS / 2), "unknown", True),
        (lambda: unfinished_turn(MODEL_SECONDS * 1.2), "unknown", False),
        (lambda: unfinished_turn(MODEL_SECONDS * 1.2, TOOL), "unknown", True),
        (lambda: unfinished_turn(TOOL_SECONDS * 1.2, TOOL), "unknown", False),
        (lambda: unanswered_prompt(PROMPT_SECONDS / 2), "unknown", True),
        (lambda: unanswered_prompt(PROMPT_SECONDS * 2), "unknown", False),
    ],
)
async def test_another_process_may_run_a_session_until_it_is_silent_too_long(
    monkeypatch: pytest.MonkeyPatch, messages: Callable[[], list[Any]], started: float | str | None, runs: bool
) -> None:
    """By the last write, and by when the other processes were started: `started` so long ago, None: there is none."""
    patch_sharing_processes(
        monkeypatch,
        () if started is None else None if started == "unknown" else (make_sharing_process(float(started)),),
    )
    opencode = FakeOpenCode(messages=messages())
    opencode.server.current_endpoint = lambda: "an endpoint"

    note = await describe_other_process(cast("Any", opencode), await read_snapshot(cast("Any", opencode), "ses_1"))

    assert (note is not None) is runs, note


async def test_a_session_that_grows_is_run_by_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where that process is not visible, as in another container."""
    patch_sharing_processes(monkeypatch, ())
    opencode = cast("Any", FakeOpenCode(messages=unfinished_turn(5)))
    opencode.server.current_endpoint = lambda: "an endpoint"
    before = await read_snapshot(opencode, "ses_1")
    assert await describe_other_process(opencode, before) is None
    opencode.messages = unfinished_turn(0, TOOL)

    note = await describe_other_process(opencode, await read_snapshot(opencode, "ses_1"), before)

    assert (
        note
        == "Another OpenCode process is running this session: its messages change, and this OpenCode does not run it."
    )
    patch_sharing_processes(monkeypatch, (make_sharing_process(HOUR), make_sharing_process(-HOUR)))
    note = await describe_other_process(opencode, await read_snapshot(opencode, "ses_1"), before)
    assert note is not None and note.startswith(
        "Another OpenCode process (opencode, process 7) is running this session: its messages"
    )


@pytest.mark.usefixtures("environ")
async def test_processes_that_share_the_data_are_found_on_linux(tmp_path: Path) -> None:
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
