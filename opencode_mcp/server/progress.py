"""Progress of calls: told at once when it changes, and again at least every ten seconds."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

from opencode_mcp.opencode import Report

if TYPE_CHECKING:
    from .lifespan import RequestContext

ROUND_SECONDS = 5.0
"""Whoever was silent for a whole round is told of again. Clients give up on a silent call, some after a minute."""


class Progress:
    """Sends `notifications/progress` of one request; without a progress token it sends nothing."""

    def __init__(self, context: RequestContext) -> None:
        self._session = context.session
        self._redactor = context.lifespan_context.redactor
        self._count = 0
        self._message = "working"
        self.silent = self.over = False

    async def report(self, message: str) -> None:
        """Tell what the call is doing, unless that was told last."""
        shown = self._redactor.text(message)
        if shown != self._message:
            self._message = shown
            await self.send()

    async def send(self) -> None:
        """Tell what the call is doing, as long as it runs."""
        if self.over:
            return
        self.silent = False
        self._count += 1
        await self._session.report_progress(self._count, None, self._message)


class Heartbeat:
    """Repeats the progress of all calls that run. One task for all: a task each would cost a short call a quarter."""

    def __init__(self) -> None:
        self._running: set[Progress] = set()

    @contextmanager
    def reported(self, context: RequestContext) -> Generator[Report]:
        """Provide the function that reports progress of a request, which is repeated while the block lasts."""
        progress = Progress(context)
        self._running.add(progress)
        try:
            yield progress.report
        finally:
            progress.over = True
            self._running.discard(progress)

    async def beat(self) -> None:
        """Go round for ever; a client that does not take what it is sent holds up no other."""
        while True:
            with anyio.move_on_after(ROUND_SECONDS):
                async with anyio.create_task_group() as tasks:
                    for progress in self._running:
                        if progress.silent:
                            tasks.start_soon(progress.send)
                        progress.silent = True
                    await anyio.sleep_forever()
