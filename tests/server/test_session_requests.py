"""Requests of one session (protocol up to 2025-11-25) as an ASGI server passes them on: disconnects, ids, and ends."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import mcp_types as types
import pytest
from anyio.abc import TaskGroup
from starlette.types import Message, Receive, Scope, Send

from opencode_mcp.catalog import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.server.http import session_responses
from opencode_mcp.server.http.session_responses import BUFFERED_MESSAGES
from opencode_mcp.server.http.sessions import SessionRouter
from opencode_mcp.server.lifespan import RequestContext
from opencode_mcp.settings import Settings
from tests.eventually import eventually

pytestmark = pytest.mark.anyio

HEADERS: Mapping[str, str] = {
    "accept": "application/json, text/event-stream",
    "content-type": "application/json",
    "mcp-protocol-version": "2025-11-25",
}
IDLE_SECONDS = 0.01
RequestId = str | int


@dataclass
class Exchange:
    """An HTTP request and its response, seen by the server that runs the application.

    As with uvicorn, `receive` waits for the disconnect once the body has been read, and what is sent after it is
    dropped. While the client `is_slow`, `send` waits.
    """

    method: str
    body: bytes
    headers: Mapping[str, str]
    is_slow: bool = False
    sent: list[Message] = field(default_factory=list[Message])
    disconnected: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)

    @property
    def scope(self) -> Scope:
        """The scope of the request."""
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        return {"type": "http", "method": self.method, "path": "/mcp", "query_string": b"", "headers": headers}

    async def receive(self) -> Message:
        """Return the body, and then the disconnect."""
        if self.body:
            body, self.body = self.body, b""
            return {"type": "http.request", "body": body, "more_body": False}
        await self.disconnected.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a part of the response."""
        if not self.disconnected.is_set():
            self.sent.append(message)
            if self.is_slow and message["type"] == "http.response.body":
                await self.disconnected.wait()

    @property
    def statuses(self) -> list[int]:
        """The status of each start of a response, of which there is one."""
        return [message["status"] for message in self.sent if message["type"] == "http.response.start"]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The JSON-RPC messages in the response: the data of events, or the whole body."""
        text = b"".join(message.get("body", b"") for message in self.sent).decode()
        lines = [line.removeprefix("data: ") for line in text.splitlines()]
        return [json.loads(line) for line in lines if line.startswith("{")]


@dataclass
class Calls:
    """What a test waits for in its calls, and what it lets them wait for."""

    begun: list[RequestId] = field(default_factory=list[RequestId])
    ended: list[RequestId] = field(default_factory=list[RequestId])
    cancelled: list[RequestId] = field(default_factory=list[RequestId])
    proceed: dict[RequestId, anyio.Event] = field(default_factory=dict[RequestId, anyio.Event])
    cleaned_up: anyio.Event = field(default_factory=anyio.Event)

    def note_begin(self, context: RequestContext) -> RequestId:
        """Note that a call has begun, and return its id."""
        assert context.request_id is not None
        self.begun.append(context.request_id)
        return context.request_id

    async def wait(self, context: RequestContext, params: types.RequestParams) -> dict[str, Any]:
        """Wait for `proceed`, and return the id of the request."""
        request_id = self.note_begin(context)
        await self.proceed.setdefault(request_id, anyio.Event()).wait()
        self.ended.append(request_id)
        return {"id": request_id}

    async def ask(self, context: RequestContext, params: types.RequestParams) -> dict[str, Any]:
        """Report progress until a client that reads slowly has no room for more, and then ask a question."""
        request_id = self.note_begin(context)
        try:
            for number in range(1 + BUFFERED_MESSAGES):
                await context.session.report_progress(number)
            answer = await context.session.elicit_form("Go on?", {"type": "object"}, request_id)
            return {"action": answer.action}
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(request_id)
            raise
        finally:
            self.ended.append(request_id)

    async def talk(self, context: RequestContext, params: types.RequestParams) -> dict[str, Any]:
        """Report progress until the call is cancelled; cleaning up takes until `cleaned_up`."""
        request_id = self.note_begin(context)
        try:
            while True:
                await context.session.report_progress(1)
                await anyio.sleep(0.01)
        finally:
            with anyio.CancelScope(shield=True):
                await self.cleaned_up.wait()
            self.cancelled.append(request_id)


@dataclass
class OpenSession:
    """An open session, and what its calls do; `tasks` run requests that a test does not wait for.

    `opened` is the exchange of `initialize`. Its client has not read the end of the response, so the session cannot
    become idle before that client disconnects.
    """

    router: SessionRouter
    calls: Calls
    tasks: TaskGroup
    headers: dict[str, str] = field(default_factory=lambda: dict(HEADERS))
    opened: Exchange = field(init=False)

    async def open(self) -> None:
        """Open it."""
        self.opened = self.start(
            "initialize",
            is_slow=True,
            protocolVersion="2025-11-25",
            capabilities={"elicitation": {"form": {}}},
            clientInfo={"name": "test", "version": "0"},
        )
        await eventually(lambda: self.opened.messages)
        self.headers["mcp-session-id"] = dict(self.opened.sent[0]["headers"])[b"mcp-session-id"].decode()

    async def request(self, method: str, request_id: RequestId | None = 1, **params: Any) -> Exchange:
        """Send a request, or with None for its id a notification, and return its exchange once it has ended."""
        exchange = self.start(method, request_id, **params)
        await exchange.ended.wait()
        return exchange

    def start(self, method: str, request_id: RequestId | None = 1, is_slow: bool = False, **params: Any) -> Exchange:
        """Send a request, which asks for progress, and return its exchange."""
        identified = {} if request_id is None else {"id": request_id}
        params = {"_meta": {"progressToken": 1}, **params}
        message = {"jsonrpc": "2.0", **identified, "method": method, "params": params}
        return self._start(Exchange("POST", json.dumps(message).encode(), dict(self.headers), is_slow))

    async def end(self) -> Exchange:
        """End the session."""
        exchange = self._start(Exchange("DELETE", b"", dict(self.headers)))
        await exchange.ended.wait()
        return exchange

    def _start(self, exchange: Exchange) -> Exchange:
        async def run() -> None:
            await self.router(exchange.scope, exchange.receive, exchange.send)
            exchange.ended.set()

        self.tasks.start_soon(run)
        return exchange


@asynccontextmanager
async def open_session() -> AsyncGenerator[OpenSession]:
    """Serve, with methods of this test, and open a session."""
    server, calls = create_server(Settings(), Catalog.from_snapshot()), Calls()
    for method, handler in (("test/wait", calls.wait), ("test/ask", calls.ask), ("test/talk", calls.talk)):
        server.add_request_handler(method, types.RequestParams, handler)

    async def serve_stateless(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("a later version of the protocol")

    with anyio.fail_after(60):
        async with server.lifespan(server), anyio.create_task_group() as tasks:
            session = OpenSession(SessionRouter(server, serve_stateless, IDLE_SECONDS, 10), calls, tasks)
            await session.open()
            yield session
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("is_slow", [False, True], ids=["", "and reads slowly"])
async def test_a_client_that_disconnects_with_a_question_open_holds_no_session(is_slow: bool) -> None:
    """Its request ends, and the idle time cancels the call; the call does not take the disconnect for an answer."""
    async with open_session() as session:
        exchange = session.start("test/ask", is_slow=is_slow)
        last = "notifications/progress" if is_slow else "elicitation/create"
        await eventually(lambda: exchange.messages and exchange.messages[-1].get("method") == last)
        await anyio.wait_all_tasks_blocked()
        exchange.disconnected.set()
        await exchange.ended.wait()
        assert session.calls.ended == []
        session.opened.disconnected.set()

        await eventually(lambda: len(session.router) == 0)
        assert session.calls.cancelled == [1]


async def test_a_client_that_disconnects_while_progress_is_reported_holds_no_session() -> None:
    """What is sent to it is dropped, and nothing else says that it is not there."""
    async with open_session() as session:
        session.calls.cleaned_up.set()
        exchange = session.start("test/talk")
        await eventually(lambda: exchange.messages)
        exchange.disconnected.set()
        session.opened.disconnected.set()

        await eventually(lambda: len(session.router) == 0)
        assert exchange.ended.is_set()
        assert session.calls.cancelled == [1]


async def test_a_client_that_disconnects_before_the_first_message_holds_no_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its request ends when it would have become a stream."""
    monkeypatch.setattr(session_responses, "PING_SECONDS", 0.1)
    async with open_session() as session:
        exchange = session.start("test/wait")
        await eventually(lambda: session.calls.begun)
        exchange.disconnected.set()
        session.opened.disconnected.set()

        await eventually(lambda: len(session.router) == 0)
        assert exchange.ended.is_set()
        assert session.calls.ended == []


