"""How requests of a session (protocol up to 2025-11-25) are answered over HTTP: as JSON, or as an event stream."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
import mcp_types as types
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.server.http import session_responses
from opencode_mcp.server.http.app import create_http_app
from opencode_mcp.server.lifespan import RequestContext
from opencode_mcp.settings import Settings
from tests.eventually import eventually

pytestmark = pytest.mark.anyio

ACCEPT = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}
STREAM, JSON = "text/event-stream", "application/json"


@dataclass
class Calls:
    """What a test waits for in the calls of its methods."""

    begun: list[str] = field(default_factory=list[str])
    ended: list[str] = field(default_factory=list[str])
    proceed: anyio.Event = field(default_factory=anyio.Event)


@dataclass
class SessionClient:
    """A client that has opened a session."""

    http: httpx2.AsyncClient
    calls: Calls
    headers: dict[str, str]

    async def post(self, method: str, number: Any = 2, **params: Any) -> httpx2.Response:
        """Send a request, or with None for its number a notification."""
        identified = {} if number is None else {"id": number}
        message = {"jsonrpc": "2.0", **identified, "method": method, "params": params}
        return await self.http.post("/mcp", json=message, headers=self.headers)


@asynccontextmanager
async def open_client() -> AsyncGenerator[SessionClient]:
    """Serve, with methods of this test, and open a session."""
    settings, calls = Settings.load({"token": "a token of thirty-two characters"}, {}), Calls()
    server = create_server(settings, Catalog.from_snapshot())

    async def report(context: RequestContext, params: types.RequestParams) -> dict[str, Any]:
        await context.session.report_progress(1, None, "working")
        return {"done": True}

    async def wait(context: RequestContext, params: types.RequestParams) -> dict[str, Any]:
        calls.begun.append(str(context.request_id))
        await calls.proceed.wait()
        calls.ended.append(str(context.request_id))
        return {"done": True}

    async def ask(context: RequestContext, params: types.RequestParams) -> dict[str, Any]:
        answer = await context.session.elicit_form("Go on?", {"type": "object"}, context.request_id)
        return {"action": answer.action}

    for method, handler in (("test/report", report), ("test/wait", wait), ("test/ask", ask)):
        server.add_request_handler(method, types.RequestParams, handler)
    app = create_http_app(server, settings, "127.0.0.1", "/mcp")
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1:8000") as http,
    ):
        headers = {**ACCEPT, "authorization": "Bearer a token of thirty-two characters"}
        client = SessionClient(http, calls, headers)
        opened = await client.post(
            "initialize",
            protocolVersion="2025-11-25",
            capabilities={"elicitation": {"form": {}}},
            clientInfo={"name": "test", "version": "0"},
        )
        headers["mcp-session-id"] = opened.headers["mcp-session-id"]
        assert (await client.post("notifications/initialized", None)).status_code == 202
        yield client


def media_type(response: httpx2.Response) -> str:
    """The media type of a response."""
    return response.headers["content-type"]


def events_of(response: httpx2.Response) -> list[dict[str, Any]]:
    """The messages in an event stream."""
    return [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("meta", [{}, {"progressToken": 7}], ids=["no token", "a progress token"])
async def test_a_request_without_earlier_messages_is_answered_as_json(meta: dict[str, Any]) -> None:
    """Whether the client asked for progress or not; the session is named, as in an event stream."""
    async with open_client() as client:
        result = await client.post("ping", _meta=meta)
        error = await client.post("test/none", 3)

    assert (result.status_code, media_type(result)) == (200, JSON)
    assert result.json() == {"jsonrpc": "2.0", "id": 2, "result": {}}
    assert result.headers["mcp-session-id"] == client.headers["mcp-session-id"]
    assert (error.status_code, error.json()["id"], error.json()["error"]["code"]) == (200, 3, types.METHOD_NOT_FOUND)


async def test_progress_is_sent_before_the_result() -> None:
    """As an event stream, which ends with the result."""
    async with open_client() as client:
        answer = await client.post("test/report", _meta={"progressToken": "p"})

    assert media_type(answer) == STREAM
    progress, result = events_of(answer)
    assert progress["params"] == {"progressToken": "p", "progress": 1, "message": "working"}
    assert result == {"jsonrpc": "2.0", "id": 2, "result": {"done": True}}


async def test_a_question_is_sent_before_the_result() -> None:
    """On the stream of its call; its answer is a POST of its own."""
    async with open_client() as client, anyio.create_task_group() as tasks:
        answers: list[httpx2.Response] = []

        async def call() -> None:
            answers.append(await client.post("test/ask"))

        tasks.start_soon(call)

        async def decline() -> int:
            message = {"jsonrpc": "2.0", "id": 1, "result": {"action": "decline"}}
            return (await client.http.post("/mcp", json=message, headers=client.headers)).status_code

        assert await eventually(decline, until=lambda status: status == 202 and bool(answers)) == 202

        assert media_type(answers[0]) == STREAM
        question, result = events_of(answers[0])
        assert (question["method"], question["params"]["message"]) == ("elicitation/create", "Go on?")
        assert result["result"] == {"action": "decline"}


async def test_a_silent_request_becomes_a_stream_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which end a proxy's time without a byte."""
    monkeypatch.setattr(session_responses, "PING_SECONDS", 0.01)
    async with open_client() as client, anyio.create_task_group() as tasks:

        async def proceed() -> None:
            await eventually(lambda: client.calls.begun)
            await anyio.sleep(0.1)
            client.calls.proceed.set()

        tasks.start_soon(proceed)
        answer = await client.post("test/wait")

        assert media_type(answer) == STREAM
        assert answer.text.startswith(": ping\r\n\r\n")
        assert events_of(answer) == [{"jsonrpc": "2.0", "id": 2, "result": {"done": True}}]


