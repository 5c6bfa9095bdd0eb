"""Other OpenCodes at --url: what each is called, and that nothing is sent to it that it does not have."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.connect import connect
from opencode_mcp.exceptions import RequestTimeout, TransportError, UnsupportedServer
from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient, ServerPool
from opencode_mcp.opencode.endpoint import ignore_progress
from opencode_mcp.opencode.execute import execute_operation
from opencode_mcp.opencode.version_check import CACHE_SECONDS
from opencode_mcp.settings import Settings
from opencode_mcp.tasks import Context, execute_blocking, task_tools_for
from opencode_mcp.tasks.arguments import validate_arguments

from .conftest import Wire

pytestmark = pytest.mark.anyio

Routes = Mapping[str, httpx2.Response]

PAGE = httpx2.Response(200, headers={"content-type": "text/html"}, content=b"<!doctype html><title>OpenCode</title>")
BASIC = {"www-authenticate": 'Basic realm="Secure Area"'}
V2_INFO = {"version": "2.0.8", "pid": 4242, "urls": ["http://127.0.0.1:4096"], "paths": {"tmp": "/tmp/opencode"}}
PATHS = {"home": "/h", "state": "/s", "config": "/c", "worktree": "/w", "directory": "/w"}
OFFLINE = {"name": "UnknownError", "data": {"message": "Error: Unable to connect."}}
OTHER_API_ERROR = "whose API differs from 1.x"


def route_answers(routes: Routes, default: httpx2.Response = PAGE) -> Callable[[httpx2.Request], httpx2.Response]:
    """Return what answers requests by their path."""
    return lambda request: routes.get(request.url.path, default)


def json_response(status: int, value: Any, **headers: str) -> httpx2.Response:
    """Return an answer with JSON."""
    return httpx2.Response(status, json=value, headers=headers)


def make_client(catalog: Catalog, wire: Wire, routes: Routes, default: httpx2.Response = PAGE) -> OpenCodeClient:
    """Return the client of a server that has these routes, and gives its web page for all others, as 1.14 to 2 do."""
    wire.answer = route_answers(routes, default)
    endpoint = Endpoint(httpx2.URL("http://opencode.test"), password="secret")
    return OpenCodeClient(AttachedServer(endpoint), catalog, "/w", transport=httpx2.MockTransport(wire.handle))


def health_route(version: str) -> Routes:
    """Return the route by which an OpenCode says its version."""
    return {"/global/health": json_response(200, {"healthy": True, "version": version})}


def requested_paths(wire: Wire) -> list[str]:
    """The paths that were asked for."""
    return [request.url.path for request in wire.requests]


OPENCODE_2_SERVERS = [
    pytest.param({"/api/info": json_response(200, V2_INFO)}, "is OpenCode 2.0.8", id="2.0.8"),
    pytest.param({"/api/info": httpx2.Response(401, headers=BASIC)}, "is OpenCode 2,", id="2.0.8, wrong password"),
    pytest.param(
        {"/api/info": json_response(401, {"_tag": "UnauthorizedError"})}, "is OpenCode 2,", id="2.0.21, wrong password"
    ),
    pytest.param({"/api/health": json_response(200, {"healthy": True})}, "is OpenCode 2,", id="beta"),
    pytest.param({"/global/health": json_response(503, {"code": "service_starting"})}, "is OpenCode 2,", id="starting"),
    pytest.param(health_route("2.5.0"), "is OpenCode 2.5.0", id="with a health route"),
]


@pytest.mark.parametrize(("routes", "words"), OPENCODE_2_SERVERS)
async def test_an_opencode_2_is_identified(catalog: Catalog, wire: Wire, routes: Routes, words: str) -> None:
    """At once, with what to do; only what it is was asked, and never that a newer version may help."""
    async with make_client(catalog, wire, routes) as opencode:
        with pytest.raises(UnsupportedServer) as raised:
            await opencode.call("find_text", pattern="secret words")

    assert words in str(raised.value)
    assert OTHER_API_ERROR in str(raised.value)
    assert "newer" not in str(raised.value)
    assert {*requested_paths(wire)} <= {"/global/health", "/path", "/api/info", "/api/health"}


CALLS: Mapping[str, dict[str, Any]] = {
    "find_text": {"pattern": "x"},
    "session_list": {},
    "session_prompt": {"sessionID": "ses_1", "parts": [{"type": "text", "text": "x"}]},
    "session_create": {},
    "global_event": {"timeout_seconds": 5},
    "pty_connect": {"ptyID": "pty_1"},
    "tui_control_next": {},
    "v2_session_list": {},
    "v2_session_events": {"sessionID": "ses_1"},
}
TASKS: Mapping[str, dict[str, Any]] = {
    "run_task": {"prompt": "x"},
    "start_task": {"prompt": "x", "session_id": "ses_1"},
    "run_tasks": {"tasks": [{"prompt": "x"}, {"prompt": "y"}]},
    "wait_for_tasks": {"session_ids": ["ses_1", "ses_2"]},
    "report_task": {"session_id": "ses_1"},
    "list_tasks": {},
    "stop_task": {"session_id": "ses_1"},
    "answer_permission": {"request_id": "per_1", "reply": "once"},
    "answer_question": {"request_id": "que_1", "answers": [["yes"]]},
    "collect_changes": {"session_id": "ses_1"},
    "read_transcript": {"session_id": "ses_1"},
}


async def execute_task(context: Context, name: str) -> None:
    """Execute a task tool with its arguments above."""
    tool = task_tools_for()[name]
    await tool.execute(context, validate_arguments(name, tool.arguments, TASKS[name]))


@pytest.mark.parametrize("name", [*CALLS, *TASKS])
async def test_every_kind_of_tool_identifies_an_opencode_2(catalog: Catalog, wire: Wire, name: str) -> None:
    """Requests, streams, terminals, blocking prompts and every task tool: one error, without a wait for an answer."""
    started_at = time.monotonic()
    async with make_client(catalog, wire, {"/api/info": json_response(200, V2_INFO)}) as opencode:
        context = Context(ServerPool({"": opencode}), ignore_progress)
        with pytest.raises(UnsupportedServer, match=r"is OpenCode 2\.0\.8"):
            if name in TASKS:
                await execute_task(context, name)
            else:
                blocking = partial(execute_blocking, context)
                call = opencode.prepare(catalog[name], CALLS[name])
                await execute_operation(context.servers, call, ignore_progress, blocking)

    assert time.monotonic() - started_at < 15  # the first call of a process imports; a wait takes 20


def test_every_task_tool_is_tried() -> None:
    """A new one is added above."""
    assert task_tools_for().keys() == TASKS.keys()


async def test_an_old_opencode_2_is_refused_with_the_package_of_opencode_2(wire: Wire) -> None:
    """That of OpenCode 1 would replace it, and the shapes of what came before 2.0.8 are others."""
    routes = {"/api/info": json_response(200, {**V2_INFO, "version": "2.0.7"})}
    async with make_client(Catalog.from_snapshot(2), wire, routes) as opencode:
        with pytest.raises(UnsupportedServer, match=r"task tools need 2\.0\.8 .*`npm install -g @opencode/cli`"):
            await execute_task(Context(ServerPool({"": opencode}), ignore_progress), "run_task")

    assert {*requested_paths(wire)} <= {"/api/info", "/api/event"}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("version", ["1.1.65", "1.3.0", "1.14.41", "1.15.0"])
async def test_task_tools_are_refused_by_an_old_version_before_anything_is_sent(
    catalog: Catalog, wire: Wire, name: str, version: str
) -> None:
    """Metadata came with 1.15.13."""
    async with make_client(catalog, wire, health_route(version), json_response(200, {})) as opencode:
        with pytest.raises(UnsupportedServer, match=rf"is OpenCode {version}, and the task tools need 1\.15\.13"):
            await execute_task(Context(ServerPool({"": opencode}), ignore_progress), name)

    assert {*requested_paths(wire)} <= {"/global/health", "/global/event"}


@pytest.mark.parametrize(
    "otherwise", [PAGE, json_response(500, OFFLINE)], ids=["passed on to a website", "without a network"]
)
async def test_an_opencode_1_0_is_identified_without_a_health_route(
    catalog: Catalog, wire: Wire, otherwise: httpx2.Response
) -> None:
    """1.0.152 passes what it does not have on to a website: nothing with arguments goes that way."""
    routes = {"/path": json_response(200, PATHS), "/session": json_response(200, [])}
    async with make_client(catalog, wire, routes, otherwise) as opencode:
        assert await opencode.call("session_list") == []
        with pytest.raises(UnsupportedServer, match=r"question_list came with OpenCode 1\.1\.11, and .* is 1\.0"):
            await opencode.call("question_list")
        with pytest.raises(UnsupportedServer, match=r"worktree_create came with OpenCode 1\.1\.11"):
            await opencode.call("worktree_create", directory="/secret")

    assert {*requested_paths(wire)} == {"/global/health", "/path", "/session"}


@pytest.mark.parametrize(
    ("version", "name", "arguments"),
    [
        ("1.3.0", "vcs_apply", {"patch": "secret"}),
        ("1.3.0", "v2_session_prompt", {"sessionID": "ses_1", "prompt": {"text": "secret"}}),
        ("1.14.41", "v2_model_list", {}),
        ("1.15.13", "v2_session_create", {}),
        ("1.17.11", "v2_session_active", {}),
    ],
)
async def test_operations_that_a_version_lacks_are_not_sent(
    catalog: Catalog, wire: Wire, version: str, name: str, arguments: dict[str, Any]
) -> None:
    """It is named, with the version that it came with."""
    async with make_client(catalog, wire, health_route(version)) as opencode:
        with pytest.raises(UnsupportedServer, match=f"{name} came with OpenCode .* is {version}: nothing was sent"):
            await opencode.call(name, **arguments)

    assert {*requested_paths(wire)} == {"/global/health"}


async def test_the_version_is_read_once_a_minute_and_again_before_a_refusal(
    catalog: Catalog, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was updated behind its address is not refused."""
    async with make_client(catalog, wire, {**health_route("1.15.13"), "/session": json_response(200, [])}) as opencode:
        for _ in range(3):
            await opencode.call("session_list")
        assert requested_paths(wire).count("/global/health") == 1
        wire.answer = route_answers(
            {**health_route(SNAPSHOT_VERSION), "/api/session/active": json_response(200, {"data": {}})}
        )
        assert await opencode.call("v2_session_active") == {"data": {}}
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + CACHE_SECONDS)
        wire.answer = route_answers({"/api/info": json_response(200, V2_INFO)})
        with pytest.raises(UnsupportedServer, match=r"is OpenCode 2\.0\.8"):
            await opencode.call("session_list")


