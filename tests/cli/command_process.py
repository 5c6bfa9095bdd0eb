"""The command line as a process of its own: in pipes, and at a terminal."""

from __future__ import annotations

import codecs
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import anyio
from anyio import to_thread

from opencode_mcp.settings import Settings
from tests.bridge import environ_for
from tests.forks import FORKS, run_in_fork

COMMAND = (sys.executable, "-m", "opencode_mcp")
LIMIT_SECONDS = 180.0
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def command_environ(environ: Mapping[str, str], settings: Settings | None = None) -> dict[str, str]:
    """The environment of a command, with the address and the password of settings."""
    plain = {name: value for name, value in environ.items() if name not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}}
    return plain if settings is None else plain | environ_for(settings)


async def run_program(
    environ: Mapping[str, str], *arguments: str, cwd: Path | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command in pipes, in a new Python."""
    with anyio.fail_after(LIMIT_SECONDS):
        done = await anyio.run_process([*COMMAND, *arguments], env=environ, cwd=cwd, input=stdin.encode(), check=False)
    return subprocess.CompletedProcess([*arguments], done.returncode, done.stdout.decode(), done.stderr.decode())


async def run_command(
    environ: Mapping[str, str], *arguments: str, cwd: Path | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command in pipes, in a fork of a Python that has imported all commands, which takes it a second."""
    (its_stdin, keyboard), (stdout, its_stdout), (stderr, its_stderr) = (FORKS.Pipe(duplex=False) for _ in range(3))
    streams = (its_stdin, its_stdout, its_stderr)
    process = FORKS.Process(target=run_in_fork, args=(arguments, dict(environ), cwd or Path.cwd(), streams))
    await to_thread.run_sync(process.start)
    for stream in streams:
        stream.close()
    written = dict[str, str]()

    async def read(name: str, stream: Connection) -> None:
        written[name] = await to_thread.run_sync(read_to_end, stream, abandon_on_cancel=True)

    try:
        with anyio.fail_after(LIMIT_SECONDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read, "stdout", stdout)
                tasks.start_soon(read, "stderr", stderr)
                with keyboard:
                    os.write(keyboard.fileno(), stdin.encode())
            await to_thread.run_sync(process.join, abandon_on_cancel=True)
    finally:
        process.kill()
    assert process.exitcode is not None
    return subprocess.CompletedProcess([*arguments], process.exitcode, written["stdout"], written["stderr"])


def read_to_end(stream: Connection) -> str:
    """Return all that is written to a pipe."""
    with stream, open(stream.fileno(), encoding="utf-8", closefd=False) as file:
        return file.read()


class Terminal:
    """A command at a terminal. `output` is all that it wrote, without colours."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process = process
        self.raw = ""
        self._terminal = terminal
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # what is read may end within a character

    @property
    def output(self) -> str:
        """What was written, as a person reads it."""
        return ESCAPES.sub("", self.raw)

    async def wait_for_text(self, text: str) -> None:
        """Wait until a text has been written."""
        await self.wait_for_matches(re.compile(re.escape(text)))

    async def wait_for_matches(self, pattern: re.Pattern[str], count: int = 1) -> list[re.Match[str]]:
        """Wait until so many matches have been written, and return them."""
        await to_thread.run_sync(self._read_until, pattern, count)
        return [*pattern.finditer(self.output)]

    async def type(self, text: str) -> None:
        """Type."""
        os.write(self._terminal, text.encode())

    async def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.write(self._terminal, b"\x03")

    def close(self) -> None:
        """Close the window; what was read before stays."""
        if self._terminal >= 0:
            os.close(self._terminal)
        self._terminal = -1

    async def wait(self) -> int:
        """Wait for the end, and return the exit code."""
        if self._terminal >= 0:
            await to_thread.run_sync(self._read_until, None, 0)
        return await to_thread.run_sync(self.process.wait, 30)

    def _read_until(self, pattern: re.Pattern[str] | None, count: int) -> None:
        """Read until matches of a pattern have come or, for None, the command has closed the terminal."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while pattern is None or len(pattern.findall(self.output)) < count:
            ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {pattern} in {self.output!r}"
            try:
                data = os.read(self._terminal, 65536)
            except OSError:  # Linux says so at the end
                data = b""
            if not data:
                assert pattern is None, f"ended without {pattern}: {self.output!r}"
                return
            self.raw += self._decoder.decode(data)


@contextmanager
def run_in_terminal(
    environ: Mapping[str, str], *arguments: str, cwd: Path | None = None, program: Sequence[str] = COMMAND
) -> Generator[Terminal]:
    """Run a command at a terminal of its own; it is killed at the end, if it has not ended before."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        # A session of its own with this as its terminal, so that Ctrl-C is a signal, and one that is not ignored.
        [sys.executable, "-c", SET_CONTROLLING_TERMINAL, *program, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"},
        cwd=cwd,
        start_new_session=True,
    )
    os.close(slave)
    terminal = Terminal(process, master)
    try:
        yield terminal
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        terminal.close()


SET_CONTROLLING_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
