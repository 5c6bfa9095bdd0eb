"""Messages over stdin and stdout: lines -> messages -> the server -> messages -> lines.

The SDK's transport (mcp 2.3) does not answer a malformed request, treats one with an id such as 2.5 as a notification,
and waits without limit for a client that closed stdin and does not read stdout. It is used where stdin or stdout is not
a pipe (a terminal, a file), and on Windows.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from .envelopes import envelope_error
from .pipes import PipeWriter, stdio_pipes

if TYPE_CHECKING:
    Received = SessionMessage | Exception

log = logging.getLogger(__name__)


@asynccontextmanager
async def stdio_streams() -> AsyncGenerator[tuple[Any, Any]]:
    """Provide what `Server.run` reads from and writes to; the caller closes both.

    They close at the end of stdin, and when the client stops reading stdout.
    """
    with stdio_pipes() as streams:
        if streams:
            async with message_streams(streams["stdin"], streams["stdout"]) as both:
                yield both
        else:
            async with stdio_server() as both:
                yield both


@asynccontextmanager
async def message_streams(lines: AsyncIterable[str], writer: PipeWriter) -> AsyncGenerator[tuple[Any, Any]]:
    """Provide message streams over a line reader and a writer."""
    inbound, read = anyio.create_memory_object_stream["Received"](0)
    write, outbound = anyio.create_memory_object_stream[SessionMessage](0)
    receive_scope = anyio.CancelScope()

    async def receive() -> None:
        with receive_scope:
            async with inbound, write.clone() as responses:
                await receive_lines(lines, inbound, responses)

    async def send() -> None:
        async with outbound:
            try:
                await send_lines(outbound, writer)
            except (BrokenPipeError, ConnectionResetError) as error:
                log.warning("the client has stopped reading stdout: %s", error)
                receive_scope.cancel()  # shut down as at the end of stdin
                async for _ in outbound:
                    pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        tasks.start_soon(send)
        yield read, write
        receive_scope.cancel()


async def receive_lines(
    lines: AsyncIterable[str],
    inbound: MemoryObjectSendStream[Received],
    responses: MemoryObjectSendStream[SessionMessage],
) -> None:
    """Forward valid messages, and answer invalid ones with a JSON-RPC error."""
    async for line in lines:
        if not line.strip():
            continue
        try:
            message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValidationError:
            message = None
        error = envelope_error(line) if message is None or isinstance(message, types.JSONRPCNotification) else None
        try:
            if error is not None:
                await responses.send(SessionMessage(error))
            elif message is not None:
                await inbound.send(SessionMessage(message))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # the server has ended


async def send_lines(outbound: MemoryObjectReceiveStream[SessionMessage], writer: PipeWriter) -> None:
    """Write each message as a line."""
    async for item in outbound:
        await writer.write(item.message.model_dump_json(by_alias=True, exclude_unset=True) + "\n")
