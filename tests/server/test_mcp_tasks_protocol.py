"""What MCP Tasks require of every server: eras, capability, headers, handles, the caller. No OpenCode is needed."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from opencode_mcp.tasks.mcp_task_handle import MAX_HANDLE_CHARS, TaskHandle, Turn, parse_handle

from .connections import open_memory_streams
from .raw_task_client import EXTENSION, TASKS, TaskClient, meta, open_task_client
from .test_http import AUDIENCE, ISSUER, bearer, issue_token, serve_app
from .test_http import issuer as issuer
from .test_negotiation import INITIALIZE, raw_client

pytestmark = pytest.mark.anyio

SESSION, MESSAGE = "ses_dda529301ffe8PyMdHhqekHOVN", "msg_225ad734b001F6wpY7FcbXzHW6"
TURN = Turn(SESSION, MESSAGE)
HANDLE = f"{TURN}.run_task"
NOT_RUNNING = "http://127.0.0.1:9"
METHODS = ("tasks/get", "tasks/update", "tasks/cancel")
NOT_HANDLES = (
    "",
    "nope",
    SESSION,
    str(TURN),
    f"{TURN}.no_such_tool",
    f"{TURN}.find_text",
    f"{TURN}.start_task",
    f"{HANDLE}.g0",
    f"{HANDLE}.p{'0' * 16}",
    f"{HANDLE}\n",
    "../" + HANDLE,
    HANDLE + "x" * MAX_HANDLE_CHARS,
)


@pytest.fixture
async def client(catalog: Catalog, tmp_path: Path) -> AsyncGenerator[TaskClient]:
    """A client with MCP Tasks of a bridge whose OpenCode does not run."""
    server = create_server(Settings(url=NOT_RUNNING, directory=str(tmp_path)), catalog)
    async with open_memory_streams(server) as streams, open_task_client(streams, TASKS) as client:
        yield client


async def test_a_modern_client_finds_the_extension(client: TaskClient) -> None:
    """In the capabilities of the server, without settings."""
    discovered = await client.request("server/discover")
    assert discovered["capabilities"]["extensions"] == {
        EXTENSION: {},
        "io.modelcontextprotocol/skills": {},
        "io.modelcontextprotocol/ui": {},
    }


async def test_an_older_client_does_not(catalog: Catalog, tmp_path: Path) -> None:
    """Neither the extension nor its methods are there, and no tool says that it can be a task."""
    server = create_server(Settings(url=NOT_RUNNING, directory=str(tmp_path)), catalog)
    async with raw_client(server) as raw:
        await raw.send("initialize", INITIALIZE, 1)
        _, result = await raw.answer()
        assert isinstance(result, dict)
        assert not {"tasks", "extensions"} & result["capabilities"].keys()
        await raw.send("notifications/initialized", {})
        for number, method in enumerate(METHODS, 2):
            await raw.send(method, {"taskId": HANDLE}, number)
            assert await raw.answer() == (number, -32601)
    async with Client(server, mode="legacy") as legacy:
        assert not any(tool.execution for tool in (await legacy.list_tools()).tools)


@pytest.mark.parametrize("method", METHODS)
async def test_the_capability_is_required(client: TaskClient, method: str) -> None:
    """Of every request, whatever the others had."""
    client.capabilities = {"tasks": {"cancel": {}}}
    for params in ({"taskId": HANDLE}, {}):
        error = await client.request(method, **params)
        assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": TASKS})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task_id", NOT_HANDLES)
async def test_what_never_was_a_handle_is_an_error(client: TaskClient, method: str, task_id: str) -> None:
    """Without asking OpenCode."""
    assert (await client.request(method, taskId=task_id))["code"] == -32602


@pytest.mark.parametrize("method", ["tasks/list", "tasks/result"])
async def test_methods_of_the_older_tasks_do_not_exist(client: TaskClient, method: str) -> None:
    """The tasks of 2025-11-25 are another protocol."""
    assert (await client.request(method, taskId=HANDLE))["code"] == -32601


async def test_a_handle_is_not_an_error_while_opencode_is_away(client: TaskClient) -> None:
    """The task works on, as far as is known, and says what is the matter."""
    state = await client.get(HANDLE)
    assert (state["status"], state["taskId"]) == ("working", HANDLE)
    assert state["statusMessage"].startswith("OpenCode does not answer: ")
    for method in METHODS[1:]:
        assert (await client.request(method, taskId=HANDLE, inputResponses={}))["resultType"] == "complete"


async def test_a_handle_of_a_disabled_tool_ends(catalog: Catalog, tmp_path: Path) -> None:
    """--read-only shows, answers and stops nothing that it would not let a tool do."""
    server = create_server(Settings(url=NOT_RUNNING, directory=str(tmp_path), read_only=True), catalog)
    async with open_memory_streams(server) as streams, open_task_client(streams, TASKS) as client:
        state = await client.get(HANDLE)
        assert (state["status"], state["result"]["isError"]) == ("completed", True)
        assert state["result"]["content"][0]["text"] == "run_task is disabled on this server, by --read-only."


async def send(http: httpx2.AsyncClient, method: str, task_id: str, name: str, **headers: str) -> dict[str, Any]:
    """Send a request over HTTP, and return its result or error."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"taskId": task_id, "_meta": meta(TASKS)}}
    sent = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": method,
        "mcp-name": name,
        **headers,
    }
    answer = (await http.post("/mcp", json=message, headers=sent)).json()
    return answer.get("result") or answer["error"]


