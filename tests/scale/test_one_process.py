"""Two hundred subscribers of twenty busy sessions, at one process, over HTTP; half of them in each era."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median, quantiles

import anyio
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.connect import connect
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.opencode.events import Event, event_session_id
from opencode_mcp.settings import Settings
from tests.bridge import environ_for
from tests.conftest import RecordFigure
from tests.eventually import eventually
from tests.server.connections import run_http_bridge_process
from tests.server.tcp_proxy import open_recording_proxy

from .subscribers import SUBSCRIBERS

pytestmark = [pytest.mark.anyio, pytest.mark.scale]

SESSIONS, SUBSCRIBERS_OF_EACH, CHANGES_OF_EACH = 20, 10, 5
PAUSE_SECONDS = 1.5
"""Between two changes of a session: one that comes sooner is told of when half a second is over."""
MEDIAN_SECONDS, P99_SECONDS = 1.0, 5.0
"""Far more than it takes alone, which is less than 0.1 s: other tests keep the cores."""


@dataclass
class LatencyClock:
    """When OpenCode first told of the newest change of a session, and when each subscriber was told after that."""

    event_time: float = 0
    notification_times: dict[int, float] = field(default_factory=dict[int, float])

    def record_event(self) -> None:
        """Take the time at which OpenCode tells."""
        self.event_time = self.event_time or anyio.current_time()

    def record_notification(self, number: int) -> None:
        """Take the time at which a subscriber is told."""
        self.notification_times.setdefault(number, anyio.current_time())

    def is_complete(self) -> bool:
        """Whether all is told; what tells this clock may be the last to hear of a change."""
        return bool(self.event_time) and len(self.notification_times) == SUBSCRIBERS_OF_EACH


async def test_changes_reach_two_hundred_subscribers_at_once(
    attached: Settings, environ: Mapping[str, str], endpoint: Endpoint, catalog: Catalog, record_figure: RecordFigure
) -> None:
    """They are told at once of what changes here and there, and OpenCode's events are read once for all."""
    clocks, delays, opened = dict[str, LatencyClock](), list[float](), anyio.Event()

    def notice(event: Event) -> None:
        if event["type"] == "stream.connected":
            opened.set()
        elif event["type"] == "session.updated":
            clocks[event_session_id(event) or ""].record_event()

    async def change_again_and_again(session: str, after: float) -> None:
        clock = clocks[session]
        await anyio.sleep(after)
        for number in range(CHANGES_OF_EACH):
            clock.event_time, clock.notification_times = 0, {}
            await servers.default.call("session_update", sessionID=session, title=f"title {number}")
            await eventually(clock.is_complete)
            delays.extend(max(at - clock.event_time, 0) for at in clock.notification_times.values())
            await anyio.sleep(PAUSE_SECONDS)

    async with (
        open_recording_proxy(endpoint) as relay,
        run_http_bridge_process({**environ, **environ_for(replace(attached, url=relay.url))}) as (_, url),
        connect(attached, catalog) as servers,
        background_task_group() as tasks,
    ):
        for _ in range(SESSIONS):
            session: str = (await servers.default.call("session_create"))["id"]
            clocks[session] = LatencyClock()
            for number in range(SUBSCRIBERS_OF_EACH):
                subscribe = list(SUBSCRIBERS.values())[number % 2]
                tell = partial(clocks[session].record_notification, number)
                await tasks.start(subscribe, url, f"opencode://session/{session}", tell)
        assert (relay.open_streams, relay.streams_opened) == (1, 1)
        with servers.default.events.subscribe(notice):
            await opened.wait()  # and for a moment more OpenCode tells it nothing yet
            async with anyio.create_task_group() as changing:
                for number, session in enumerate(clocks):
                    changing.start_soon(change_again_and_again, session, (1 + number / SESSIONS) * PAUSE_SECONDS)
    p99 = quantiles(delays, n=100)[98]
    record_figure(f"{len(delays)} notifications: p50 {1e3 * median(delays):.0f} ms, p99 {1e3 * p99:.0f} ms")
    assert median(delays) < MEDIAN_SECONDS
    assert p99 < P99_SECONDS
