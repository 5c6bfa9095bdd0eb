"""The row about events: the latency from a session update to each subscriber's notification."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import Any

import httpx2

from .figures import MILLISECONDS, Row, Samples, percentile
from .stage import BRIDGE, TOKEN, Stage, free_port, serving
from .wire import LEGACY, MODERN, Http, http

SESSIONS = 20
PAUSE_SECONDS = 1.0
"""Between two updates of a session: longer than the minimum interval between notifications of a resource."""

LOST_SECONDS = 30.0
"""A notification later than this counts as lost."""


class Clock:
    """Times the notifications of each session's latest update, from OpenCode's event on.

    A notification can arrive before the event, which comes on another connection: its delay is 0.
    """

    def __init__(self) -> None:
        self.events_at: dict[str, float] = {}
        self.early: dict[str, int] = {}
        self.waiting: dict[str, int] = {}
        self.delays: list[float] = []

    def changed(self, session: str, subscribers: int) -> None:
        """Expect the notifications of an update."""
        self.events_at.pop(session, None)
        self.early[session] = 0
        self.waiting[session] = subscribers

    def event(self, session: str) -> None:
        """Record the first event of an update."""
        if session in self.waiting and session not in self.events_at:
            self.events_at[session] = perf_counter()
            self.delays += [0.0] * self.early[session]

    def notified(self, session: str) -> None:
        """Record a notification of the latest update."""
        if not self.waiting.get(session):
            return
        self.waiting[session] -= 1
        if session in self.events_at:
            self.delays.append(perf_counter() - self.events_at[session])
        else:
            self.early[session] += 1

    async def over(self, session: str) -> None:
        """Wait for the event and all notifications of a session's latest update.

        Raises:
            RuntimeError: some did not arrive.
        """
        try:
            async with asyncio.timeout(LOST_SECONDS):
                while session in self.waiting and (self.waiting[session] or session not in self.events_at):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise RuntimeError(f"{self.waiting[session]} notifications of an update did not arrive") from None


async def read_events(direct: httpx2.AsyncClient, clock: Clock, ready: asyncio.Event) -> None:
    """Read OpenCode's event stream, as the bridge does."""
    async with direct.stream("GET", "/global/event", timeout=None) as response:
        async for event in httpx2.EventSource(response):
            payload: dict[str, Any] = json.loads(event.data)["payload"]
            if payload["type"] == "server.connected":
                ready.set()
            if payload["type"] == "session.updated":
                clock.event(payload["properties"]["info"]["id"])


@asynccontextmanager
async def subscriber(client: Http, session: str, clock: Clock) -> AsyncGenerator[None]:
    """Subscribe to a session with the client's protocol version."""
    uri = f"opencode://session/{session}"
    ready = asyncio.Event()

    async def listen(response: Any) -> None:
        async for line in response.content:
            if b"resources/updated" in line:
                clock.notified(session)
            elif line.startswith(b"data: {"):
                ready.set()

    async with AsyncExitStack() as stack:
        if client.protocol_version == MODERN:
            params: Mapping[str, Any] = {"notifications": {"resourceSubscriptions": [uri]}}
            post = client.post({"id": f"listen {id(ready)}", "method": "subscriptions/listen", "params": params})
            listening = asyncio.create_task(listen(await stack.enter_async_context(post)))
            await ready.wait()
        else:
            get = client.session.get(client.url, headers=client.headers)
            listening = asyncio.create_task(listen(await stack.enter_async_context(get)))
            await client.request("resources/subscribe", {"uri": uri})
        try:
            yield
        finally:
            listening.cancel()


async def delays(stage: Stage, subscribers: int, changes: int) -> list[float]:
    """Return the seconds from OpenCode's event to each subscriber's next notification.

    Raises:
        RuntimeError: a notification did not arrive.
    """
    clock, port = Clock(), free_port()
    command = (*BRIDGE, "http", "--port", str(port))
    async with AsyncExitStack() as stack:
        direct = await stack.enter_async_context(stage.direct())
        await stack.enter_async_context(serving(command, stage.attached, port))
        ids = [(await direct.post("/session", json={})).json()["id"] for _ in range(SESSIONS)]
        for at in range(subscribers):
            client = http(f"http://127.0.0.1:{port}/mcp", (LEGACY, MODERN)[(at + at // SESSIONS) % 2], TOKEN)
            await stack.enter_async_context(
                subscriber(await stack.enter_async_context(client), ids[at % SESSIONS], clock)
            )
        ready = asyncio.Event()
        reading = asyncio.create_task(read_events(direct, clock, ready))
        await ready.wait()
        await asyncio.sleep(PAUSE_SECONDS)  # a new stream misses events for a moment, and sends a notification for it
        each = dict.fromkeys(ids, subscribers // SESSIONS)
        for turn in range(changes):
            for session in ids:
                await clock.over(session)
                clock.changed(session, each[session])
                await direct.patch(f"/session/{session}", json={"title": f"turn {turn}"})
                await asyncio.sleep(PAUSE_SECONDS / SESSIONS)
        for session in ids:
            await clock.over(session)
        reading.cancel()
    assert len(clock.delays) == subscribers * changes
    return clock.delays


async def rows(stage: Stage, scale: float) -> list[Row]:
    """Measure the row about events."""
    subscribers = max(40, round(200 * scale))
    percent = 99 if scale >= 1 else 90  # a short run has too few samples for p99
    taken = [MILLISECONDS * one for one in await delays(stage, subscribers, max(2, round(10 * scale)))]
    return [
        Row(
            f"{subscribers} subscribers of 20 busy sessions over HTTP, half per protocol version: from OpenCode's "
            f"event to each notification, p{percent}",
            {"bridge": Samples(taken, "ms")},
            [percentile(taken, percent)],
            "bridge",
            100,
            unit="ms",
            note=f"{len(taken):,} notifications, none lost; the bridge reads one OpenCode event stream.",
        )
    ]
