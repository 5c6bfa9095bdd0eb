"""Collects server-sent events up to a time or a number."""

from __future__ import annotations

from typing import Any

import anyio
import httpx2

from opencode_mcp.openapi import Operation

from .arguments import RequestParts
from .client import OpenCode
from .events import MAX_EVENT_BYTES, event_type, parse
from .responses import Answer
from .server import Report, silent


async def collect_events(
    opencode: OpenCode, operation: Operation, parts: RequestParts, report: Report = silent
) -> Answer:
    """Read events until `timeout_seconds`, `max_events`, or the end of the stream.

    The answer is `{"events": […], "ended": "timeout" | "max_events" | "closed"}`. A stream may send no headers before
    its first event; that is not an error.
    """
    limit: int = parts.controls["max_events"]
    types = frozenset[str](parts.controls["types"] or ())
    events: list[dict[str, Any]] = []
    ended = "timeout"
    await opencode.server.endpoint(report)  # starting OpenCode does not count as waiting for events
    with anyio.move_on_after(parts.controls["timeout_seconds"]):
        await report(f"waiting for events of {operation.name}")
        async with opencode.stream(operation, parts, report) as response:
            async for event in httpx2.EventSource(response, max_event_size=MAX_EVENT_BYTES):
                value = parse(operation.name, event.data)
                if types and event_type(value) not in types:
                    continue
                events.append(value)
                await report(f"event {len(events)}: {event_type(value)}")
                if len(events) >= limit:
                    break
        ended = "max_events" if len(events) >= limit else "closed"
    return Answer({"events": events, "ended": ended})
