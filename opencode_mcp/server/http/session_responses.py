"""The response to one request of a session: JSON where that is enough, else an event stream.

It becomes an event stream once something has to be sent before the answer, or after `PING_SECONDS`, as in the SDK (mcp
2.3) from protocol 2026-07-28 on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream
from mcp.server.streamable_http import REQUEST_CANCELLED
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    Messages = MemoryObjectReceiveStream[types.JSONRPCMessage]

PING_SECONDS = 15.0
"""A request without an answer for this time is answered with an event stream, and each time again with a comment:
proxies close a silent connection."""
BUFFERED_MESSAGES = 16
"""How many messages of one call wait for a client that reads slowly; then the call waits."""

EVENT_STREAM_HEADERS: Mapping[str, str] = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache, no-transform",
    "connection": "keep-alive",
    "x-accel-buffering": "no",
}
SESSION_ENDED = "Session terminated before the request completed"

ResultOrError = types.JSONRPCResponse | types.JSONRPCError
"""The messages that answer a request."""


async def send_response(
    request_id: types.RequestId,
    messages: Messages,
    headers: Mapping[str, str],
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Send the messages about a request, of which the answer is the last.

    A cancelled request gets a stream in any case: a client of the SDK (mcp 2.3) that ends before it has read such a
    JSON answer fails. If the session ends before the first message, the response is a 500.
    """
    try:
        message = await next_message(messages)
    except anyio.EndOfStream:
        await error_response(SESSION_ENDED, 500, types.INTERNAL_ERROR)(scope, receive, send)
        return
    if isinstance(message, ResultOrError) and not is_cancelled(message):
        await Response(dump(message), media_type="application/json", headers=headers)(scope, receive, send)
    else:
        await send_events(request_id, message, messages, headers, receive, send)


async def send_events(
    request_id: types.RequestId,
    message: types.JSONRPCMessage | None,
    messages: Messages,
    headers: Mapping[str, str],
    receive: Receive,
    send: Send,
) -> None:
    """Send `message` and those after it as events until the answer, or until the client disconnects.

    If the session ends without an answer, an error is the last event.
    """
    raw_headers = [(name.encode(), value.encode()) for name, value in {**EVENT_STREAM_HEADERS, **headers}.items()]
    await send({"type": "http.response.start", "status": 200, "headers": raw_headers})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cancel_on_disconnect, receive, tasks.cancel_scope)
        try:
            while not isinstance(message, ResultOrError):
                await send({"type": "http.response.body", "body": format_event(message), "more_body": True})
                message = await next_message(messages)
        except anyio.EndOfStream:
            error = types.ErrorData(code=types.INTERNAL_ERROR, message=SESSION_ENDED)
            message = types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error)
        await send({"type": "http.response.body", "body": format_event(message), "more_body": False})
        tasks.cancel_scope.cancel()


async def cancel_on_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    """Cancel a scope when the client disconnects: uvicorn drops what is sent after that, and raises no error."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def next_message(messages: Messages) -> types.JSONRPCMessage | None:
    """Return the next message, or None if there is none for PING_SECONDS.

    Raises:
        anyio.EndOfStream: the session has ended.
    """
    with anyio.move_on_after(PING_SECONDS):
        return await messages.receive()
    return None


def format_event(message: types.JSONRPCMessage | None) -> bytes:
    """Return a message as an event, and None as a comment."""
    return b": ping\r\n\r\n" if message is None else b"event: message\r\ndata: %b\r\n\r\n" % dump(message)


def is_cancelled(message: ResultOrError) -> bool:
    """Whether an answer only ends a cancelled request."""
    return isinstance(message, types.JSONRPCError) and message.error.code == REQUEST_CANCELLED


def dump(message: types.JSONRPCMessage) -> bytes:
    """Return a message as it is sent."""
    return message.model_dump_json(by_alias=True, exclude_unset=True).encode()


def error_response(message: str, status: int, code: int = types.INVALID_REQUEST) -> Response:
    """Return an error about no particular request."""
    error = types.JSONRPCError(jsonrpc="2.0", id=None, error=types.ErrorData(code=code, message=message))
    return Response(dump(error), status, media_type="application/json")
