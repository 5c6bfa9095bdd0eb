"""Which events change a resource, and how often that is told."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import anyio
import pytest

from opencode_mcp.opencode.background import background
from opencode_mcp.opencode.events import Event
from opencode_mcp.server.resources import Changes
from opencode_mcp.server.subscriptions import UPDATE_SECONDS, Watch


def event(kind: str, session_id: str, **properties: Any) -> Event:
    """Return an event of OpenCode."""
    return {"type": kind, "properties": {"sessionID": session_id, **properties}}


CREATED = event("session.created", "ses_child", info={"id": "ses_child", "parentID": "ses_parent"})
ASKED = event("permission.asked", "ses_child", id="per_1")
DISPOSED: Event = {"type": "global.disposed", "properties": dict[str, Any]()}
CONNECTED: Event = {"type": "stream.connected", "properties": dict[str, Any]()}
HEARTBEAT: Event = {"type": "server.heartbeat", "properties": dict[str, Any]()}
EVERYTHING = Changes(("",), subagents=True)
TODO = Changes(("todo.",))


@pytest.mark.parametrize(
    ("changes", "events", "told"),
    [
        (EVERYTHING, [event("message.updated", "ses_parent")], True),
        (EVERYTHING, [CREATED], True),
        (EVERYTHING, [ASKED], False),
        (EVERYTHING, [CREATED, None, ASKED], True),
        (EVERYTHING, [event("message.part.delta", "ses_parent")], False),
        (EVERYTHING, [HEARTBEAT], False),
        (EVERYTHING, [DISPOSED], True),
        (EVERYTHING, [CONNECTED], True),
        (TODO, [event("message.updated", "ses_parent")], False),
        (TODO, [event("todo.updated", "ses_parent")], True),
        (TODO, [event("session.deleted", "ses_parent")], True),
        (TODO, [CREATED, event("todo.updated", "ses_child")], False),
    ],
)
def test_which_events_are_told(changes: Changes, events: list[Event | None], told: bool) -> None:
    """A session's own report changes with its subagents, a view only with events of its kind."""
    watch = Watch({"ses_parent"}, changes)
    for one in events:
        if one is None:  # told meanwhile
            watch.changed = anyio.Event()
        else:
            watch.notice(one)

    assert watch.changed.is_set() is told


@pytest.mark.anyio
async def test_bursts_are_told_once_and_the_last_event_always() -> None:
    """What comes while a notification is sent, or in the pause after it, is told when the pause is over."""
    watch, times, over = Watch({"ses_parent"}, EVERYTHING), list[float](), anyio.Event()
    event_of_a_burst = event("message.updated", "ses_parent")

    async def late() -> None:
        watch.notice(event_of_a_burst)

    async def send() -> None:
        times.append(anyio.current_time())
        if len(times) == 1:
            for _ in range(100):
                watch.notice(event_of_a_burst)
        elif len(times) == 2:
            tasks.start_soon(late)  # runs as soon as the pause begins
        else:
            over.set()

    async with background() as tasks:
        tasks.start_soon(watch.tell, send)
        watch.notice(event_of_a_burst)
        with anyio.fail_after(10):
            await over.wait()

    assert len(times) == 3
    assert all(after - before > 0.9 * UPDATE_SECONDS for before, after in pairwise(times))
