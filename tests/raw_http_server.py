"""A server on 127.0.0.1 that answers each request with given bytes, or does with the connection what a test tells."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio
from anyio.abc import SocketAttribute, SocketStream

from opencode_mcp.opencode.concurrency import background_task_group

Answer = bytes | Callable[[SocketStream], Awaitable[None]]
"""Bytes, or a function that serves the connection from here on; it is closed when the function returns."""

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass
class RawServer:
    """`answer` is asked for each request; `requests` are the bytes of each, `ended` the connections that have ended."""

    port: int
    answer: Callable[[bytes], Answer] = lambda _: OK
    requests: list[bytes] = field(default_factory=list[bytes])
    connections: int = 0
    ended: int = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def set_answers(self, *answers: Answer) -> None:
        """Give these answers in turn, then OK."""
        remaining = list(answers)
        self.answer = lambda _: remaining.pop(0) if remaining else OK

    async def serve(self, stream: SocketStream) -> None:
        """Serve one connection."""
        self.connections += 1
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            async with stream:
                await self.serve_requests(stream)
        self.ended += 1

    async def serve_requests(self, stream: SocketStream) -> None:
        """Answer the requests of a connection."""
        while True:
            request = await read_request(stream)
            self.requests.append(request)
            answer = self.answer(request)
            if not isinstance(answer, bytes):
                await answer(stream)
                return
            await stream.send(answer)


async def read_request(stream: SocketStream) -> bytes:
    """Read a request whole.

    Raises:
        EndOfStream: the client has closed the connection.
    """
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive()
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    parts, missing = [body], int(fields.get(b"content-length", 0)) - len(body)
    while missing > 0:
        parts.append(await stream.receive())
        missing -= len(parts[-1])
    return head + b"\r\n\r\n" + b"".join(parts)


def send_and_close(data: bytes) -> Answer:
    """Answer with bytes, after which the connection ends."""

    async def answer(stream: SocketStream) -> None:
        await stream.send(data)

    return answer


def send_and_wait(data: bytes) -> Answer:
    """Answer with bytes, and keep the connection until the client closes it."""

    async def answer(stream: SocketStream) -> None:
        if data:
            await stream.send(data)
        await stream.receive()

    return answer


@asynccontextmanager
async def raw_server() -> AsyncGenerator[RawServer]:
    """Run the server while the block lasts."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, background_task_group() as tasks:
        server = RawServer(listener.extra(SocketAttribute.local_port))
        tasks.start_soon(listener.serve, server.serve)
        yield server
