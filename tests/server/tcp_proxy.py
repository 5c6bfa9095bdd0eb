"""A way to OpenCode that sees what is sent, and which of its connections carry the event stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio
from anyio.abc import SocketAttribute, SocketStream

from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.concurrency import background_task_group


@dataclass
class RecordingProxy:
    """`open_streams` is how many event streams are open now, `streams_opened` how many ever were; `sent` is what
    clients sent.
    """

    upstream: Endpoint
    url: str = ""
    open_streams: int = 0
    streams_opened: int = 0
    sent: list[bytes] = field(default_factory=list[bytes])

    async def forward(self, client: SocketStream) -> None:
        """Carry one connection until either side closes it."""
        assert self.upstream.url.port is not None
        async with client, await anyio.connect_tcp(self.upstream.url.host, self.upstream.url.port) as server:
            async with background_task_group() as tasks:
                tasks.start_soon(self.forward_responses, server, client, tasks.cancel_scope)
                await self.forward_requests(client, server)

    async def forward_requests(self, client: SocketStream, server: SocketStream) -> None:
        """Carry requests. A connection with an event stream has no other request after it."""
        open_streams = 0
        try:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                while True:
                    data = await client.receive()
                    self.sent.append(data)
                    if data.startswith(b"GET /global/event"):
                        open_streams = 1
                        self.open_streams, self.streams_opened = self.open_streams + 1, self.streams_opened + 1
                    await server.send(data)
        finally:
            self.open_streams -= open_streams

    async def forward_responses(self, server: SocketStream, client: SocketStream, scope: anyio.CancelScope) -> None:
        """Carry answers."""
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                await client.send(await server.receive())
        scope.cancel()


@asynccontextmanager
async def open_recording_proxy(upstream: Endpoint) -> AsyncGenerator[RecordingProxy]:
    """Serve a relay."""
    relay = RecordingProxy(upstream)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    relay.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
    async with listener, background_task_group() as tasks:
        tasks.start_soon(listener.serve, relay.forward)
        yield relay
