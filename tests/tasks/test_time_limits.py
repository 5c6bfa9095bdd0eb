"""Time limits: every task tool returns in time when OpenCode does not respond, and every start is reported."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import anyio.lowlevel
import httpx2
import pytest
from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import RequestTimeout, WorkflowError
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient
from opencode_mcp.opencode.deadline import START_GRACE_SECONDS, cancel_after, seconds_left
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from opencode_mcp.tasks import answers, follow_up, wait_and_report
from opencode_mcp.tasks.stop import StopTask, stop_task
from opencode_mcp.tasks.task_tools import ReportTask, RunTasks, WaitForTasks, report_task, run_tasks, wait_for_tasks
from tests.bridge import find_opencode_pids
from tests.eventually import eventually
from tests.scenarios.observed import ObservedResult

from .test_race_conditions import DONE, FakeOpenCode, make_context

pytestmark = pytest.mark.anyio

LATE_SECONDS = 6.0
"""Seconds that a call may take beyond its time limit: START_GRACE_SECONDS, and what a busy machine adds."""

MARK = "OPENCODE_MCP_TEST_LIMITS"


class SlowOpenCode(FakeOpenCode):
    """An OpenCode that accepts a prompt only when the test lets it; every task has its own session."""

    def __init__(self) -> None:
        super().__init__(messages=[DONE])
        self.may = anyio.Event()
        self.sessions = 0

    async def call(self, name: str, /, **arguments: Any) -> Any:
        if name == "session_create":
            self.sessions += 1
            session_id = f"ses_{self.sessions}"
            return {**await super().call(name, **arguments), "id": session_id}
        if name == "session_prompt_async":
            await self.may.wait()
        return await super().call(name, **arguments)


def run_several(seconds: float, number: int = 3) -> RunTasks:
    """Return the arguments of run_tasks."""
    return RunTasks.model_validate({"tasks": [{"prompt": "try"}] * number, "timeout_seconds": seconds})


async def test_a_starting_task_is_reported_and_continues() -> None:
    """Its session is reported, the call ends in time, and a wait for the session returns its result."""
    opencode = SlowOpenCode()
    async with anyio.create_task_group() as tasks:
        context = make_context(opencode)
        context = replace(context, servers=replace(context.servers, tasks=tasks))
        began = time.monotonic()
        reports = (await run_tasks(context, run_several(0.5))).tasks
        assert time.monotonic() - began < 0.5 + LATE_SECONDS
        assert [one.state for one in reports] == ["starting"] * 3
        assert {one.session_id for one in reports} == {"ses_1", "ses_2", "ses_3"}
        assert reports[0].next is not None
        assert reports[0].next.tool == "wait_for_tasks"
        assert (await report_task(context, ReportTask.model_validate({"session_id": "ses_2"}))).state == "starting"
        assert "session_prompt_async" not in opencode.calls

        opencode.may.set()
        waiting = WaitForTasks(session_ids=["ses_1", "ses_2", "ses_3"], until="all", timeout_seconds=30)
        assert [one.state for one in (await wait_for_tasks(context, waiting)).tasks] == ["completed"] * 3
    assert opencode.calls.count("session_prompt_async") == 3


async def test_a_start_that_fails_after_its_call_is_reported_as_failed() -> None:
    """With the reason; and everything of it is removed."""
    opencode = SlowOpenCode()
    opencode.answers["session_prompt_async"] = RequestTimeout("no answer to the prompt")
    async with anyio.create_task_group() as tasks:
        context = make_context(opencode)
        context = replace(context, servers=replace(context.servers, tasks=tasks))
        [report] = (await run_tasks(context, run_several(0.1, 1))).tasks
        assert report.state == "starting"
        opencode.may.set()
        await eventually(lambda: "worktree_remove" in opencode.calls)
        for _ in range(2):
            report = await report_task(context, ReportTask.model_validate({"session_id": "ses_1"}))
        assert report.state == "failed"
        assert report.error is not None
        assert "no answer to the prompt" in report.error
    assert "session_delete" in opencode.calls


async def test_cancelled_starts_leave_no_session_and_no_worktree() -> None:
    """The caller cancels while all of them are starting, before any has a session."""

    class Unready(FakeOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "vcs_status":
                await anyio.sleep_forever()
            return await super().call(name, **arguments)

    opencode = Unready()
    async with anyio.create_task_group() as jobs:
        context = make_context(opencode)
        context = replace(context, servers=replace(context.servers, tasks=jobs))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_tasks, context, run_several(60))
            await eventually(lambda: opencode.calls.count("worktree_create") == 3)
            tasks.cancel_scope.cancel()
        assert opencode.calls.count("worktree_remove") == 3
    assert not {"session_create", "session_prompt_async"} & {*opencode.calls}


async def test_worktrees_of_one_repository_are_made_one_after_another() -> None:
    """git cannot create two at once: of ten tasks on a real OpenCode one failed, and with it the call."""

    class Counting(SlowOpenCode):
        now = most = 0

        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name != "worktree_create":
                return await super().call(name, **arguments)
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                return await super().call(name, **arguments)
            finally:
                self.now -= 1

    opencode = Counting()
    opencode.may.set()
    reports = (await run_tasks(make_context(opencode), run_several(30, 4))).tasks
    assert [one.state for one in reports] == ["completed"] * 4
    assert (opencode.calls.count("worktree_create"), opencode.most) == (4, 1)


async def test_a_task_that_is_starting_can_be_stopped() -> None:
    """Its prompt is never sent, and the session that it would continue stays unchanged."""

    class Unready(FakeOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "config_providers":
                await anyio.sleep_forever()
            return await super().call(name, **arguments)

    opencode = Unready(messages=[DONE])
    async with anyio.create_task_group() as tasks:
        context = make_context(opencode)
        context = replace(context, servers=replace(context.servers, tasks=tasks))
        more = {"prompt": "more", "session_id": "ses_1", "worktree": False}
        asked = RunTasks.model_validate({"tasks": [more], "timeout_seconds": 0.1})
        [report] = (await run_tasks(context, asked)).tasks
        assert (report.session_id, report.state) == ("ses_1", "starting")
        stopped = await stop_task(context, StopTask(session_id="ses_1"))
        assert (stopped.state, stopped.error) == ("stopped", "stopped before it started")
        assert (await report_task(context, ReportTask.model_validate({"session_id": "ses_1"}))).state == "completed"
    assert not {"session_prompt_async", "session_delete", "session_abort"} & {*opencode.calls}


async def test_a_session_takes_a_prompt_after_a_start_in_it_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure is reported until then; it does not block the session."""
    monkeypatch.setattr(follow_up, "PICKUP_SECONDS", 0.1)

    class Failing(FakeOpenCode):
        fails = True

        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "config_providers" and self.fails:
                await anyio.sleep(0.5 + 2 * START_GRACE_SECONDS)
                raise RequestTimeout("no answer about models")
            return await super().call(name, **arguments)

    opencode = Failing(messages=[DONE])
    async with anyio.create_task_group() as tasks:
        context = make_context(opencode)
        context = replace(context, servers=replace(context.servers, tasks=tasks))
        more = {"prompt": "more", "session_id": "ses_1", "worktree": False}
        asked = RunTasks.model_validate({"tasks": [more], "timeout_seconds": 0.1})
        assert [one.state for one in (await run_tasks(context, asked)).tasks] == ["starting"]
        starts = context.servers.pending_starts
        await eventually(lambda: starts["ses_1"].finished.is_set())
        opencode.fails = False
        assert isinstance(starts["ses_1"].failure, RequestTimeout)
        await run_tasks(context, asked.model_copy(update={"timeout_seconds": 1}))
    assert "session_prompt_async" in opencode.calls


