"""The stdio transport: lines -> messages -> the server -> messages -> lines, until stdin ends or a signal comes.

The SDK's transport (mcp 2.3) does not answer a malformed request, treats one with an id such as 2.5 as a notification,
and waits without limit for a client that closed stdin and does not read stdout. It is used where stdin or stdout is not
a pipe (a terminal, a file), and on Windows.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import anyio
import mcp_types as types
from anyio.abc import ObjectReceiveStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from opencode_mcp.server.bridge_server import BridgeServer
from opencode_mcp.server.jsonrpc import envelope_error

from .first_answer import NOT_ANSWERED, FirstAnswer
from .streams import PipeReader, PipeWriter, stdio_pipes

log = logging.getLogger(__name__)

MERGED_MESSAGES = 32

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
"""SIGBREAK is what Windows sends a process for Ctrl-Break, and what its parent can send it."""


async def serve_stdio(server: BridgeServer, first: FirstAnswer = NOT_ANSWERED) -> None:
    """Serve one client over stdin and stdout until stdin ends, or a signal comes and the calls have ended.

    `first` was read from stdin, and maybe answered, before the server was there.

    After the cleanup the process raises the signal again and dies of it, as its parent expects. (Where stdin is not a
    pipe, a thread reads it that cannot be cancelled, so the process could not end otherwise.)
    """
    async with stdio_streams(first) as (read, write):
        signum = await serve_until_signal(
            lambda: server.run(read, write, server.create_initialization_options()), server.shutdown.drain
        )
        if signum is not None:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)


async def serve_until_signal(
    serve: Callable[[], Awaitable[None]], drain: Callable[[], Awaitable[None]]
) -> signal.Signals | None:
    """Run `serve` until it returns, or until a signal arrives and `drain` returns; return the signal."""
    received: list[signal.Signals] = []

    def handle(signum: signal.Signals) -> None:
        if received:  # a second signal cancels at once
            tasks.cancel_scope.cancel()
        received.append(signum)
        tasks.start_soon(drain_and_cancel)

    async def drain_and_cancel() -> None:
        await drain()
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        with handle_signals(handle):
            await serve()
        tasks.cancel_scope.cancel()
    return received[0] if received else None


@contextmanager
def handle_signals(handle: Callable[[signal.Signals], None]) -> Generator[None]:
    """Call `handle` in the event loop for each of STOP_SIGNALS that arrives in the block.

    Not with `anyio.open_signal_receiver`: the event loop of Windows has no `add_signal_handler`. But a signal wakes it
    (`signal.set_wakeup_fd` in asyncio), and Python then runs the handler in the main thread.
    """
    loop = asyncio.get_running_loop()

    def schedule(number: int, frame: object) -> None:
        loop.call_soon_threadsafe(handle, signal.Signals(number))

    previous = {number: signal.signal(number, schedule) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@asynccontextmanager
async def stdio_streams(first: FirstAnswer) -> AsyncGenerator[tuple[Any, Any]]:
    """Provide what `Server.run` reads from and writes to; the caller closes both.

    They close at the end of stdin, and when the client stops reading stdout.
    """
    with stdio_pipes(first.read) as streams:
        if streams:
            async with message_streams(streams["stdin"], streams["stdout"], first.response) as both:
                yield both
        else:
            async with stdio_server() as both:
                yield both


@asynccontextmanager
async def message_streams(
    lines: PipeReader, writer: PipeWriter, written: Mapping[str, Any] | None = None
) -> AsyncGenerator[tuple[Any, Any]]:
    """Provide message streams over a line reader and a writer; the response `written` is not written again."""
    write, outbound = anyio.create_memory_object_stream[SessionMessage](0)

    async def send() -> None:
        async with outbound:
            try:
                await send_lines(outbound, writer, written)
            except (BrokenPipeError, ConnectionResetError) as error:
                log.warning("the client has stopped reading stdout: %s", error)
                lines.end()  # shut down as at the end of stdin
                async for _ in outbound:
                    pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        yield MessageReader(lines, write.clone()), write
        lines.end()


class MessageReader(ObjectReceiveStream[SessionMessage]):
    """Reads valid messages from lines, and answers invalid ones with a JSON-RPC error.

    The task that dispatches messages reads them here. Another task, with a stream between the two, would hand them over
    one by one: requests that were read together would neither be dispatched nor be answered together.
    """

    def __init__(self, lines: PipeReader, responses: MemoryObjectSendStream[SessionMessage]) -> None:
        self._lines = lines
        self._responses = responses

    async def receive(self) -> SessionMessage:
        """Return the next message.

        Raises:
            EndOfStream: there is none.
        """
        while True:
            line = await self._lines.receive()
            if not line.strip():
                continue
            try:
                message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValidationError:
                message = None
            error = envelope_error(line) if message is None or isinstance(message, types.JSONRPCNotification) else None
            if error is not None:
                await self._answer(error)
            elif message is not None:
                return SessionMessage(message)

    async def _answer(self, error: types.JSONRPCError) -> None:
        try:
            await self._responses.send(SessionMessage(error))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._lines.end()  # the server has ended

    async def aclose(self) -> None:
        """Read and answer no more."""
        self._lines.end()
        await self._responses.aclose()


async def send_lines(
    outbound: MemoryObjectReceiveStream[SessionMessage], writer: PipeWriter, written: Mapping[str, Any] | None = None
) -> None:
    """Write each message as a line, except the response to the request that `written` has answered.

    Messages that wait are written together: each write wakes the client.
    """
    async for first in outbound:
        lines: list[str] = []
        for item in (first, *take_waiting(outbound)):
            line = item.message.model_dump_json(by_alias=True, exclude_unset=True)
            if written is not None and is_response_to(item.message, written["id"]):
                if (response := json.loads(line)) != written:
                    log.error("initialize was answered with %s, and then with %s", written, response)
                written = None
                continue
            lines.append(line + "\n")
        await writer.write("".join(lines))


def take_waiting(outbound: MemoryObjectReceiveStream[SessionMessage]) -> Iterator[SessionMessage]:
    """Yield the messages that wait to be written, up to MERGED_MESSAGES."""
    with suppress(anyio.WouldBlock, anyio.EndOfStream):
        for _ in range(MERGED_MESSAGES):
            yield outbound.receive_nowait()


def is_response_to(message: types.JSONRPCMessage, request_id: str | int) -> bool:
    """Whether a message is the response to a request."""
    return isinstance(message, types.JSONRPCResponse | types.JSONRPCError) and message.id == request_id
