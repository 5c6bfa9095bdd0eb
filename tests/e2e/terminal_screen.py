"""A program at a terminal, read as its user sees it: by what stands on the screen."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import pyte

from opencode_mcp.opencode.concurrency import background_task
from tests.eventually import eventually

COLUMNS, ROWS = 110, 46
ENTER, RIGHT, DOWN = "\r", "\x1b[C", "\x1b[B"
PRESSES, PRESS_SECONDS = 10, 10.0
"""How often a key is pressed: a program may drop one that comes while it draws."""


@dataclass(frozen=True)
class TerminalScreen:
    """A program and its screen; `terminal` is the file descriptor of the user's side."""

    process: subprocess.Popen[bytes]
    terminal: int
    screen: pyte.Screen

    @property
    def text(self) -> str:
        """The lines on the screen, without trailing spaces."""
        return "\n".join(line.rstrip() for line in self.screen.display).strip("\n")

    async def read(self) -> None:
        """Draw what the program writes, until it closes its side."""
        stream = pyte.ByteStream(self.screen)
        while True:
            await anyio.wait_readable(self.terminal)
            try:
                data = os.read(self.terminal, 65536)
            except OSError:  # Linux says so at the end
                return
            stream.feed(data)

    async def wait_for(self, text: str, within: float = 60) -> str:
        """Wait until a text is on the screen, and return the screen.

        Raises:
            AssertionError: it is not there in time; shows the screen.
        """
        try:
            return await eventually(lambda: self.text, lambda shown: text in shown, within)
        except AssertionError:
            raise AssertionError(f"no {text!r} within {within:g} s on the screen:\n{self.text}") from None

    def press(self, key: str) -> None:
        """Press a key."""
        os.write(self.terminal, key.encode())

    async def press_until(self, key: str, is_done: Callable[[str], bool], cursor: str | None = None) -> None:
        """Press a key until the screen is as it should be; again after a while, or when it has moved the cursor.

        Raises:
            AssertionError: it does not become so; shows the screen.
        """

        def cursors() -> list[str]:
            return [line for line in self.text.splitlines() if cursor and cursor in line]

        for _ in range(PRESSES):
            before = cursors()
            self.press(key)
            with suppress(AssertionError):
                await eventually(lambda before=before: is_done(self.text) or cursors() != before, within=PRESS_SECONDS)
            if is_done(self.text):
                return
        raise AssertionError(f"{key!r} has not the effect that it should have on the screen:\n{self.text}")

    async def enter(self, line: str) -> None:
        """Type a line, and send it once it is on the screen: a key that comes with the text belongs to the text."""
        self.press(line)
        await self.wait_for(line)
        self.press(ENTER)

    def kill(self) -> None:
        """Kill the program and its children."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@asynccontextmanager
async def open_screen(
    command: Sequence[str], environ: Mapping[str, str], folder: Path, rows: int = ROWS
) -> AsyncGenerator[TerminalScreen]:
    """Run a program at a terminal of its own; it is killed at the end."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, COLUMNS, 0, 0))
    process = subprocess.Popen(  # noqa: ASYNC220 - anyio opens pipes only
        command,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**environ, "TERM": "xterm-256color"},
        cwd=folder,
        start_new_session=True,
    )
    os.close(slave)
    screen = TerminalScreen(process, master, pyte.Screen(COLUMNS, rows))
    try:
        async with background_task(screen.read):
            yield screen
    finally:
        screen.kill()
        os.close(master)