async def test_a_task_without_a_session_in_time_is_not_started() -> None:
    """The call could not name its session: the start is cancelled, and the call says so."""

    class Silent(FakeOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "config_providers":
                await anyio.sleep_forever()
            return await super().call(name, **arguments)

    opencode = Silent()
    began = time.monotonic()
    with pytest.raises(WorkflowError, match=r"nothing was started: .* created no session within the time limit"):
        await run_tasks(make_context(opencode), run_several(0.2))
    assert time.monotonic() - began < 0.2 + LATE_SECONDS
    assert not {"session_create", "worktree_create", "session_prompt_async"} & {*opencode.calls}


async def test_a_read_ends_within_the_callers_time_limit(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an error that names the server, before the caller's scope cancels it; it is not retried."""
    monkeypatch.setattr("opencode_mcp.opencode.client.DEADLINE_MARGIN_SECONDS", 3.0)
    requests = list[httpx2.Request]()

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/path":
            requests.append(request)
            await anyio.sleep_forever()
        return httpx2.Response(200, json={"healthy": True, "version": "1.18.33"})

    server = AttachedServer(Endpoint(httpx2.URL("http://opencode.test")))
    async with OpenCodeClient(server, catalog, transport=httpx2.MockTransport(answer)) as opencode:
        await opencode.call("global_health")  # imports what a first request needs, which takes its time
        with cancel_after(3.5) as scope, pytest.raises(RequestTimeout, match="no response in time from OpenCode"):
            await opencode.call("path_get")
    assert not scope.cancelled_caught
    assert len(requests) == 1


async def test_a_caller_s_cancel_scope_is_not_a_time_limit(catalog: Catalog) -> None:
    """An error instead of a cancellation would look like OpenCode's, and the cancelled work would go on."""

    async def answer(request: httpx2.Request) -> httpx2.Response:
        await anyio.sleep_forever()
        raise AssertionError

    server = AttachedServer(Endpoint(httpx2.URL("http://opencode.test")))
    async with OpenCodeClient(server, catalog, transport=httpx2.MockTransport(answer)) as opencode:
        with anyio.move_on_after(0.3) as scope:
            await opencode.call("path_get")
    assert scope.cancelled_caught


async def test_a_shielded_scope_has_no_time_limit() -> None:
    """Cleaning up after the limit has its own time."""
    with cancel_after(0.0):
        with anyio.CancelScope(shield=True), anyio.move_on_after(15):
            await anyio.lowlevel.checkpoint()
            assert seconds_left() == inf


async def test_no_pause_is_started_beyond_the_time_limit(catalog: Catalog) -> None:
    """The last error is raised at once."""
    times = list[float]()

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path != "/path":
            return httpx2.Response(200, json={"healthy": True, "version": "1.18.33"})
        times.append(time.monotonic())
        return httpx2.Response(503)

    server = AttachedServer(Endpoint(httpx2.URL("http://opencode.test")))
    async with OpenCodeClient(server, catalog, transport=httpx2.MockTransport(answer)) as opencode:
        opencode.retry_seconds = (0.01, 0.02, 60.0, 0.01)
        began = time.monotonic()
        with cancel_after(50), pytest.raises(Exception, match="HTTP 503"):
            await opencode.call("path_get")
    assert len(times) == 3
    assert time.monotonic() - began < 50


@asynccontextmanager
async def open_managed_bridge(
    environ: Mapping[str, str], program: Program, project: Path, catalog: Catalog
) -> AsyncGenerator[tuple[Client, str]]:
    """Provide a client of a server that starts its own OpenCode, and the mark of that process."""
    value = uuid4().hex
    settings = Settings(command=(program.command[0],), directory=str(project), environ={**environ, MARK: value})
    async with Client(create_server(settings, catalog)) as client:
        yield client, f"{MARK}={value}"


@contextmanager
def freeze_opencode(mark: str) -> Generator[None]:
    """Suspend the OpenCode with this mark."""
    [pid] = find_opencode_pids(mark)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
async def test_every_task_tool_answers_in_time_when_opencode_is_frozen(
    monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str], program: Program, project: Path, catalog: Catalog
) -> None:
    """With the last report and its age, or with an error."""
    for module in (answers, wait_and_report):
        monkeypatch.setattr(module, "DEFAULT_LIMIT_SECONDS", 4.0)
    async with open_managed_bridge(environ, program, project, catalog) as (client, mark):

        async def call(tool: str, limit: float, **arguments: Any) -> ObservedResult:
            began = time.monotonic()
            seen = ObservedResult.from_result(await client.call_tool(tool, arguments))
            took = time.monotonic() - began
            assert took < limit + LATE_SECONDS, f"{tool} took {took:.1f} s: {seen.text}"
            return seen

        task = await call("start_task", 60, prompt="script:hang")
        assert task.state == "running", task.text
        session = task.session_id
        with freeze_opencode(mark):
            waited = (await call("wait_for_tasks", 3, session_ids=[session], timeout_seconds=3)).tasks[0]
            assert waited.state == "running"
            assert "OpenCode does not answer; this report is" in waited["note"]
            run = await call("run_task", 3, prompt="script:text more", timeout_seconds=3)
            assert "nothing was started" in run.text
            both = [{"prompt": "one"}, {"prompt": "two"}]
            assert "nothing was started" in (await call("run_tasks", 3, tasks=both, timeout_seconds=3)).text
            reported = await call("report_task", 20, session_id=session)
            assert "this report is" in reported["note"]
            stopped = await call("stop_task", 20, session_id=session)
            assert stopped.state == "error"
            assert "no response" in stopped.text or "has not responded" in stopped.text, stopped.text
            asked = await call("answer_permission", 20, request_id="per_1", reply="once", session_id=session)
            assert asked.state == "error"
        await eventually(lambda: call("stop_task", 60, session_id=session), until=lambda seen: seen.state == "stopped")
        sessions = (await call("session_list", 60, scope="project"))["result"]
        assert [one["id"] for one in sessions] == [session], "something was begun that was not reported"