async def test_a_call_goes_on_after_a_disconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client cancels a call with a notification; the session serves its next request meanwhile."""
    monkeypatch.setattr(session_responses, "PING_SECONDS", 0.01)
    async with open_session() as session:
        exchange = session.start("test/wait", 5)
        await eventually(lambda: exchange.sent)
        exchange.disconnected.set()
        await exchange.ended.wait()
        assert (await session.request("ping", 6)).messages[0]["id"] == 6
        session.calls.proceed[5].set()
        await eventually(lambda: session.calls.ended)

        assert session.calls.ended == [5]
        assert len(session.router) == 1


async def test_a_number_and_a_text_are_different_ids() -> None:
    """Each request gets its own result, whichever is first."""
    async with open_session() as session:
        exchanges: dict[RequestId, Exchange] = {}
        for request_id in (7, "7"):
            exchanges[request_id] = session.start("test/wait", request_id)
            await eventually(lambda: len(session.calls.begun) == len(exchanges))
        for request_id in ("7", 7):
            session.calls.proceed[request_id].set()
            await exchanges[request_id].ended.wait()

        for request_id, exchange in exchanges.items():
            assert exchange.messages == [{"jsonrpc": "2.0", "id": request_id, "result": {"id": request_id}}]


@pytest.mark.parametrize("content_type", ["application/json", "application/json, text/plain"])
@pytest.mark.parametrize("request_id", [7, "7"])
async def test_an_id_in_use_is_refused(request_id: RequestId, content_type: str) -> None:
    """The request that uses it gets its own result; then the id can be used again."""
    async with open_session() as session:
        first = session.start("test/wait", request_id)
        await eventually(lambda: session.calls.begun)
        session.headers["content-type"] = content_type
        second = await session.request("ping", request_id)
        session.calls.proceed[request_id].set()
        await first.ended.wait()
        third = await session.request("ping", request_id)

        assert second.statuses == [400]
        assert second.messages[0]["id"] is None
        assert second.messages[0]["error"]["code"] == types.INVALID_REQUEST
        assert "id is in use" in second.messages[0]["error"]["message"]
        assert first.messages == [{"jsonrpc": "2.0", "id": request_id, "result": {"id": request_id}}]
        assert third.messages == [{"jsonrpc": "2.0", "id": request_id, "result": {}}]


async def test_a_stream_without_an_answer_ends_with_an_error() -> None:
    """A call that was cancelled and cleans up when the session ends has no answer, and its response has begun."""
    async with open_session() as session:
        exchange = session.start("test/talk", 3)
        await eventually(lambda: exchange.messages)
        await session.request("notifications/cancelled", None, requestId=3)
        ended = await session.end()
        session.calls.cleaned_up.set()
        await exchange.ended.wait()

        assert ended.statuses == exchange.statuses == [200]
        assert exchange.messages[-1]["id"] == 3
        assert exchange.messages[-1]["error"]["code"] == types.INTERNAL_ERROR
        assert [message["more_body"] for message in exchange.sent[-2:]] == [True, False]
