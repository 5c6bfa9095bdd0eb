"""The row about events: from a change of a session to the notification of each subscriber."""

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
"""Between two changes of a session: more than the least time between two notifications of one resource."""

PATIENCE_SECONDS = 30.0
"""After which a notification is lost."""


class Clock:
    """Knows when OpenCode told of each session's newest change, and how long the notifications took after it.

    A notification may be here before the event itself, which comes on another connection: that is no delay.
    """

    def __init__(self) -> None:
        self.told: dict[str, float] = {}
        self.early: dict[str, int] = {}
        self.waiting: dict[str, int] = {}
        self.delays: list[float] = []

    def changed(self, session: str, subscribers: int) -> None:
        """Begin to wait for the notifications of a change."""
        self.told.pop(session, None)
        self.early[session] = 0
        self.waiting[session] = subscribers

    def event(self, session: str) -> None:
        """Note the first event of a change."""
        if session in self.waiting and session not in self.told:
            self.told[session] = perf_counter()
            self.delays += [0.0] * self.early[session]

    def notified(self, session: str) -> None:
        """Note a notification; what comes beside it later is of the same change."""
        if not self.waiting.get(session):
            return
        self.waiting[session] -= 1
        if session in self.told:
            self.delays.append(perf_counter() - self.told[session])
        else:
            self.early[session] += 1

    async def over(self, session: str) -> None:
        """Wait until the event of a session's newest change and all of its notifications have come.

        Raises:
            RuntimeError: some did not.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while session in self.waiting and (self.waiting[session] or session not in self.told):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise RuntimeError(f"{self.waiting[session]} notifications of a change did not come") from None


async def heard(direct: httpx2.AsyncClient, clock: Clock, ready: asyncio.Event) -> None:
    """Hear OpenCode's own events, as the bridge does."""
    async with direct.stream("GET", "/global/event", timeout=None) as response:
        async for event in httpx2.EventSource(response):
            payload: dict[str, Any] = json.loads(event.data)["payload"]
            if payload["type"] == "server.connected":
                ready.set()
            if payload["type"] == "session.updated":
                clock.event(payload["properties"]["info"]["id"])


@asynccontextmanager
async def subscriber(client: Http, session: str, clock: Clock) -> AsyncGenerator[None]:
    """Subscribe to a session, in the way of the client's era."""
    uri = f"opencode://session/{session}"
    ready = asyncio.Event()

    async def listen(response: Any) -> None:
        async for line in response.content:
            if b"resources/updated" in line:
                clock.notified(session)
            elif line.startswith(b"data: {"):
                ready.set()

    async with AsyncExitStack() as stack:
        if client.era == MODERN:
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
    """Return the seconds from OpenCode's own event to the first notification of each subscriber after it.

    Raises:
        RuntimeError: a notification did not come.
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
        hearing = asyncio.create_task(heard(direct, clock, ready))
        await ready.wait()
        await asyncio.sleep(PAUSE_SECONDS)  # OpenCode is deaf for a moment, which subscribers are told of
        each = dict.fromkeys(ids, subscribers // SESSIONS)
        for turn in range(changes):
            for session in ids:
                await clock.over(session)
                clock.changed(session, each[session])
                await direct.patch(f"/session/{session}", json={"title": f"turn {turn}"})
                await asyncio.sleep(PAUSE_SECONDS / SESSIONS)
        for session in ids:
            await clock.over(session)
        hearing.cancel()
    assert len(clock.delays) == subscribers * changes
    return clock.delays


async def rows(stage: Stage, scale: float) -> list[Row]:
    """Measure the row about events."""
    subscribers = max(40, round(200 * scale))
    percent = 99 if scale >= 1 else 90  # of a short run's few the last hundredth is one
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
