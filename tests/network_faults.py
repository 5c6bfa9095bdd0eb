"""A proxy between a bridge and OpenCode that does to single requests what networks do to them."""

from __future__ import annotations

import random
import re
import socket
import struct
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Literal

import anyio
from anyio.abc import SocketAttribute, SocketStream

from opencode_mcp.opencode.concurrency import background_task_group

Fault = Literal["slow", "reset", "lost", "truncated", "silent", "busy", "cut"]
"""What happens to a request:

slow: it takes up to 0.3 s longer        reset: it never arrives, and its connection is reset
lost: it arrives, and is reset then      truncated: half of the answer comes
silent: nothing ever comes               busy: the answer is a 429, 502, 503 or 504
cut: a stream ends with its second piece
"""

Policy = Callable[[str, str], Fault | None]
"""Decides by a request's method and target."""

DISCONNECTED = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError)
REQUEST_LINE = re.compile(rb"(GET|POST|PUT|PATCH|DELETE) (\S+) HTTP/1\.1\r\n")
BUSY_STATUSES = ("429 Too Many Requests", "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout")
EVENT_STREAMS = ("/global/event", "/api/event")
"""Those of both generations."""


def cut_streams(number: int) -> Policy:
    """Cut the event stream so often, and leave everything else alone."""
    remaining = [number]

    def decide(method: str, target: str) -> Fault | None:
        if target.startswith(EVENT_STREAMS) and remaining[0]:
            remaining[0] -= 1
            return "cut"
        return None

    return decide


def random_faults(seed: int, fault_share: float = 0.06, silent_share: float = 0.002) -> Policy:
    """Do to a share of the reads, and to every second event stream, whatever can be done; writes are slowed only.

    A server that is busy is so for three reads in a row.
    """
    dice, busy_left = random.Random(seed), [0]

    def decide(method: str, target: str) -> Fault | None:
        if target.startswith(EVENT_STREAMS):
            return "cut" if dice.random() < 0.5 else None
        if method == "GET" and "/connect" not in target:
            if busy_left[0]:
                busy_left[0] -= 1
                return "busy"
            if dice.random() < silent_share:
                return "silent"
            if dice.random() < fault_share:
                fault: Fault = dice.choice(("reset", "lost", "truncated", "busy"))
                busy_left[0] = 2 if fault == "busy" else 0
                return fault
        return "slow" if dice.random() < 0.3 else None

    return decide


class FaultyProxy:
    """Passes on to a port on 127.0.0.1. `faults` counts what was done."""

    def __init__(self, port: int, policy: Policy) -> None:
        self.url = ""
        self.faults: Counter[Fault] = Counter()
        self._port = port
        self._policy = policy
        self._dice = random.Random(port)

    async def serve(self, client: SocketStream) -> None:
        """Serve one connection."""
        async with client:
            with suppress(OSError):
                async with await anyio.connect_tcp("127.0.0.1", self._port) as server, background_task_group() as tasks:
                    connection = Connection(self, client, server)
                    tasks.start_soon(connection.forward_requests, tasks.cancel_scope)
                    await connection.forward_responses()

    def choose_fault(self, piece: bytes) -> Fault | None:
        """Decide what happens to the request that begins with a piece, if one does."""
        request_line = REQUEST_LINE.match(piece)
        fault = self._policy(request_line[1].decode(), request_line[2].decode()) if request_line else None
        if fault is not None:
            self.faults[fault] += 1
        return fault

    def pause_seconds(self) -> float:
        """Return how long a slow request takes longer, in seconds."""
        return self._dice.uniform(0.01, 0.3)

    def busy_response(self) -> bytes:
        """Return the answer of a server that is busy."""
        return f"HTTP/1.1 {self._dice.choice(BUSY_STATUSES)}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()


class Connection:
    """One connection, over which a client sends one request after another."""

    def __init__(self, proxy: FaultyProxy, client: SocketStream, server: SocketStream) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._fault: Fault | None = None

    async def forward_requests(self, scope: anyio.CancelScope) -> None:
        """Pass requests on; the end of this is the end of the connection."""
        with suppress(*DISCONNECTED):
            async for piece in self._client:
                self._fault = fault = self._proxy.choose_fault(piece) or (
                    None if REQUEST_LINE.match(piece) else self._fault
                )
                match fault:
                    case "slow":
                        await anyio.sleep(self._proxy.pause_seconds())
                    case "reset":
                        break
                    case "busy":
                        await self._client.send(self._proxy.busy_response())
                        break
                    case "silent":
                        continue
                    case _:
                        pass
                await self._server.send(piece)
        if self._fault == "reset":
            linger = struct.pack("ii", 1, 0)  # closing is then a reset
            self._client.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        scope.cancel()

    async def forward_responses(self) -> None:
        """Pass responses on."""
        pieces = 0
        with suppress(*DISCONNECTED):
            async for piece in self._server:
                pieces += 1
                match self._fault:
                    case "lost":
                        return
                    case "truncated":
                        await self._client.send(piece[: len(piece) // 2])
                        return
                    case "cut" if pieces > 1:
                        return
                    case _:
                        await self._client.send(piece)


@asynccontextmanager
async def open_faulty_proxy(port: int, policy: Policy) -> AsyncGenerator[FaultyProxy]:
    """Provide the proxy of a port on 127.0.0.1."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, background_task_group() as tasks:
        proxy = FaultyProxy(port, policy)
        proxy.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.start_soon(listener.serve, proxy.serve)
        yield proxy
