"""Serves the HTTP application with uvicorn: graceful shutdown, and a time limit for incoming requests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from opencode_mcp.server.bridge_server import BridgeServer

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

REQUEST_TIMEOUT_SECONDS = 10.0
"""A connection whose request is incomplete after this time (twice this time for the body of a later one) is closed."""
MERGED_BYTES = 16 * 1024
"""A longer write is sent at once."""


async def serve_http(
    server: BridgeServer, application: Starlette, host: str, port: int, listener: socket.socket | None = None
) -> None:
    """Serve the application until a signal arrives and the calls are drained; `listener` already listens there.

    Raises:
        Exception: the application's lifespan failed.
    """
    http_server = make_uvicorn_server(application, host, port, server.shutdown.drain)
    lifespan = application.router.lifespan_context
    failures: list[Exception] = []

    @asynccontextmanager
    async def stop_on_failure(application: Starlette) -> AsyncGenerator[Any]:
        try:
            async with lifespan(application) as state:
                yield state
        except Exception as error:
            failures.append(error)
            http_server.should_exit = True  # else uvicorn would keep serving without a lifespan
            raise

    application.router.lifespan_context = stop_on_failure
    await http_server.serve(None if listener is None else [listener])
    if failures:
        raise failures[0]


def make_uvicorn_server(
    application: Starlette, host: str, port: int, drain: Callable[[], Awaitable[None]]
) -> uvicorn.Server:
    """Return the HTTP server. After a signal it accepts no connection, and closes none before `drain` returns."""
    import uvicorn
    from sse_starlette.sse import AppStatus

    class DrainingServer(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            for listener in self.servers:
                listener.close()
            await drain()
            AppStatus.should_exit = True
            await super().shutdown(sockets)

    AppStatus.disable_automatic_graceful_drain()  # it would close the responses at the first signal
    return DrainingServer(
        uvicorn.Config(
            application,
            host=host,
            port=port,
            log_config=None,
            timeout_graceful_shutdown=1,
            http=RequestTimeoutProtocol,
            ws="none",
        )
    )


class RequestTimeoutProtocol(H11Protocol):
    """Closes a connection whose request does not complete in time; one that waits for its response stays open."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Start the timer."""
        super().connection_made(MergingTransport(transport, self.loop))
        self._last_cycle: Any = None
        self._timer = self.loop.call_later(REQUEST_TIMEOUT_SECONDS, self._check_progress)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer."""
        self._timer.cancel()
        super().connection_lost(exc)

    def _check_progress(self) -> None:
        # While a connection is idle between two requests uvicorn has a timer of its own.
        head_incomplete = self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None
        body_incomplete = self.conn.their_state is h11.SEND_BODY
        if (head_incomplete or body_incomplete) and self.cycle is self._last_cycle:
            self.transport.abort()
            return
        self._last_cycle = self.cycle
        self._timer = self.loop.call_later(REQUEST_TIMEOUT_SECONDS, self._check_progress)


class MergingTransport(asyncio.Transport):
    """Sends what is written in one step of the event loop as one packet, up to MERGED_BYTES.

    uvicorn writes the head of a response and its body one after the other, and each would wake the client.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport, self._loop = transport, loop
        self._pending: list[bytes] = []
        for name in ("abort", "get_extra_info", "is_closing", "pause_reading", "resume_reading"):
            setattr(self, name, getattr(transport, name))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write data before the next step."""
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(bytes(data))
        if len(data) > MERGED_BYTES:  # now, so that the writer learns when the client reads slowly
            self._flush()

    def close(self) -> None:
        """Write what is left, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._pending:
            self._transport.write(b"".join(self._pending))
            self._pending.clear()
