"""Detects a managed OpenCode whose process runs but does not respond.

a request waits for 4 s -> probe /global/health until it responds -> no response for 20 s: stalled

A stalled OpenCode without active work is killed, and the next call starts another one. Active sessions and terminals
are tracked by the requests that start and end them. With active work it keeps running: each call fails with the next
step, until OpenCode responds again.
"""

from __future__ import annotations

import logging
import re
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

import anyio

from opencode_mcp.catalog import Operation
from opencode_mcp.exceptions import ServerStalled
from opencode_mcp.opencode.endpoint import Endpoint, OpenCodeServer, ProgressCallback
from opencode_mcp.opencode.prepare import RequestParts

STALL_SECONDS = 20.0
"""How long OpenCode may be silent; 500 concurrent prompts block 1.18.33 for 17 s."""
PROBE_AFTER_SECONDS = 4.0
PROBE_SECONDS = 4.0
PROBE_INTERVAL_SECONDS = 0.5
MIN_PROBES = 3
"""At least this many probes must fail, whatever the time: the bridge itself may have been suspended."""
REPORT_SECONDS = 1.0

log = logging.getLogger(__name__)


@dataclass(eq=False)
class WaitingRequest:
    """A request that waits for its response."""

    report_progress: ProgressCallback
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Liveness:
    """Watches one OpenCode process while requests wait for it. `pid` is the process that a user kills to stop it.

    `active` are the sessions and terminals that this bridge has started and that may run; `other_work` returns those
    of other bridges.
    """

    def __init__(self, pid: int, other_work: Callable[[], Sequence[str]] = tuple) -> None:
        self.active: set[str] = set()
        self._other_work = other_work
        self._pid = pid
        self._waiting: set[WaitingRequest] = set()
        self._silent_since: float | None = None
        self._failed_probes = 0
        self._stalled: str | None = None
        self._changed = anyio.Event()

    def set_active(self, name: str, active: bool) -> None:
        """Record whether a session or terminal is active."""
        (self.active.add if active else self.active.discard)(name)

    @property
    def silent_seconds(self) -> float:
        """For how long requests have waited without any response."""
        return 0.0 if self._silent_since is None else anyio.current_time() - self._silent_since

    @asynccontextmanager
    async def track_request(self, report_progress: ProgressCallback) -> AsyncGenerator[None]:
        """Track a request that waits for its response in the block.

        Raises:
            ServerStalled: OpenCode does not respond.
        """
        if self._stalled is not None:
            raise ServerStalled(self._stalled)
        request = WaitingRequest(report_progress)
        self._waiting.add(request)
        if self._silent_since is None:
            self._silent_since = anyio.current_time()
            self._changed.set()
        try:
            with request.scope:
                yield
        finally:
            self._waiting.discard(request)
        if request.scope.cancelled_caught:
            raise ServerStalled(self._stalled or "OpenCode does not respond")
        self._record_answer()

    async def watch(self, endpoint: Endpoint, give_up: Callable[[str], None]) -> None:
        """Probe OpenCode while it is silent, until cancelled; calls `give_up(reason)` once, to kill it."""
        while True:
            while self._silent_since is None:
                self._changed = anyio.Event()
                await self._changed.wait()
            delay = self._silent_since + PROBE_AFTER_SECONDS - anyio.current_time()
            if delay > 0:
                await anyio.sleep(delay)
            elif await probe(endpoint):
                self._record_answer()
            else:
                self._failed_probes += 1
                await self._handle_failed_probe(give_up)
                await anyio.sleep(PROBE_INTERVAL_SECONDS)

    def _record_answer(self) -> None:
        self._failed_probes = 0
        self._stalled = None
        self._silent_since = anyio.current_time() if self._waiting else None

    async def _handle_failed_probe(self, give_up: Callable[[str], None]) -> None:
        """Report a failed probe; after the last one kill the process, or fail only the waiting requests."""
        assert self._silent_since is not None
        seconds = anyio.current_time() - self._silent_since
        if seconds < STALL_SECONDS or self._failed_probes < MIN_PROBES:
            await self._report_progress(f"OpenCode has not responded for {seconds:.0f} s")
            return
        work = sorted({*self.active, *self._other_work()})
        if self._stalled is None:
            log.warning("OpenCode (process %s) does not respond; active work: %s", self._pid, work or "none")
        diagnosis = f"OpenCode (process {self._pid}) has not responded for {seconds:.0f} s, not even to /global/health"
        if work:
            self._stalled = (
                f"{diagnosis}. It was not killed, as work may still be running in it: "
                f"{', '.join(work)}. Call again later. "
                f"To discard this work, run `kill {self._pid}`; the next call then starts OpenCode again."
            )
        else:
            self._stalled = (
                f"{diagnosis}, and was killed, as no work was known to run in it. This request may have taken "
                "effect. The next call starts OpenCode again."
            )
            give_up(f"it did not respond for {seconds:.0f} s and was killed")
        for request in self._waiting:
            request.scope.cancel()

    async def _report_progress(self, message: str) -> None:
        with anyio.move_on_after(REPORT_SECONDS):
            for request in [*self._waiting]:
                await request.report_progress(message)


async def probe(endpoint: Endpoint) -> bool:
    """Return whether OpenCode sends the start of any response in time, on a new connection."""
    token = b64encode(f"{endpoint.username}:{endpoint.password}".encode()).decode()
    host, port = endpoint.url.host, endpoint.url.port
    assert port is not None
    with anyio.move_on_after(PROBE_SECONDS), suppress(OSError, anyio.BrokenResourceError, anyio.EndOfStream):
        async with await anyio.connect_tcp(host, port) as stream:
            head = f"GET /global/health HTTP/1.1\r\nhost: {host}:{port}\r\nauthorization: Basic {token}\r\n"
            await stream.send(f"{head}connection: close\r\n\r\n".encode())
            return bool(await stream.receive())
    return False


PROMPT_STARTS = frozenset(
    {
        "session.prompt_async",
        "v2.session.prompt",
        # Of OpenCode 2, which says of no turn in an answer that it has ended: it counts as active until it is removed.
        "session.command",
        "session.compact",
        "session.prompt",
        "session.shell",
    }
)
"""Start a turn without waiting for it."""
TERMINAL_STARTS = frozenset({"pty.create", "v2.pty.create"})
TERMINAL_ENDS = frozenset({"pty.remove", "v2.pty.remove"})
SESSION_ENDS = frozenset({"session.delete", "session.remove"})
ID_IN_PATH = re.compile(r"/(?:session|pty)/([^/]+)")


def mark_started(server: OpenCodeServer, operation: Operation, parts: RequestParts) -> None:
    """Record the work that a request starts, before its response."""
    match = ID_IN_PATH.search(parts.path)
    if match and (operation.execution_mode == "blocking" or operation.id in PROMPT_STARTS):
        server.set_active(match[1], active=True)


def mark_finished(server: OpenCodeServer, operation: Operation, parts: RequestParts, value: Any) -> None:
    """Record the work that a completed request ended, or started with a new id."""
    match = ID_IN_PATH.search(parts.path)
    if match and (operation.execution_mode == "blocking" or operation.id in TERMINAL_ENDS | SESSION_ENDS):
        server.set_active(match[1], active=False)
    if operation.id in TERMINAL_STARTS and isinstance(value, dict):
        answer = cast("dict[str, Any]", value)
        created = cast("dict[str, Any]", answer.get("data", answer))
        server.set_active(str(created.get("id")), active=True)
