"""A stream of a connected socket on this machine."""

from __future__ import annotations

import socket
from contextlib import suppress

import anyio
from anyio.abc import ByteStream

CONNECT_SECONDS = 1.0


class SocketStream(ByteStream):
    """A connected socket. anyio's own stream of a Unix socket raises InvalidStateError in the event loop if a read is
    cancelled just as data arrives (anyio 4.16)."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    @classmethod
    def connect(cls, address: str | tuple[str, int]) -> SocketStream | None:
        """Connect on this machine, which does not block; None if no process listens."""
        connection = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        connection.settimeout(CONNECT_SECONDS)
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            return None
        connection.setblocking(False)
        return cls(connection)

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        """Receive some bytes.

        Raises:
            EndOfStream, BrokenResourceError: the other side has closed the connection.
        """
        while True:
            await anyio.wait_readable(self._connection)
            with suppress(BlockingIOError):
                try:
                    data = self._connection.recv(max_bytes)
                except ConnectionError as error:
                    raise anyio.BrokenResourceError from error
                if not data:
                    raise anyio.EndOfStream
                return data

    async def send(self, item: bytes) -> None:
        """Send all bytes.

        Raises:
            BrokenResourceError: the other side has closed the connection.
        """
        while item:
            await anyio.wait_writable(self._connection)
            with suppress(BlockingIOError):
                try:
                    item = item[self._connection.send(item) :]
                except ConnectionError as error:
                    raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        """Close the sending side."""
        self._connection.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Close the connection."""
        self._connection.close()
