"""Runs the command of --on-event for each event about a task: in the background, for a limited time, a few at once.

event -> queue -> the shell runs the command with the event as JSON on standard input -> its output goes to the log

Nothing waits for it. Its environment has no secret of this server's settings, and nothing of the event is in its
arguments.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
from anyio.abc import Process, TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.opencode.process.supervisor import kill
from opencode_mcp.settings import Settings

if TYPE_CHECKING:
    from opencode_mcp.tasks.task_event import SendEvent, TaskEvent

RUN_SECONDS = 30.0
"""How long one run may take, with all that holds its output open."""

MAX_CONCURRENT = 4
MAX_WAITING = 100
"""How many events may wait for a run; more are dropped."""

GRACE_SECONDS = 2.0
"""How long runs may go on when the server ends; then they are killed."""

KILL_SECONDS = 5.0
OUTPUT_CHARS = 2_000
"""How much of the end of its output is logged."""

log = logging.getLogger(__name__)


@dataclass
class EventHook:
    """The command of --on-event.

    `unfinished` counts the events that wait or run, `dropped` those that were dropped since the last one that was not.
    `warned`: a failure was logged as a warning; the next ones are not.
    """

    settings: Settings
    command: str
    sender: MemoryObjectSendStream[TaskEvent]
    receiver: MemoryObjectReceiveStream[TaskEvent]
    unfinished: int = 0
    dropped: int = 0
    warned: bool = False
    idle: anyio.Event = field(default_factory=anyio.Event)

    def send(self, event: TaskEvent) -> None:
        """Queue an event; dropped if too many wait."""
        try:
            self.sender.send_nowait(event)
        except anyio.WouldBlock:
            if not self.dropped:
                log.warning("--on-event: %d events wait for the command, so the next ones are dropped", MAX_WAITING)
            self.dropped += 1
        else:
            self.unfinished += 1
            if self.dropped:
                log.warning("--on-event: %d events were dropped", self.dropped)
                self.dropped = 0

    async def run(self, *, task_status: TaskStatus[anyio.CancelScope]) -> None:
        """Run the command for events until the scope is cancelled that `task_status` gets; nothing else ends it."""
        async with anyio.create_task_group() as workers:
            workers.cancel_scope.shield = True
            for _ in range(MAX_CONCURRENT):
                workers.start_soon(self._work)
            task_status.started(workers.cancel_scope)

    async def wait_until_idle(self) -> None:
        """Wait until every event has been handled."""
        while self.unfinished:
            self.idle = anyio.Event()
            await self.idle.wait()

    async def _work(self) -> None:
        """Run the command for one event after the other."""
        async for event in self.receiver:
            try:
                await self._run_command(event)
            except OSError as error:
                self._log_failure(f"it cannot be run: {error.strerror or error}")
            except Exception:
                log.exception("--on-event failed")
            self.unfinished -= 1
            self.idle.set()

    async def _run_command(self, event: TaskEvent) -> None:
        """Run the command for an event; at its time limit, or cancelled, it is killed with its child processes.

        Raises:
            OSError: it cannot be started.
        """
        process = await anyio.open_process(
            self.command,  # a text: the platform's shell runs it
            stderr=subprocess.STDOUT,
            cwd=self.settings.home,  # not the project, whose files the model writes
            env=self.settings.hook_environ,
            start_new_session=True,
        )
        output, ended = bytearray(), False
        try:
            with anyio.move_on_after(RUN_SECONDS):
                await talk(process, event.model_dump_json().encode() + b"\n", output)
                ended = True
        finally:
            with anyio.move_on_after(KILL_SECONDS, shield=True):
                if not ended:
                    await kill_group(process)
                await process.aclose()
        text = output.decode(errors="replace").strip()[-OUTPUT_CHARS:]
        if not ended:
            self._log_failure(f"it took longer than {RUN_SECONDS:g} s and was killed", text)
        elif process.returncode:
            self._log_failure(f"it exited with status {process.returncode}", text)
        elif text:
            log.info("--on-event: %s", text)

    def _log_failure(self, problem: str, output: str = "") -> None:
        """Log why a run failed, with its output: the first time as a warning."""
        level, hint = (logging.INFO, "") if self.warned else (logging.WARNING, " (further failures are logged as info)")
        self.warned = True
        log.log(level, "--on-event failed: %s%s%s", problem, hint, f"\n{output}" if output else "")


async def talk(process: Process, text: bytes, output: bytearray) -> None:
    """Write to a process, and add the end of what it prints to `output`, until it has closed it and exited."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):  # it need not read
        await process.stdin.send(text)
    await process.stdin.aclose()
    async for chunk in process.stdout:
        output += chunk
        del output[: -4 * OUTPUT_CHARS]  # a character has up to four bytes
    await process.wait()


async def kill_group(process: Process) -> None:
    """Kill a process and its child processes: on POSIX its process group."""
    if os.name == "nt":
        await anyio.to_thread.run_sync(kill, process.pid)
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@asynccontextmanager
async def open_event_hook(settings: Settings, command: str) -> AsyncGenerator[SendEvent]:
    """Provide what sends events to a command.

    At the end of the block the events that are left have GRACE_SECONDS, also where it is cancelled.
    """
    sender, receiver = anyio.create_memory_object_stream["TaskEvent"](MAX_WAITING)
    hook = EventHook(settings, command, sender, receiver)
    async with sender, receiver, background_task_group() as tasks:
        scope = await tasks.start(hook.run)
        try:
            yield hook.send
        finally:
            with anyio.move_on_after(GRACE_SECONDS, shield=True):
                await hook.wait_until_idle()
            scope.cancel()