async def test_a_certificate_file_is_not_taken_for_a_version(catalog: Catalog, tmp_path: Path) -> None:
    """An attached server's version is asked for, whatever else its settings say."""
    certificates = tmp_path / "ca.pem"
    certificates.write_bytes(Path(__file__).with_name("__init__.py").read_bytes())
    settings = Settings(url="http://127.0.0.1:9", environ={"SSL_CERT_FILE": str(certificates)})
    async with connect(settings, catalog) as servers:
        there = await servers.default.server.endpoint()

    assert (there.ca_file, there.version) == (str(certificates), None)


async def test_the_version_of_a_managed_server_is_not_requested(catalog: Catalog, wire: Wire) -> None:
    """Its program has said it."""
    wire.answer = route_answers({"/session": json_response(200, [])})
    there = Endpoint(httpx2.URL("http://opencode.test"), version="1.18.22")
    async with OpenCodeClient(AttachedServer(there), catalog, transport=httpx2.MockTransport(wire.handle)) as opencode:
        await opencode.call("session_list")

    assert requested_paths(wire) == ["/session"]


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (httpx2.ReadTimeout("slow"), RequestTimeout, "did not report its version within 20 s; nothing was sent"),
        (httpx2.ReadError("reset"), TransportError, "is not reachable"),
        (httpx2.ConnectError("refused"), TransportError, "is not reachable"),
    ],
)
async def test_a_server_that_does_not_answer_is_sent_nothing_else(
    catalog: Catalog, wire: Wire, error: Exception, kind: type[Exception], words: str
) -> None:
    """What it is stays unknown, so nothing with arguments is sent."""

    def fail(request: httpx2.Request) -> httpx2.Response:
        raise error

    async with make_client(catalog, wire, {}) as opencode:
        wire.answer = fail
        with pytest.raises(kind, match=words):
            await opencode.call("session_create", title="secret")

    assert requested_paths(wire) == ["/global/health"]