async def test_a_cancelled_request_is_answered() -> None:
    """With -32800 in an event stream, as the SDK does, and its call is cancelled."""
    async with open_client() as client, anyio.create_task_group() as tasks:

        async def cancel() -> None:
            await eventually(lambda: client.calls.begun)
            assert (await client.post("notifications/cancelled", None, requestId=2)).status_code == 202

        tasks.start_soon(cancel)
        answer = await client.post("test/wait")

        assert media_type(answer) == STREAM
        assert [event["error"]["code"] for event in events_of(answer)] == [-32800]
        assert client.calls.ended == []


async def test_the_end_of_a_session_answers_its_requests() -> None:
    """And the id of the session is unknown from then on."""
    async with open_client() as client, anyio.create_task_group() as tasks:

        async def end() -> None:
            await eventually(lambda: client.calls.begun)
            assert (await client.http.delete("/mcp", headers=client.headers)).status_code == 200

        tasks.start_soon(end)
        answer = await client.post("test/wait")
        later = await client.post("ping", 3)

        assert answer.json()["error"]["message"] in {
            "Connection closed",
            "Session terminated before the request completed",
        }
        assert later.status_code == 404


async def test_a_client_that_disconnects_does_not_cancel_its_call() -> None:
    """It sends a notification to cancel one; the session serves its next request."""
    async with open_client() as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.post, "test/wait", 5)
            await eventually(lambda: client.calls.begun)
            tasks.cancel_scope.cancel()
        assert (await client.post("ping", 6)).json()["id"] == 6
        client.calls.proceed.set()
        await eventually(lambda: client.calls.ended)

    assert client.calls.begun == client.calls.ended == ["5"]


async def test_a_request_outside_of_a_session_is_refused() -> None:
    """As by the SDK; only `initialize` opens one."""
    async with open_client() as client:
        session_id = client.headers.pop("mcp-session-id")
        refused = await client.post("tools/list")
        client.headers["mcp-session-id"] = session_id
        assert (await client.post("ping")).status_code == 200

    assert (refused.status_code, refused.json()["error"]["code"]) == (400, types.INVALID_REQUEST)
