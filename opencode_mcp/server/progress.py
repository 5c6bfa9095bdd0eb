"""Progress notifications: sent when the message changes, and repeated at least every ten seconds."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import anyio
from mcp.server.session import ServerSession

from opencode_mcp.opencode import ProgressCallback
from opencode_mcp.redaction import Redactor

HEARTBEAT_SECONDS = 5.0
"""A call without a notification in a whole round gets one. Clients abort a silent call, some after a minute."""


class ProgressReporter:
    """Sends `notifications/progress` of one request; without a progress token it sends nothing."""

    def __init__(self, session: ServerSession, redactor: Redactor) -> None:
        self._session = session
        self._redactor = redactor
        self._count = 0
        self._message = "working"
        self.silent = self.finished = False

    async def report(self, message: str) -> None:
        """Send a message, unless it is the last one that was sent."""
        redacted = self._redactor.redact_text(message)
        if redacted != self._message:
            self._message = redacted
            await self.send()

    async def send(self) -> None:
        """Send the current message, as long as the call runs."""
        if self.finished:
            return
        self.silent = False
        self._count += 1
        await self._session.report_progress(self._count, None, self._message)


class Heartbeat:
    """Repeats the progress of all running calls, in one task: a task for each call would make a short call 25 %
    slower."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._reporters: set[ProgressReporter] = set()
        self._has_call = anyio.Event()

    @contextmanager
    def open_reporter(self, session: ServerSession) -> Generator[ProgressCallback]:
        """Provide the progress callback of a request; its last message is repeated for the duration of the block."""
        reporter = ProgressReporter(session, self._redactor)
        self._reporters.add(reporter)
        self._has_call.set()
        try:
            yield reporter.report
        finally:
            reporter.finished = True
            self._reporters.discard(reporter)

    async def run(self) -> None:
        """Run until cancelled; a client that does not read does not delay the others.

        While no call runs it does not wake the process.
        """
        while True:
            if not self._reporters:
                self._has_call = anyio.Event()
                await self._has_call.wait()
            with anyio.move_on_after(HEARTBEAT_SECONDS):
                async with anyio.create_task_group() as tasks:
                    for reporter in self._reporters:
                        if reporter.silent:
                            tasks.start_soon(reporter.send)
                        reporter.silent = True
                    await anyio.sleep_forever()
