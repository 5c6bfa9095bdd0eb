"""stdin and stdout as lines of text, without the threads of the SDK's transport where they are pipes.

A message costs three hops between threads there, half of what a short call costs in all; and a thread that
reads cannot be cancelled.
"""

from __future__ import annotations

import errno
import os
import select
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import anyio
from anyio.abc import ObjectReceiveStream

from .descriptors import MAX_READ_BYTES, are_stdin_and_stdout_pipes

UNREAD_SECONDS = 5.0
"""A client that has closed stdin must read stdout within this time; while stdin is open it may be slow."""


class PipeReader(ObjectReceiveStream[str]):
    """Reads lines from a pipe; `data` was read from it before. A line that is there is returned without waiting."""

    def __init__(self, descriptor: int, data: bytes = b"") -> None:
        self._descriptor = descriptor
        self._lines = deque[bytes]()
        self._fragments: list[bytes] = []
        self._has_ended = False
        self._wait_scope: anyio.CancelScope | None = None
        self._split(data)

    async def receive(self) -> str:
        """Return the next line, without its end; the last one need not have an end.

        Raises:
            EndOfStream: there is none.
        """
        while not self._lines:
            if self._has_ended:
                raise anyio.EndOfStream
            await self._read()
        return self._lines.popleft().decode(errors="replace")

    async def _read(self) -> None:
        with anyio.CancelScope() as self._wait_scope:
            await anyio.wait_readable(self._descriptor)
            if data := os.read(self._descriptor, MAX_READ_BYTES):
                self._split(data)
                return
            self._lines.extend(filter(None, [b"".join(self._fragments)]))
        self._has_ended = True

    def _split(self, data: bytes) -> None:
        *ends, remainder = data.split(b"\n")
        for end in ends:
            self._lines.append(b"".join((*self._fragments, end)))
            self._fragments.clear()
        self._fragments.append(remainder)

    def end(self) -> None:
        """End now: what has not been received is dropped."""
        self._has_ended = True
        self._lines.clear()
        if self._wait_scope is not None:
            self._wait_scope.cancel()

    async def aclose(self) -> None:
        """End now; the descriptor stays open."""
        self.end()


class PipeWriter:
    """Writes text into a pipe; only the writing task waits for a slow reader.

    `stdin` is the descriptor of the same client's requests.
    """

    def __init__(self, descriptor: int, stdin: int | None = None) -> None:
        self._descriptor = descriptor
        self._stdin = stdin
        os.set_blocking(descriptor, False)

    async def write(self, text: str) -> None:
        """Write all of a text.

        Raises:
            BrokenPipeError: the client has stopped reading.
        """
        remaining = memoryview(text.encode())
        while remaining:
            try:
                remaining = remaining[os.write(self._descriptor, remaining) :]
            except BlockingIOError:
                await self._wait_writable()

    async def _wait_writable(self) -> None:
        """Wait until the client has read something.

        Raises:
            BrokenPipeError: the client closed `stdin` and read nothing for UNREAD_SECONDS.
        """
        while True:
            with anyio.move_on_after(UNREAD_SECONDS):
                await anyio.wait_writable(self._descriptor)
                return
            if self._stdin is not None and is_peer_closed(self._stdin):
                raise BrokenPipeError(errno.EPIPE, f"it closed stdin and read nothing for {UNREAD_SECONDS:g} s")

    async def flush(self) -> None:
        """Do nothing: writes are not buffered."""


@contextmanager
def stdio_pipes(data: bytes = b"") -> Generator[dict[str, Any]]:
    """Provide the lines of standard input as `stdin` and a writer as `stdout`; nothing where one is not a pipe.

    `data` was read from stdin before.
    Within the block descriptor 0 is the null device and 1 is stderr, so that a child process or a stray `print` cannot
    corrupt the protocol.
    """
    if not are_stdin_and_stdout_pipes():
        yield {}
        return
    was_blocking = os.get_blocking(1)  # the flag belongs to the pipe, and so to every process that has this end
    saved = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    try:
        yield {"stdin": PipeReader(saved[0], data), "stdout": PipeWriter(saved[1], saved[0])}
    finally:
        os.set_blocking(saved[1], was_blocking)
        for descriptor, copy in enumerate(saved):
            os.dup2(copy, descriptor)
            os.close(copy)


def is_peer_closed(descriptor: int) -> bool:
    """Whether the peer has closed its end, even if there is data left to read."""
    poll = select.poll()
    poll.register(descriptor, getattr(select, "POLLRDHUP", 0))
    return bool(poll.poll(0))
