"""A TCP proxy that cuts OpenCode's event stream while a task is at work, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, SocketStream

from opencode_mcp.opencode.background import background

GONE = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError)
STREAM = b"GET /global/event"


@dataclass
class CuttingProxy:
    """Passes on to a port; each event stream is cut at its second piece, `cuts_left` times."""

    port: int
    cuts_left: int
    cuts: int = 0
    url: str = ""

    async def serve(self, client: SocketStream) -> None:
        """Serve one connection. A stream of events is the last thing that a connection is used for."""
        with suppress(*GONE):
            async with client, await anyio.connect_tcp("127.0.0.1", self.port) as server:
                async with anyio.create_task_group() as tasks:
                    watched = anyio.Event()
                    tasks.start_soon(self.send, client, server, watched)
                    await self.receive(server, client, watched)
                    tasks.cancel_scope.cancel()

    async def send(self, client: ByteReceiveStream, server: ByteSendStream, watched: anyio.Event) -> None:
        """Pass requests on, and see which of them asks for events."""
        with suppress(*GONE):
            async for piece in client:
                if piece.startswith(STREAM):
                    watched.set()
                await server.send(piece)

    async def receive(self, server: ByteReceiveStream, client: ByteSendStream, watched: anyio.Event) -> None:
        """Pass responses on, unless the connection is to be cut."""
        pieces = 0
        async for piece in server:
            pieces += watched.is_set()
            if pieces > 1 and self.cuts_left:
                self.cuts_left, self.cuts = self.cuts_left - 1, self.cuts + 1
                return
            await client.send(piece)


@asynccontextmanager
async def cutting_proxy(port: int, cuts: int) -> AsyncGenerator[CuttingProxy]:
    """Provide the proxy of a port on 127.0.0.1."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, background() as tasks:
        proxy = CuttingProxy(port, cuts)
        proxy.url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.start_soon(listener.serve, proxy.serve)
        yield proxy
