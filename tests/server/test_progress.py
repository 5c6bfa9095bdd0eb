"""Progress of calls that say nothing for long."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any, cast

import anyio
import pytest

from opencode_mcp.opencode.concurrency import background_task
from opencode_mcp.redaction import NO_REDACTION
from opencode_mcp.server import progress as beating
from tests.conftest import Connect

LIMIT_SECONDS = 60
BEAT_SECONDS = 0.02


class CountingSelector(selectors.DefaultSelector):
    """Counts how often the event loop begins to wait."""

    waits = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events."""
        self.waits += 1
        return super().select(timeout)


def test_the_event_loop_sleeps_while_no_call_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither before the first call nor after the last one anything wakes the process."""
    monkeypatch.setattr(beating, "HEARTBEAT_SECONDS", BEAT_SECONDS)
    selector = CountingSelector()

    async def count_waits() -> int:
        before = selector.waits
        await anyio.sleep(20 * BEAT_SECONDS)
        return selector.waits - before

    async def measure() -> tuple[int, int]:
        heartbeat = beating.Heartbeat(NO_REDACTION)
        async with background_task(heartbeat.run):
            before = await count_waits()
            with heartbeat.open_reporter(cast("Any", None)):  # too short a call to send anything
                pass
            await anyio.sleep(2 * BEAT_SECONDS)  # for the round that has begun
            return before, await count_waits()

    counts = anyio.run(measure, backend_options={"loop_factory": lambda: asyncio.SelectorEventLoop(selector)})

    assert max(counts) <= 3


@pytest.mark.anyio
@pytest.mark.unchanged_project
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_progress_repeats_while_a_call_runs(connect: Connect, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that counts silence as death hears that the call lives, and what it does."""
    monkeypatch.setattr(beating, "HEARTBEAT_SECONDS", 0.1)
    heard: list[str | None] = []
    enough = anyio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message)
        if len(heard) >= 5:
            enough.set()

    async with connect(mode=mode) as client, anyio.create_task_group() as tasks:

        async def listen_for_events() -> None:
            arguments = {"timeout_seconds": 60, "types": ["never.comes"]}
            await client.call_tool("event_subscribe", arguments, progress_callback=hear)

        tasks.start_soon(listen_for_events)
        with anyio.fail_after(LIMIT_SECONDS):
            await enough.wait()
        tasks.cancel_scope.cancel()

    assert heard[-1] == heard[-2] == "waiting for events of event_subscribe"


@pytest.mark.anyio
@pytest.mark.unchanged_project
async def test_progress_stops_when_the_call_ends(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is repeated ends with the call."""
    monkeypatch.setattr(beating, "HEARTBEAT_SECONDS", 0.1)
    heard: list[str | None] = []
    enough = anyio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message)
        if len(heard) >= 3:
            enough.set()

    arguments = {"timeout_seconds": 60, "max_events": 1, "types": ["session.created"]}
    async with connect() as client:

        async def create_a_session() -> None:
            await enough.wait()
            await client.call_tool("session_create", {})

        async with background_task(create_a_session):
            await client.call_tool("event_subscribe", arguments, progress_callback=hear)
        told = len(heard)
        await client.call_tool("event_subscribe", {"timeout_seconds": 1, "types": ["never.comes"]})

    assert told >= 3
    assert len(heard) == told
