"""A managed OpenCode server: started at first use, watched, restarted after it died, always stopped."""

from __future__ import annotations

import logging
import math
import os
import re
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field

import anyio
import httpx2
from anyio.abc import Process, TaskGroup
from anyio.streams.text import TextReceiveStream

from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.openapi import SNAPSHOT_VERSION

from . import install
from .background import alongside, background
from .backoff import Backoff
from .error_words import without_trace
from .inotify import WITHOUT_WATCHER, instances_left
from .liveness import Liveness
from .server import Endpoint, Report, silent
from .shortage import cause_of, describe_os_error, measured
from .supervised import supervised

LISTENING = re.compile(r"opencode server listening on (http://\S+)")
OTHER_LISTENING = re.compile(r"server listening on http://\S+")
"""Printed by OpenCode 2, with its password on the next line."""

START_SECONDS = 60.0
LINE_CHARS = 2_000
"""Longer lines of its output are cut."""
OUTPUT_CHARS = 4_000
"""How much of the end of its output an error shows."""

OTHER_GENERATION = (
    "the started program is OpenCode 2, whose API differs from 1.x, which opencode-mcp supports; it was stopped. Set "
    f"--command to an OpenCode 1.x (tested: opencode-ai@{SNAPSHOT_VERSION})"
)

log = logging.getLogger(__name__)


@dataclass
class Run:
    """One run of the server process. `start_finished` is set once it listens (`endpoint`) or has failed (`failure`).

    `liveness` is set while the process runs; cancelling `scope` stops it.
    """

    settled: anyio.Event = field(default_factory=anyio.Event)
    address: Endpoint | None = None
    listening_since: float | None = None
    failure: str | None = None
    status: str = "starting"
    liveness: Liveness | None = None
    life: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    output: deque[str] = field(default_factory=lambda: deque[str](maxlen=40))

    @property
    def over(self) -> bool:
        """Whether the server has exited, or failed to start."""
        return self.failure is not None


