"""The row about events: the latency from a session update to each subscriber's notification."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import Any

import httpx2

from tests.server.connections import free_port

from .connections import LEGACY, MODERN, HttpConnection, open_http_connection
from .results import MILLISECONDS, ResultRow, Samples, percentile
from .setup import BRIDGE, TOKEN, BenchmarkSetup, run_server
from .targets import TARGETS

SESSIONS = 20
PAUSE_SECONDS = 1.0
"""Between two updates of a session: longer than the minimum interval between notifications of a resource."""

LOST_SECONDS = 30.0
"""A notification later than this counts as lost."""


class LatencyRecorder:
    """Times the notifications of each session's latest update, from OpenCode's event on.

    A notification can arrive before the event, which comes on another connection: its delay is 0.
    """

    def __init__(self) -> None:
        self.events_at: dict[str, float] = {}
        self.early_counts: dict[str, int] = {}
        self.pending_counts: dict[str, int] = {}
        self.delays: list[float] = []

    def start_change(self, session: str, subscribers: int) -> None:
        """Expect the notifications of an update."""
        self.events_at.pop(session, None)
        self.early_counts[session] = 0
        self.pending_counts[session] = subscribers

    def record_event(self, session: str) -> None:
        """Record the first event of an update."""
        if session in self.pending_counts and session not in self.events_at:
            self.events_at[session] = perf_counter()
            self.delays += [0.0] * self.early_counts[session]

    def record_notification(self, session: str) -> None:
        """Record a notification of the latest update."""
        if not self.pending_counts.get(session):
            return
        self.pending_counts[session] -= 1
        if session in self.events_at:
            self.delays.append(perf_counter() - self.events_at[session])
        else:
            self.early_counts[session] += 1

    async def wait_until_notified(self, session: str) -> None:
        """Wait for the event and all notifications of a session's latest update.

        Raises:
            RuntimeError: some did not arrive.
        """
        try:
            async with asyncio.timeout(LOST_SECONDS):
                while session in self.pending_counts and (
                    self.pending_counts[session] or session not in self.events_at
                ):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise RuntimeError(f"{self.pending_counts[session]} notifications of an update did not arrive") from None


async def read_events(direct: httpx2.AsyncClient, recorder: LatencyRecorder, ready: asyncio.Event) -> None:
    """Read OpenCode's event stream, as the bridge does."""
    async with direct.stream("GET", "/global/event", timeout=None) as response:
        async for event in httpx2.EventSource(response):
            payload: dict[str, Any] = json.loads(event.data)["payload"]
            if payload["type"] == "server.connected":
                ready.set()
            if payload["type"] == "session.updated":
                recorder.record_event(payload["properties"]["info"]["id"])


@asynccontextmanager
async def subscribe(client: HttpConnection, session: str, recorder: LatencyRecorder) -> AsyncGenerator[None]:
    """Subscribe to a session with the client's protocol version."""
    uri = f"opencode://session/{session}"
    ready = asyncio.Event()

    async def record_notifications(response: Any) -> None:
        async for line in response.content:
            if b"resources/updated" in line:
                recorder.record_notification(session)
            elif line.startswith(b"data: {"):
                ready.set()

    async with AsyncExitStack() as stack:
        if client.protocol_version == MODERN:
            params: Mapping[str, Any] = {"notifications": {"resourceSubscriptions": [uri]}}
            post = client.post({"id": f"listen {id(ready)}", "method": "subscriptions/listen", "params": params})
            listener = asyncio.create_task(record_notifications(await stack.enter_async_context(post)))
            await ready.wait()
        else:
            get = client.session.get(client.url, headers=client.headers)
            listener = asyncio.create_task(record_notifications(await stack.enter_async_context(get)))
            await client.request("resources/subscribe", {"uri": uri})
        try:
            yield
        finally:
            listener.cancel()


async def measure_delays(setup: BenchmarkSetup, subscribers: int, changes: int) -> list[float]:
    """Return the seconds from OpenCode's event to each subscriber's next notification.

    Raises:
        RuntimeError: a notification did not arrive.
    """
    recorder, port = LatencyRecorder(), free_port()
    command = (*BRIDGE, "http", "--port", str(port))
    async with AsyncExitStack() as stack:
        direct = await stack.enter_async_context(setup.open_direct_client())
        await stack.enter_async_context(run_server(command, setup.attached_environ, port))
        ids = [(await direct.post("/session", json={})).json()["id"] for _ in range(SESSIONS)]
        for number in range(subscribers):
            client = open_http_connection(
                f"http://127.0.0.1:{port}/mcp", (LEGACY, MODERN)[(number + number // SESSIONS) % 2], TOKEN
            )
            await stack.enter_async_context(
                subscribe(await stack.enter_async_context(client), ids[number % SESSIONS], recorder)
            )
        ready = asyncio.Event()
        reader = asyncio.create_task(read_events(direct, recorder, ready))
        await ready.wait()
        await asyncio.sleep(PAUSE_SECONDS)  # a new stream misses events for a moment, and sends a notification for it
        subscribers_per_session = dict.fromkeys(ids, subscribers // SESSIONS)
        for turn in range(changes):
            for session in ids:
                await recorder.wait_until_notified(session)
                recorder.start_change(session, subscribers_per_session[session])
                await direct.patch(f"/session/{session}", json={"title": f"turn {turn}"})
                await asyncio.sleep(PAUSE_SECONDS / SESSIONS)
        for session in ids:
            await recorder.wait_until_notified(session)
        reader.cancel()
    assert len(recorder.delays) == subscribers * changes
    return recorder.delays


async def measure_rows(setup: BenchmarkSetup, scale: float) -> list[ResultRow]:
    """Measure the row about events."""
    subscribers = max(40, round(200 * scale))
    percent = 99 if scale >= 1 else 90  # a short run has too few samples for p99
    samples = [
        MILLISECONDS * seconds for seconds in await measure_delays(setup, subscribers, max(2, round(10 * scale)))
    ]
    return [
        ResultRow(
            f"{subscribers} subscribers of 20 busy sessions over HTTP, half per protocol version: from OpenCode's "
            f"event to each notification, p{percent}",
            {"bridge": Samples(samples, "ms")},
            [percentile(samples, percent)],
            "bridge",
            TARGETS["notifications"],
            note=f"{len(samples):,} notifications, none lost; the bridge reads one OpenCode event stream.",
        )
    ]
