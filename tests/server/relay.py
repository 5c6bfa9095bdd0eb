"""A way to OpenCode that sees what is sent, and which of its connections carry the event stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio
from anyio.abc import SocketAttribute, SocketStream

from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.background import background_task_group


@dataclass
class Relay:
    """`feeds` is how many event streams are open now, `opened` how many ever were; `sent` is what clients sent."""

    upstream: Endpoint
    url: str = ""
    feeds: int = 0
    opened: int = 0
    sent: list[bytes] = field(default_factory=list[bytes])

    async def carry(self, client: SocketStream) -> None:
        """Carry one connection until either side closes it."""
        assert self.upstream.url.port is not None
        async with client, await anyio.connect_tcp(self.upstream.url.host, self.upstream.url.port) as server:
            async with background_task_group() as tasks:
                tasks.start_soon(self.back, server, client, tasks.cancel_scope)
                await self.forth(client, server)

    async def forth(self, client: SocketStream, server: SocketStream) -> None:
        """Carry requests. A connection with an event stream has no other request after it."""
        feeds = 0
        try:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                while True:
                    data = await client.receive()
                    self.sent.append(data)
                    if data.startswith(b"GET /global/event"):
                        feeds = 1
                        self.feeds, self.opened = self.feeds + 1, self.opened + 1
                    await server.send(data)
        finally:
            self.feeds -= feeds

    async def back(self, server: SocketStream, client: SocketStream, scope: anyio.CancelScope) -> None:
        """Carry answers."""
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                await client.send(await server.receive())
        scope.cancel()


@asynccontextmanager
async def relayed(upstream: Endpoint) -> AsyncGenerator[Relay]:
    """Serve a relay."""
    relay = Relay(upstream)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    relay.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
    async with listener, background_task_group() as tasks:
        tasks.start_soon(listener.serve, relay.carry)
        yield relay