class ManagedServer:
    """Starts `opencode serve` on 127.0.0.1, a free port, with a random password. Use `managed_server()`."""

    def __init__(self, tasks: TaskGroup, command: tuple[str, ...], directory: str, environ: Mapping[str, str]) -> None:
        self._tasks = tasks
        self._command = command
        self._directory = directory
        self._environ = environ
        self.password = secrets.token_urlsafe(24)
        self._run: Run | None = None
        self._begun = anyio.Event()
        self._backoff = Backoff()
        self._closed = False
        self._version: str | None = None
        self._note = ""
        self._has_stalled = False
        self.name = None

    async def endpoint(self, report: Report = silent) -> Endpoint:
        """Return the address of the running server, starting one when there is none.

        If the caller is cancelled, the start continues for the next caller.

        Raises:
            ServerStartError: with what was tried, and OpenCode's last output.
        """
        if self._closed:
            raise ServerStartError("OpenCode was stopped because the server shuts down")
        if self._run is None or self._run.over:
            self._check_backoff()
            self._run = Run()
            self._begun.set()
            self._begun = anyio.Event()
            self._tasks.start_soon(self._serve, self._run)
        run = self._run
        while not run.settled.is_set():
            await report(f"OpenCode: {run.status}")
            with anyio.move_on_after(1):
                await run.settled.wait()
        if run.address is None:
            raise ServerStartError(run.failure or "OpenCode did not start")
        return run.address

    def _check_backoff(self) -> None:
        """Refuse a start too soon after several early exits.

        Raises:
            ServerStartError: with the last failure, and the time until the next start.
        """
        if self._run is not None and (seconds := self._backoff.remaining):
            raise ServerStartError(
                f"{self._run.failure}\nOpenCode exited right after its start {self._backoff.short_lives} times in a "
                f"row, so it is not started again for {math.ceil(seconds)} s. Nothing was sent."
            )

    def running(self) -> Endpoint | None:
        """Return the address if the server listens."""
        return None if self._run is None or self._run.over else self._run.address

    async def until_running(self) -> None:
        """Wait until another call has started the server."""
        while self.running() is None:
            await (self._begun if self._run is None or self._run.over else self._run.settled).wait()

    def describe(self) -> str:
        """Describe the server for an error message, with its failure once it has exited."""
        if self._run is not None and self._run.failure is not None:
            return f"the OpenCode that opencode-mcp started ({self._run.failure}; the next call starts it again)"
        if self._run is not None and self._run.address is None:
            return f"the OpenCode that opencode-mcp starts (now: {self._run.status})"
        alive = None if self._run is None else self._run.liveness
        silent = 0.0 if alive is None else alive.silent_seconds
        return "the OpenCode that opencode-mcp started" + (f", silent for {silent:.0f} s" if silent >= 1 else "")

    def expected(self, report: Report) -> AbstractAsyncContextManager[None]:
        """Track a request that waits for its response in the block, and watch whether the server responds."""
        alive = None if self._run is None or self._run.over else self._run.liveness
        return nullcontext() if alive is None else alive.expected(report)

    def note_work(self, name: str, works: bool) -> None:
        """Record whether a session or terminal is active in the current process."""
        if self._run is not None and self._run.liveness is not None:
            self._run.liveness.note_work(name, works)

    def shortage(self) -> str:
        """Describe an exhausted resource of this machine and what to do; "" if there is none."""
        return measured(self._environ, self._directory)

    def take_note(self) -> str:
        """Return the note about the chosen program, once; then ""."""
        note, self._note = self._note, ""
        return note

    async def _serve(self, run: Run) -> None:
        """Run the server once: find the program, start it, read its output until it exits."""

        async def note(status: str) -> None:
            run.status = status

        try:
            program = await install.find(self._command, install.cache_folder(self._environ), self._environ, note)
            self._version = program.version
            if program.note:
                self._note = program.note
                log.warning("%s", program.note)
            run.status = "starting"
            environ = {**self._environ, **self._without_watcher()}
            async with started(program, self._directory, environ, self.password) as process:
                run.liveness = Liveness(process.pid)
                with run.life:
                    async with alongside(self._watch, run, run.liveness):
                        await self._live(process, run)
        except ServerStartError as error:
            run.failure = str(error)
        except OSError as error:
            run.failure = f"OpenCode did not start: {describe_os_error(error)}"
        except anyio.get_cancelled_exc_class():
            # A shielded cleanup call must not start it again.
            self._closed = True
            raise
        finally:
            run.failure = run.failure or "it was stopped"
            run.settled.set()
            log.info("OpenCode: %s", run.failure)

    async def _live(self, process: Process, run: Run) -> None:
        """Read the output of the started server until it exits, and record the reason."""
        with anyio.move_on_after(START_SECONDS) as limit:
            await self._read(process, run, limit)
        run.failure = never_listened(run) if limit.cancelled_caught else ended(run, await process.wait())
        since = run.listening_since
        self._backoff.ended(None if since is None else time.monotonic() - since)

    def _without_watcher(self) -> Mapping[str, str]:
        """Return the environment that disables OpenCode's file watcher if it could stall OpenCode, else {}."""
        if instances_left() and not self._has_stalled:
            return {}
        reason = "no inotify instances are left (fs.inotify.max_user_instances)"
        unwatched = (
            "OpenCode runs without its file watcher, so vcs_get shows the branch at its start: "
            f"{'the previous one did not respond' if self._has_stalled else reason}"
        )
        self._note = "; ".join(one for one in (self._note, unwatched) if one)
        log.warning("%s", unwatched)
        return WITHOUT_WATCHER

    async def _watch(self, run: Run, liveness: Liveness) -> None:
        """Stop the server if it does not respond and has no active work."""

        def give_up(reason: str) -> None:
            run.failure, self._has_stalled = reason, True
            run.life.cancel()

        await run.settled.wait()
        if run.address is not None:
            await liveness.watch(run.address, give_up)

    async def _read(self, process: Process, run: Run, limit: anyio.CancelScope) -> None:
        """Read the server's output. Only the "listening" line means that it is ready.

        Its socket accepts connections 0.3-0.5 s earlier (1.18.33) but drops these requests.
        """
        assert process.stdout is not None
        rest = ""
        async for text in TextReceiveStream(process.stdout, errors="replace"):
            *lines, rest = (rest + text).split("\n")
            rest = rest[:LINE_CHARS]
            for line in lines:
                line = without_password(line[:LINE_CHARS], self.password)
                if OTHER_LISTENING.fullmatch(line.strip()):
                    raise ServerStartError(OTHER_GENERATION)
                run.output.append(line)
                log.debug("opencode: %s", line)
                if run.address is None and (match := LISTENING.search(line)):
                    run.address = Endpoint(httpx2.URL(match[1]), password=self.password, version=self._version)
                    run.listening_since = time.monotonic()
                    limit.deadline = float("inf")
                    run.settled.set()
                    log.info("OpenCode listens on %s", match[1])
        run.output.append(rest)


@asynccontextmanager
async def managed_server(
    command: tuple[str, ...], directory: str, environ: Mapping[str, str]
) -> AsyncGenerator[ManagedServer]:
    """Provide a server that starts at first use and stops with the block."""
    async with background() as tasks:
        yield ManagedServer(tasks, command, directory, environ)


def started(
    program: install.Program, directory: str, environ: Mapping[str, str], password: str
) -> AbstractAsyncContextManager[Process]:
    """Run OpenCode under a supervisor, which stops it with the block or with this process."""
    environment = {
        **environ,
        "PATH": os.pathsep.join([*program.path, environ.get("PATH", os.defpath)]),
        "OPENCODE_SERVER_USERNAME": "opencode",
        "OPENCODE_SERVER_PASSWORD": password,
        # Without it experimental_workspace_create fails and leaks a worktree, and sync_steal has no target.
        "OPENCODE_EXPERIMENTAL_WORKSPACES": "true",
    }
    serve = (*program.command, "serve", "--hostname", "127.0.0.1", "--port", "0")
    return supervised(serve, environment, directory)


def ended(run: Run, status: int) -> str:
    """Describe the server's exit."""
    subject = "it" if run.address else "OpenCode did not start: it"
    return f"{subject} exited with status {status}{last_output(run)}"


def never_listened(run: Run) -> str:
    """Describe a start that took too long."""
    return f"OpenCode did not start within {START_SECONDS:g} s{last_output(run)}"


def without_password(line: str, password: str) -> str:
    """Return a line of output, or a placeholder if it may contain a password."""
    return "(line with a password omitted)" if "password" in line.lower() or password in line else line


def last_output(run: Run) -> str:
    """Return the server's last lines."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in run.output]
    said = without_trace("\n".join(line for line in lines if line)[-OUTPUT_CHARS:])
    advice = cause_of(said)
    return (f"; its output:\n{said}" if said else "") + (f"\n{advice}" if advice else "")