async def test_the_header_names_the_task() -> None:
    """So that a proxy routes by what the server reads."""
    async with serve_app(url=NOT_RUNNING) as http:
        for method in METHODS:
            assert (await send(http, method, HANDLE, HANDLE))["resultType"] == "complete"
            assert (await send(http, method, HANDLE, f"{HANDLE}x"))["code"] == -32020


@pytest.mark.usefixtures("issuer")
async def test_a_handle_is_its_caller_s() -> None:
    """Over HTTP no other subject can ask for, answer or stop a task by its handle, nor one without a subject."""
    principal = json.dumps(["me", ISSUER, "me"], separators=(",", ":"))
    handle = str(TaskHandle("run_task", (TURN,)).for_call(principal))
    async with serve_app(oauth_issuer=ISSUER, oauth_audience=AUDIENCE, url=NOT_RUNNING) as http:
        me, other = bearer(issue_token(sub="me")), bearer(issue_token(sub="other"))
        for method in METHODS:
            assert (await send(http, method, handle, handle, **me))["resultType"] == "complete"
            assert (await send(http, method, handle, handle, **other))["code"] == -32602
            assert (await send(http, method, HANDLE, HANDLE, **me))["code"] == -32602
    async with serve_app(url=NOT_RUNNING) as http:
        assert (await send(http, METHODS[0], handle, handle))["code"] == -32602


def test_a_handle_survives_its_text() -> None:
    """The text of a handle names all that it holds but the group."""
    bound = TaskHandle("session_summarize", (TURN,), group="0123456789ab").for_call('["client","issuer","me"]')
    assert parse_handle(str(bound)) == bound
    assert len(str(bound)) <= MAX_HANDLE_CHARS
    assert bound.for_call("another").principal != bound.principal
    assert TaskHandle("run_task", (TURN,)) == parse_handle(HANDLE)


def test_each_call_has_a_handle_of_its_own() -> None:
    """Else a second wait for a turn would set the task of the first, which has ended, back to working."""
    wait = TaskHandle("wait_for_tasks", (TURN,))
    assert str(wait.for_call(None)) != str(wait.for_call(None))


def test_the_time_of_a_turn_is_in_its_message() -> None:
    """OpenCode's ids begin with the time; any other id has none."""
    now = time.time()
    message_id = f"msg_{(int((now - 90) * 1000) << 12) & 0xFFFF_FFFF_FFFF:012x}abcdefghijklmn"
    assert abs(Turn(SESSION, message_id).created.timestamp() - (now - 90)) < 1
    assert abs(Turn(SESSION, "msg_mine").created.timestamp() - now) < 10
