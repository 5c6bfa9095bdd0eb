"""Sessions of clients with a protocol up to 2025-11-25, whose requests are answered as JSON where that is enough.

The SDK (mcp 2.3) answers every request of a session with an event stream, which costs as much as the rest of a short
call, or every request of a server as JSON, without progress and without questions to the user. Here it is JSON or an
event stream, by what has to be sent (`session_responses.py`).

A client that disconnects does not cancel its call in these versions: it sends `notifications/cancelled`. As in the SDK,
what the call sends from then on is dropped, and the end of the idle session cancels a call that has not ended.

    POST of a request -> Session._serve -> the SDK's serve_loop -> ResponseRouter -> the response to that POST
    anything else     -> the SDK's transport, and what it receives -> the same serve_loop
"""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio
import mcp_types as types
from anyio.abc import ObjectReceiveStream, ObjectSendStream, TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, AuthorizationContext, authorization_context
from mcp.server.runner import serve_loop
from mcp.server.streamable_http import (
    CONTENT_TYPE_JSON,
    REQUEST_CANCELLED,
    StreamableHTTPServerTransport,
    check_accept_headers,
)
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import ValidationError
from starlette.requests import Request

from opencode_mcp.server.bridge_server import BridgeServer

from .request_validation import SESSION_ID_HEADER, replay_first
from .session_responses import BUFFERED_MESSAGES, SESSION_ENDED, ResultOrError, error_response, send_response

if TYPE_CHECKING:
    from mcp.shared._stream_protocols import ReadStream, WriteStream
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    Received = SessionMessage | Exception
    Envelope = tuple[Context | None, Received]
    RequestStreams = dict[types.RequestId, MemoryObjectSendStream[types.JSONRPCMessage]]

SDK_CHECKS_DISABLED = TransportSecuritySettings(enable_dns_rebinding_protection=False)
"""`HostPolicy` checks Host and Origin: the SDK accepts any text as a port."""

VERSION_HEADER = b"mcp-protocol-version"

log = logging.getLogger(__name__)


class SessionRouter:
    """ASGI application: the sessions by their ids, and `stateless` for later protocol versions."""

    def __init__(self, server: BridgeServer, stateless: ASGIApp, idle_seconds: float, max_sessions: int) -> None:
        self._server, self._stateless = server, stateless
        self._idle_seconds, self._max_sessions = idle_seconds, max_sessions
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        """Return the number of open sessions."""
        return len(self._sessions)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it as the SDK does."""
        headers = dict(scope["headers"])
        version = headers.get(VERSION_HEADER)
        if version is not None and version.decode("latin-1") not in HANDSHAKE_PROTOCOL_VERSIONS:
            await self._stateless(scope, receive, send)
        elif SESSION_ID_HEADER in headers:
            await self._continue(headers[SESSION_ID_HEADER].decode("latin-1"), scope, receive, send)
        elif len(self._sessions) >= self._max_sessions:
            log.warning("a session was refused: %d are open", len(self._sessions))
            await error_response("Too many open sessions", 503, types.INTERNAL_ERROR)(scope, receive, send)
        else:
            await self._open(scope, receive, send)

    async def _continue(self, session_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request of a session; only the credential that opened it can use it."""
        session = self._sessions.get(session_id)
        if session is None or session.owner != owner_of(scope):
            await error_response("Session not found", 404)(scope, receive, send)
            return
        await session(scope, receive, send)
        if session.transport.is_terminated:
            self._sessions.pop(session_id, None)

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open a session for `initialize`; any other request is refused, and leaves none."""
        session_id, statuses = uuid4().hex, list[int]()
        session = self._sessions[session_id] = Session(session_id, owner_of(scope), self._idle_seconds)

        async def send_response(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        try:
            await self._server.opened.tasks.start(self._run, session_id, session)
            await session(scope, receive, send_response)
        finally:
            if not statuses or statuses[0] >= 400:
                await self._discard(session_id, session)

    async def _run(self, session_id: str, session: Session, *, task_status: TaskStatus[None]) -> None:
        """Run a session until it ends."""
        try:
            await session.run(self._server, session_id, task_status)
        except Exception:
            log.exception("a session failed")
        finally:
            await self._discard(session_id, session)

    async def _discard(self, session_id: str, session: Session) -> None:
        self._sessions.pop(session_id, None)
        with anyio.CancelScope(shield=True):
            if not session.transport.is_terminated:
                await session.transport.terminate()


class Session:
    """One session. `owner` is the credential that opened it."""

    def __init__(self, session_id: str, owner: AuthorizationContext | None, idle_seconds: float) -> None:
        self.owner = owner
        self.transport = StreamableHTTPServerTransport(session_id, security_settings=SDK_CHECKS_DISABLED)
        self._headers = {SESSION_ID_HEADER.decode(): session_id}
        self._idle_seconds = idle_seconds
        self._idle_scope = anyio.CancelScope()
        self._open_requests = 0
        self._to_server, self._from_client = anyio.create_memory_object_stream["Envelope"](0)
        self._request_streams: RequestStreams = {}

    async def run(self, server: BridgeServer, session_id: str, task_status: TaskStatus[None]) -> None:
        """Serve until the client ends the session, or sends no request for the idle time."""
        async with self.transport.connect() as (read, write), anyio.create_task_group() as tasks:
            tasks.start_soon(self._relay, read)
            task_status.started()
            try:
                with self._idle_scope:
                    requests, messages = EnvelopeStream(self._from_client), ResponseRouter(self._request_streams, write)
                    await serve_loop(server, requests, messages, lifespan_state=server.opened, session_id=session_id)
            finally:
                for stream in self._request_streams.values():
                    stream.close()
                tasks.cancel_scope.cancel()

    async def _relay(self, read: ReadStream[Received]) -> None:
        """Give the server what the SDK's transport receives."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with self._to_server:
                async for item in read:
                    await self._to_server.send((getattr(read, "last_context", None), item))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; the session does not become idle meanwhile."""
        if self._idle_scope.cancel_called and not self.transport.is_terminated:
            await self.transport.terminate()
        self._open_requests += 1
        self._idle_scope.deadline = math.inf
        try:
            if scope["method"] == "POST":
                await self._post(scope, receive, send)
            else:
                await self.transport.handle_request(scope, receive, send)
        finally:
            self._open_requests -= 1
            if not self._open_requests:
                self._idle_scope.deadline = anyio.current_time() + self._idle_seconds

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and leave anything else to the SDK's transport."""
        received = await receive()
        http_request = Request(scope, receive)
        request = parse_request(http_request, received.get("body", b""))
        if request is None or self.transport.is_terminated:
            await self.transport.handle_request(scope, replay_first(received, receive), send)
        elif request.id in self._request_streams:
            message = "The id is in use: the request that has it is not answered yet"
            await error_response(message, 400)(scope, receive, send)
        else:
            await self._serve(request, http_request, send)

    async def _serve(self, request: types.JSONRPCRequest, http_request: Request, send: Send) -> None:
        """Give a request to the server, and send the messages about it until it is answered."""
        scope, receive = http_request.scope, http_request.receive
        outbound, inbound = anyio.create_memory_object_stream[types.JSONRPCMessage](BUFFERED_MESSAGES)
        self._request_streams[request.id] = outbound
        metadata = ServerMessageMetadata(
            request_context=http_request, on_request_unanswered=partial(self._end_cancelled, request.id)
        )
        try:
            await self._to_server.send((copy_context(), SessionMessage(request, metadata)))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            await error_response(SESSION_ENDED, 500, types.INTERNAL_ERROR)(scope, receive, send)
        else:
            await send_response(request.id, inbound, self._headers, scope, receive, send)
        finally:
            self._request_streams.pop(request.id, None)
            outbound.close()
            inbound.close()

    async def _end_cancelled(self, request_id: types.RequestId) -> None:
        """Answer a cancelled request: only an answer ends its stream in these versions."""
        stream = self._request_streams.get(request_id)
        if stream is not None:
            error = types.ErrorData(code=REQUEST_CANCELLED, message="Request cancelled")
            await stream.send(types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error))


