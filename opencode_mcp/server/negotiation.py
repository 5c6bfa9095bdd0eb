"""Protocol negotiation: a server/discover before the first other request does not fix the protocol version.

In the SDK (mcp 2.3) the first request of a connection fixes the version; after server/discover, `initialize` fails with
-32022. GitHub Copilot CLI sends `initialize` when its server/discover has no answer within 9 s, and would then have no
tools. Here each leading server/discover is answered on a connection of its own, and the first other request decides.

A server/discover that declares MCP Tasks decides at once. Claude Code (2.1.332) sends `initialize` after 3 s without an
answer as well, and takes its result if there is one; refused, it stays with 2026-07-28, the only era with tasks.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, cast

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.server.runner import serve_dual_era_loop, serve_loop
from mcp.shared.message import SessionMessage
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    INVALID_REQUEST,
    PROTOCOL_VERSION_META_KEY,
    JSONRPCError,
    JSONRPCRequest,
    JSONRPCResponse,
)

from .jsonrpc import make_error
from .mcp_tasks.extension import EXTENSION_ID

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from mcp.server.models import InitializationOptions
    from mcp.shared._stream_protocols import ReadStream, WriteStream

    Read = ReadStream[SessionMessage | Exception]
    Write = WriteStream[SessionMessage]
    Envelope = tuple[contextvars.Context | None, SessionMessage | Exception]
    Serve = Callable[[Read, Write], Coroutine[Any, Any, None]]

REFUSED = (
    "This connection is of a protocol version before 2026-07-28; a request of that version needs another connection"
)

LEAD_MESSAGES = 8
"""How many messages before the first request are kept, as in the SDK; no client sends more."""


async def serve_connection(
    server: Server[Any],
    read: Read,
    write: Write,
    options: InitializationOptions,
    lifespan: Any,
    raise_exceptions: bool = False,
) -> None:
    """Serve one connection until its read side closes; both streams are closed then."""

    async def serve_stream(stream: Read, responses: Write) -> None:
        await serve_dual_era_loop(
            server,
            stream,
            responses,
            lifespan_state=lifespan,
            init_options=options,
            raise_exceptions=raise_exceptions,
        )

    async with write, read:
        lead: list[Envelope] = []
        async for item in read:
            envelope = (getattr(read, "last_context", None), item)
            if is_discover_request(item) and not declares_tasks(item):
                await answer_discover(serve_stream, envelope, write)
                continue
            if len(lead) < LEAD_MESSAGES or is_request(item):
                lead.append(envelope)
            if is_request(item):
                break
        if lead and modern_request(lead[-1][1]) is not None:
            await serve_stream(ReplayStream(lead, read), write)
        else:  # the SDK's loop for both eras would hand over each message from one task to another
            await serve_loop(
                server,
                HandshakeStream(lead, read, write),
                write,
                lifespan_state=lifespan,
                init_options=options,
                raise_exceptions=raise_exceptions,
            )


async def answer_discover(serve_stream: Serve, envelope: Envelope, write: Write) -> None:
    """Answer one request on a connection of its own, so that it does not decide the version for later ones."""
    sender, rest = anyio.create_memory_object_stream["SessionMessage | Exception"]()
    responses = ResponseStream(write)
    async with anyio.create_task_group() as tasks, sender:
        tasks.start_soon(serve_stream, ReplayStream([envelope], rest), responses)
        await responses.responded.wait()


def modern_request(item: SessionMessage | Exception) -> JSONRPCRequest | None:
    """Return a request that has what each request of 2026-07-28 has, whatever version it names; None for any other
    message. `initialize` does not exist there, and always is one of the handshake."""
    if isinstance(item, Exception) or not isinstance(item.message, JSONRPCRequest):
        return None
    request = item.message
    meta = (request.params or {}).get("_meta")
    is_modern = isinstance(meta, Mapping) and PROTOCOL_VERSION_META_KEY in meta and request.method != "initialize"
    return request if is_modern else None


def is_discover_request(item: SessionMessage | Exception) -> bool:
    """Whether a message is a server/discover request of protocol 2026-07-28, whatever version it names."""
    request = modern_request(item)
    return request is not None and request.method == "server/discover"


def declares_tasks(item: SessionMessage | Exception) -> bool:
    """Whether a server/discover request declares MCP Tasks."""
    assert not isinstance(item, Exception)
    params: dict[str, Any] = getattr(item.message, "params", None) or {}
    capabilities = params["_meta"].get(CLIENT_CAPABILITIES_META_KEY)
    extensions: Any = cast("Any", capabilities).get("extensions") if isinstance(capabilities, Mapping) else None
    return isinstance(extensions, Mapping) and EXTENSION_ID in extensions


def is_request(item: SessionMessage | Exception) -> bool:
    """Whether a message is a request."""
    return not isinstance(item, Exception) and isinstance(item.message, JSONRPCRequest)


class ReplayStream(ObjectReceiveStream["SessionMessage | Exception"]):
    """A read stream that yields the messages of `lead` first, each with its sender's context, and then those of
    `rest`."""

    def __init__(self, lead: list[Envelope], rest: Read) -> None:
        self._lead, self._rest = lead, rest
        self.last_context: contextvars.Context | None = None

    async def receive(self) -> SessionMessage | Exception:
        """Return the next message."""
        if self._lead:
            self.last_context, item = self._lead.pop(0)
            return item
        item = await self._rest.receive()
        self.last_context = getattr(self._rest, "last_context", None)
        return item

    async def aclose(self) -> None:
        """Close the rest."""
        await self._rest.aclose()


class HandshakeStream(ReplayStream):
    """A read stream for a connection of a version before 2026-07-28: requests of that version are refused, as by the
    SDK's loop for both."""

    def __init__(self, lead: list[Envelope], rest: Read, write: Write) -> None:
        super().__init__(lead, rest)
        self._write = write

    async def receive(self) -> SessionMessage | Exception:
        """Return the next message that is not refused."""
        while (request := modern_request(item := await super().receive())) is not None:
            await self._write.send(SessionMessage(make_error(INVALID_REQUEST, REFUSED, request.id)))
        return item


class ResponseStream(ObjectSendStream["SessionMessage"]):
    """A write stream whose `aclose` leaves the wrapped stream open. `responded` is set after the first response."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self.responded = anyio.Event()

    async def send(self, item: SessionMessage) -> None:
        """Write a message."""
        await self._write.send(item)
        if isinstance(item.message, (JSONRPCResponse, JSONRPCError)):
            self.responded.set()

    async def aclose(self) -> None:
        """Leave the wrapped stream open for later requests."""
        self.responded.set()
