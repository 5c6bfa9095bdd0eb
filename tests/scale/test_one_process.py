"""Two hundred subscribers of twenty busy sessions, at one process, over HTTP; half of them in each era."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median, quantiles

import anyio
import pytest

from opencode_mcp.client.connect import connect
from opencode_mcp.openapi import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.background import background_task_group
from opencode_mcp.opencode.events import Event, event_session_id
from opencode_mcp.settings import Settings
from tests.bridge import variables_of
from tests.conftest import Note
from tests.eventually import eventually
from tests.server.connections import http_bridge_process
from tests.server.relay import relayed

from .subscribers import SUBSCRIBERS

pytestmark = [pytest.mark.anyio, pytest.mark.scale]

SESSIONS, SUBSCRIBERS_OF_EACH, CHANGES_OF_EACH = 20, 10, 5
PAUSE_SECONDS = 1.5
"""Between two changes of a session: one that comes sooner is told of when half a second is over."""
LIMIT_SECONDS = 0.1
BUSY_SECONDS = 1.0
"""When other tests keep the machine's cores."""


@dataclass
class Clock:
    """When OpenCode first told of the newest change of a session, and when each subscriber was told after that."""

    changed: float = 0
    told: dict[int, float] = field(default_factory=dict[int, float])

    def notice(self) -> None:
        """Take the time at which OpenCode tells."""
        self.changed = self.changed or anyio.current_time()

    def tell(self, number: int) -> None:
        """Take the time at which a subscriber is told."""
        self.told.setdefault(number, anyio.current_time())

    def is_over(self) -> bool:
        """Whether all is told; what tells this clock may be the last to hear of a change."""
        return bool(self.changed) and len(self.told) == SUBSCRIBERS_OF_EACH


async def test_changes_reach_two_hundred_subscribers_at_once(
    attached: Settings, environ: Mapping[str, str], endpoint: Endpoint, catalog: Catalog, figures: Note
) -> None:
    """They are told within 100 ms of what changes here and there, and OpenCode's events are read once for all."""
    clocks, delays, opened = dict[str, Clock](), list[float](), anyio.Event()

    def notice(event: Event) -> None:
        if event["type"] == "stream.connected":
            opened.set()
        elif event["type"] == "session.updated":
            clocks[event_session_id(event) or ""].notice()

    async def change_again_and_again(session: str, after: float) -> None:
        clock = clocks[session]
        await anyio.sleep(after)
        for number in range(CHANGES_OF_EACH):
            clock.changed, clock.told = 0, {}
            await servers.default.call("session_update", sessionID=session, title=f"title {number}")
            await eventually(clock.is_over)
            delays.extend(max(at - clock.changed, 0) for at in clock.told.values())
            await anyio.sleep(PAUSE_SECONDS)

    async with (
        relayed(endpoint) as relay,
        http_bridge_process({**environ, **variables_of(replace(attached, url=relay.url))}) as (_, url),
        connect(attached, catalog) as servers,
        background_task_group() as tasks,
    ):
        for _ in range(SESSIONS):
            session: str = (await servers.default.call("session_create"))["id"]
            clocks[session] = Clock()
            for number in range(SUBSCRIBERS_OF_EACH):
                subscribe = list(SUBSCRIBERS.values())[number % 2]
                tell = partial(clocks[session].tell, number)
                await tasks.start(subscribe, url, f"opencode://session/{session}", tell)
        assert (relay.feeds, relay.opened) == (1, 1)
        with servers.default.events.subscribe(notice):
            await opened.wait()  # and for a moment more OpenCode tells it nothing yet
            async with anyio.create_task_group() as changing:
                for number, session in enumerate(clocks):
                    changing.start_soon(change_again_and_again, session, (1 + number / SESSIONS) * PAUSE_SECONDS)
    p99 = quantiles(delays, n=100)[98]
    figures(f"{len(delays)} notifications: p50 {1e3 * median(delays):.0f} ms, p99 {1e3 * p99:.0f} ms")
    assert median(delays) < LIMIT_SECONDS
    assert p99 < BUSY_SECONDS
