"""A managed OpenCode server: started at first use, watched, restarted after it died, always stopped. The background
service of an OpenCode 2 is used instead where `choice.py` says so; it is neither started nor stopped.

A server that keeps exiting right after its start is started again only after a delay.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Any

import anyio
import httpx2
from anyio.abc import TaskGroup
from anyio.streams.text import TextReceiveStream

from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.opencode.concurrency import background_task, background_task_group
from opencode_mcp.opencode.endpoint import Endpoint, OtherBridge, ProgressCallback, ignore_progress
from opencode_mcp.opencode.expected_generation import ExpectedGeneration
from opencode_mcp.opencode.os_limits import (
    NO_WATCHER_ENVIRONMENT,
    describe_os_error,
    has_free_instances,
    measure_shortage,
)

from .choice import Choice, make_choice
from .executable import Program
from .launch import OPENCODE_2_LISTENING_LINE, WaitUntilReady, wait_until_ready_2
from .liveness import Liveness
from .opencode_process import OpenCodeProcess, OpenProcess, join_shared, run_by_generation, run_own
from .server_run import Backoff, ServerRun, describe_exit, last_output
from .service import Service, wait_until_gone

LINE_CHARS = 2_000
"""Longer lines of its output are cut."""
MAX_PROMISED = 500
"""Of more promised sessions the oldest are forgotten."""

OTHER_GENERATION_ERROR = (
    "the started program is OpenCode 2, whose API differs from 1.x; it was stopped. Set --command to an OpenCode 1.x "
    f"(tested: opencode-ai@{SNAPSHOT_VERSION}), or --generation 2"
)

log = logging.getLogger(__name__)


class ManagedServer:
    """Starts `opencode serve` on 127.0.0.1, a free port, with a random password. Use `managed_server()`."""

    def __init__(
        self,
        tasks: TaskGroup,
        choice: Choice,
        expected: ExpectedGeneration | None,
        directory: str,
        environ: Mapping[str, str],
        open_process: OpenProcess,
    ) -> None:
        self._tasks = tasks
        self._choice = choice
        self._expected = expected
        self._directory = directory
        self._environ = environ
        self._open_process = open_process
        self.password = secrets.token_urlsafe(24)
        self._run: ServerRun | None = None
        self._start_requested = anyio.Event()
        self._backoff = Backoff()
        self._closed = False
        self._note = ""
        self._has_stalled = False
        self._facts: dict[str, Any] = {}
        self._callbacks: list[Callable[[], None]] = []
        self.name = None

    async def endpoint(self, report_progress: ProgressCallback = ignore_progress) -> Endpoint:
        """Return the address of the running server, starting one when there is none.

        If the caller is cancelled, the start continues for the next caller.

        Raises:
            ServerStartError: with what was tried, and OpenCode's last output.
        """
        if self._closed:
            raise ServerStartError("OpenCode was stopped because the server shuts down")
        if self._run is None or self._run.has_ended:
            self._check_backoff()
            previous, self._run = self._run, ServerRun()
            self._start_requested.set()
            self._start_requested = anyio.Event()
            self._tasks.start_soon(self._run_server, self._run, previous)
        run = self._run
        while not run.start_finished.is_set():
            await report_progress(f"OpenCode: {run.status}")
            with anyio.move_on_after(1):
                await run.start_finished.wait()
        if run.endpoint is None:
            raise ServerStartError(run.failure or "OpenCode did not start")
        return run.endpoint

    def _check_backoff(self) -> None:
        """Refuse a start too soon after several early exits.

        Raises:
            ServerStartError: with the last failure, and the time until the next start.
        """
        if self._run is not None and (seconds := self._backoff.remaining_seconds):
            raise ServerStartError(
                f"{self._run.failure}\nOpenCode exited right after its start {self._backoff.short_lives} times in a "
                f"row, so it is not started again for {math.ceil(seconds)} s. Nothing was sent."
            )

    def current_endpoint(self) -> Endpoint | None:
        """Return the address if the server listens."""
        return None if self._run is None or self._run.has_ended else self._run.endpoint

    async def wait_until_started(self) -> None:
        """Wait until another call has started the server."""
        while self.current_endpoint() is None:
            await (
                self._start_requested if self._run is None or self._run.has_ended else self._run.start_finished
            ).wait()

    def describe(self) -> str:
        """Describe the server for an error message, with its failure once it has exited."""
        if self._run is not None and self._run.failure is not None:
            return f"the OpenCode that opencode-mcp started ({self._run.failure}; the next call starts it again)"
        if self._run is not None and self._run.service is not None:
            return self._run.service.describe()
        if self._run is not None and self._run.endpoint is None:
            return f"the OpenCode that opencode-mcp starts (now: {self._run.status})"
        liveness = None if self._run is None else self._run.liveness
        silent_seconds = 0.0 if liveness is None else liveness.silent_seconds
        return "the OpenCode that opencode-mcp started" + (
            f", silent for {silent_seconds:.0f} s" if silent_seconds >= 1 else ""
        )

    def track_request(self, report_progress: ProgressCallback) -> AbstractAsyncContextManager[None]:
        """Track a request that waits for its response in the block, and watch whether the server responds."""
        liveness = None if self._run is None or self._run.has_ended else self._run.liveness
        return nullcontext() if liveness is None else liveness.track_request(report_progress)

    def set_active(self, name: str, active: bool) -> None:
        """Record whether a session or terminal is active in the current process."""
        if self._run is not None and self._run.liveness is not None and self._run.process is not None:
            self._run.liveness.set_active(name, active)
            self._run.process.publish(active=sorted(self._run.liveness.active))

    def publish(self, **facts: Any) -> None:
        """Publish facts about this bridge to the others that share the server; those before the start are kept."""
        self._facts |= facts
        if self._run is not None and self._run.process is not None:
            self._run.process.publish(**facts)

    async def wait_until_published(self) -> None:
        """Wait until the supervisor has what was published, if the server is shared."""
        if self._run is not None and self._run.process is not None:
            await self._run.process.wait_until_published()

    def promise(self, session_id: str, directory: str | None) -> None:
        """Record a session whose result the client may still ask for; None: it has ended."""
        kept = {name: where for name, where in self._facts.get("promised", {}).items() if name != session_id}
        entries = [*kept.items()] if directory is None else [*kept.items(), (session_id, directory)]
        self.publish(promised=dict(entries[-MAX_PROMISED:]))

    def share_of(self, slots: int) -> int:
        """Return how many of the slots for requests this bridge may use now."""
        return slots if self._run is None or self._run.process is None else self._run.process.share_of(slots)

    def on_bridges_changed(self, callback: Callable[[], None]) -> None:
        """Call a function whenever another bridge has connected, disconnected or published something."""
        self._callbacks.append(callback)

    @property
    def others(self) -> Sequence[OtherBridge]:
        """The other bridges that share the server."""
        return () if self._run is None or self._run.process is None else self._run.process.others

    def describe_shortage(self) -> str:
        """Describe an exhausted resource of this machine and what to do; "" if there is none."""
        return measure_shortage(self._environ, self._directory)

    def pop_note(self) -> str:
        """Return the note about the chosen program, once; then ""."""
        note, self._note = self._note, ""
        return note

    async def _run_server(self, run: ServerRun, previous: ServerRun | None) -> None:
        """Run the server once: find the program, start it, read its output until it exits.

        The process of the previous run is gone before: one that is killed may take seconds.
        """

        async def record_status(status: str) -> None:
            run.status = status

        try:
            if previous is not None:
                run.status = "waiting for the end of the previous one"
                await previous.process_ended.wait()
            chosen = await self._choice.choose(record_status)
            self._check_generation(chosen)
            if isinstance(chosen, Service):
                await self._follow_service(chosen, run)
                return
            run.program = chosen
            if chosen.note:
                self._note = chosen.note
                log.warning("%s", chosen.note)
            run.status = "starting"
            environ = {**self._environ, **self._watcher_environment()}
            async with self._open_process(chosen, environ, self.password) as process:
                await self._follow(process, run)
        except ServerStartError as error:
            run.failure = str(error)
        except OSError as error:
            run.failure = f"OpenCode did not start: {describe_os_error(error)}"
        except anyio.get_cancelled_exc_class():
            # A shielded cleanup call must not start it again.
            self._closed = True
            raise
        finally:
            was_lost = run.failure is not None and run.endpoint is not None
            run.failure = run.failure or "it was stopped"
            run.start_finished.set()
            run.process_ended.set()
            log.log(logging.WARNING if was_lost else logging.INFO, "OpenCode: %s", run.failure)

    def _check_generation(self, chosen: Program | Service) -> None:
        """Refuse an OpenCode of another generation than that of the listed tools.

        Raises:
            ServerStartError: with what to do.
        """
        if self._expected is not None:
            self._expected.note(chosen.generation)
            if not self._expected.accepts(chosen.generation):
                version, major = chosen.version, chosen.generation
                raise ServerStartError(self._expected.describe_mismatch(chosen.describe(), version, major))

    async def _follow_service(self, service: Service, run: ServerRun) -> None:
        """Use the background service until it has ended, or is another one."""
        run.service = service
        with run.scope:
            async with background_task(self._wait_until_ready, wait_until_ready_2, service.endpoint, run):
                await wait_until_gone(service, self._environ)
        run.failure = run.failure or f"{service.describe()} has ended"

    async def _follow(self, process: OpenCodeProcess, run: ServerRun) -> None:
        """Follow the process until it exits; stop it if it is OpenCode 2, does not start, or does not respond."""
        run.process = process
        process.publish(**self._facts)
        for callback in self._callbacks:
            process.on_bridges_changed(callback)
        run.liveness = Liveness(process.pid, partial(other_work, process))
        try:
            with run.scope:
                async with background_task(self._watch_liveness, run, run.liveness):
                    await self._read_until_exit(process, run)
        except ServerStartError as error:
            run.stop_reason = str(error)
            run.scope.cancel()
            raise
        finally:
            if run.scope.cancel_called:
                process.stop(reason=run.stop_reason)

    async def _read_until_exit(self, process: OpenCodeProcess, run: ServerRun) -> None:
        """Read the output of the started server until it exits, and record the reason."""
        seconds = run.launch.start_seconds
        with anyio.move_on_after(seconds) as limit:
            async with background_task_group() as tasks:
                await self._read_output(process, run, limit, tasks)
        if limit.cancelled_caught:
            run.stop_reason = f"it did not start within {seconds:g} s"
            run.failure = f"OpenCode did not start within {seconds:g} s{last_output(run)}"
            run.scope.cancel()
        else:
            run.failure = describe_exit(run, await process.wait(), process.stop_reason)
        listening_since = run.listening_since
        self._backoff.record_exit(None if listening_since is None else time.monotonic() - listening_since)

    def _watcher_environment(self) -> Mapping[str, str]:
        """Return the environment that disables OpenCode's file watcher if it could stall OpenCode, else {}."""
        if has_free_instances() and not self._has_stalled:
            return {}
        reason = "no inotify instances are left (fs.inotify.max_user_instances)"
        message = (
            "OpenCode runs without its file watcher, so vcs_get shows the branch at its start: "
            f"{'the previous one did not respond' if self._has_stalled else reason}"
        )
        self._note = "; ".join(note for note in (self._note, message) if note)
        log.warning("%s", message)
        return NO_WATCHER_ENVIRONMENT

    async def _watch_liveness(self, run: ServerRun, liveness: Liveness) -> None:
        """Stop the server if it does not respond and has no active work."""

        def give_up(reason: str) -> None:
            run.failure = run.stop_reason = reason
            self._has_stalled = True
            run.scope.cancel()

        await run.start_finished.wait()
        if run.endpoint is not None:
            await liveness.watch(run.endpoint, give_up)

    async def _read_output(
        self, process: OpenCodeProcess, run: ServerRun, limit: anyio.CancelScope, tasks: TaskGroup
    ) -> None:
        """Read the server's output. Only the "listening" line means that it is ready, or soon will be.

        Its socket accepts connections 0.3-0.5 s earlier (1.18.33) but drops these requests.
        """
        incomplete_line = ""
        async for text in TextReceiveStream(process.stdout, errors="replace"):
            *lines, incomplete_line = (incomplete_line + text).split("\n")
            incomplete_line = incomplete_line[:LINE_CHARS]
            for line in lines:
                line = omit_password_line(line[:LINE_CHARS], process.password)
                url = run.launch.find_url(line)
                if url is None and OPENCODE_2_LISTENING_LINE.fullmatch(line.strip()):
                    raise ServerStartError(OTHER_GENERATION_ERROR)
                run.output.append(line)
                log.debug("opencode: %s", line)
                if run.url is None and url is not None:
                    run.url = url
                    limit.deadline = float("inf")
                    endpoint = Endpoint(httpx2.URL(url), password=process.password, version=run.program.version)
                    if run.launch.wait_until_ready is None:
                        run.serve(endpoint, process.age_seconds)
                    else:
                        tasks.start_soon(self._wait_until_ready, run.launch.wait_until_ready, endpoint, run)
        run.output.append(incomplete_line)

    async def _wait_until_ready(self, wait: WaitUntilReady, endpoint: Endpoint, run: ServerRun) -> None:
        """Wait until a server that listens serves requests; end the run if it says that it cannot."""
        run.status = "started, and not ready yet"
        failure = await wait(endpoint)
        if failure:
            run.failure = run.stop_reason = failure
            run.scope.cancel()
        else:
            run.serve(endpoint)


@asynccontextmanager
async def managed_server(
    command: tuple[str, ...],
    directory: str,
    environ: Mapping[str, str],
    linger: float | None = None,
    expected: ExpectedGeneration | None = None,
    generation: int | None = 1,
) -> AsyncGenerator[ManagedServer]:
    """Provide a server that starts at first use and stops with the block.

    With `linger` it is the one that the user's bridges share, which stops that many seconds after the last of them; an
    OpenCode 2 is this bridge's own, or its background service. `generation` is the user's choice, and `expected` that
    of the listed tools.
    """
    own = run_own(directory)
    shared = own if linger is None else join_shared(directory, environ, linger)
    choice = make_choice(command, environ, generation, linger is not None)
    async with background_task_group() as tasks:
        yield ManagedServer(tasks, choice, expected, directory, environ, run_by_generation({1: shared, 2: own}))


def other_work(process: OpenCodeProcess) -> list[str]:
    """Return the sessions and terminals that other bridges have started and that may run."""
    return [name for other in process.others for name in other.active]


def omit_password_line(line: str, password: str) -> str:
    """Return a line of output, or a placeholder if it may contain a password."""
    return "(line with a password omitted)" if "password" in line.lower() or password in line else line
