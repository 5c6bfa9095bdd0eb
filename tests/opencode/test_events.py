"""The event stream that all listeners share."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import httpx2
import pytest

from opencode_mcp.opencode import events
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.opencode.event_readers import READERS
from opencode_mcp.opencode.events import EventFeed
from tests.eventually import eventually

pytestmark = pytest.mark.anyio


async def silence() -> AsyncGenerator[bytes]:
    """Send nothing."""
    await anyio.sleep_forever()
    yield b""


async def test_a_stream_stays_open_between_two_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second listener misses no event; without any for some seconds the stream is closed."""
    monkeypatch.setattr(events, "LINGER_SECONDS", 0.1)
    states: list[str] = []

    @asynccontextmanager
    async def connect() -> AsyncGenerator[httpx2.Response]:
        states.append("open")
        try:
            request = httpx2.Request("GET", "http://opencode.test")
            headers = {"content-type": "text/event-stream"}
            yield httpx2.Response(200, headers=headers, content=silence(), request=request)
        finally:
            states.append("closed")

    async with background_task_group() as tasks:
        feed = EventFeed(connect, tasks, READERS[1])
        with feed.subscribe(lambda event: None):
            await eventually(lambda: states)
        await anyio.sleep(0.05)
        with feed.subscribe(lambda event: None):
            await anyio.sleep(0.15)
            assert states == ["open"]
        await eventually(lambda: states == ["open", "closed"])
        with feed.subscribe(lambda event: None):
            await eventually(lambda: states == ["open", "closed", "open"])