class EnvelopeStream(ObjectReceiveStream["Received"]):
    """A read stream whose messages carry the context of the HTTP request that they came with."""

    def __init__(self, envelopes: MemoryObjectReceiveStream[Envelope]) -> None:
        self._envelopes = envelopes
        self.last_context: Context | None = None

    async def receive(self) -> Received:
        """Return the next message."""
        self.last_context, item = await self._envelopes.receive()
        return item

    async def aclose(self) -> None:
        """Close the stream."""
        self._envelopes.close()


class ResponseRouter(ObjectSendStream[SessionMessage]):
    """A write stream that gives the messages about a request to its stream, and the others to the SDK's transport."""

    def __init__(self, request_streams: RequestStreams, others: WriteStream[SessionMessage]) -> None:
        self._request_streams, self._others = request_streams, others

    async def send(self, item: SessionMessage) -> None:
        """Send a message; one about the request of a client that has disconnected is dropped."""
        request_id = request_of(item)
        stream = None if request_id is None else self._request_streams.get(request_id)
        if stream is None:
            await self._others.send(item)  # which drops a message about a request
            return
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # the client has disconnected
            await stream.send(item.message)

    async def aclose(self) -> None:
        """Close the stream."""
        await self._others.aclose()


def request_of(item: SessionMessage) -> types.RequestId | None:
    """Return the id of the request that a message is about, None if it is about none."""
    if isinstance(item.message, ResultOrError):
        return item.message.id
    return item.metadata.related_request_id if isinstance(item.metadata, ServerMessageMetadata) else None


def parse_request(http_request: Request, body: bytes) -> types.JSONRPCRequest | None:
    """Return the request of a session in a POST that takes either form of answer; None for anything else."""
    if SESSION_ID_HEADER.decode() not in http_request.headers:
        return None
    content_types = http_request.headers.get("content-type", "").partition(";")[0].split(",")
    if CONTENT_TYPE_JSON not in map(str.strip, content_types):
        return None
    if not all(check_accept_headers(http_request)):
        return None
    try:
        message = types.jsonrpc_message_adapter.validate_json(body, by_name=False)
    except ValidationError:
        return None
    return message if isinstance(message, types.JSONRPCRequest) and message.method != "initialize" else None


def owner_of(scope: Scope) -> AuthorizationContext | None:
    """Return the credential of a request; None without authentication."""
    user = scope.get("user")
    return authorization_context(user) if isinstance(user, AuthenticatedUser) else None
