"""Progress of a call: told at once when it changes, and again at least every ten seconds."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from opencode_mcp.opencode import Report
from opencode_mcp.opencode.background import alongside

from .lifespan import RequestContext

HEARTBEAT_SECONDS = 10.0
"""Clients give up on a silent call: Claude Code after five minutes over HTTP, some after one."""


class Progress:
    """Sends `notifications/progress` of one request; without a progress token it sends nothing."""

    def __init__(self, context: RequestContext) -> None:
        self._session = context.session
        self._outgoing = context.lifespan_context.outgoing
        self._count = 0
        self._message = "working"

    async def report(self, message: str) -> None:
        """Tell what the call is doing, unless that was told last."""
        shown = self._outgoing.text(message)
        if shown != self._message:
            self._message = shown
            await self._send()

    async def _send(self) -> None:
        self._count += 1
        await self._session.report_progress(self._count, None, self._message)

    async def beat(self) -> None:
        """Repeat the last message for as long as the call lasts."""
        while True:
            await anyio.sleep(HEARTBEAT_SECONDS)
            await self._send()


@asynccontextmanager
async def reported(context: RequestContext) -> AsyncGenerator[Report]:
    """Provide the function that reports progress of a request, which beats while the block lasts."""
    progress = Progress(context)
    async with alongside(progress.beat):
        yield progress.report
