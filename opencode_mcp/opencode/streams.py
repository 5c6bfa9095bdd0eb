"""Collects server-sent events up to a time or a number."""

from __future__ import annotations

from typing import Any

import anyio
import httpx2

from opencode_mcp.catalog import Operation

from .arguments import RequestParts
from .client import OpenCodeClient
from .events import MAX_EVENT_BYTES, event_type, parse_event
from .responses import Answer
from .server import ProgressCallback, ignore_progress


async def collect_events(
    opencode: OpenCodeClient,
    operation: Operation,
    parts: RequestParts,
    report_progress: ProgressCallback = ignore_progress,
) -> Answer:
    """Read events until `timeout_seconds`, `max_events`, or the end of the stream.

    The answer is `{"events": […], "ended": "timeout" | "max_events" | "closed"}`. A stream may send no headers before
    its first event; that is not an error.
    """
    max_events: int = parts.controls["max_events"]
    types = frozenset[str](parts.controls["types"] or ())
    events: list[dict[str, Any]] = []
    ended = "timeout"
    await opencode.server.endpoint(report_progress)  # starting OpenCode does not count as waiting for events
    with anyio.move_on_after(parts.controls["timeout_seconds"]):
        await report_progress(f"waiting for events of {operation.name}")
        async with opencode.stream(operation, parts, report_progress) as response:
            async for event in httpx2.EventSource(response, max_event_size=MAX_EVENT_BYTES):
                value = parse_event(operation.name, event.data)
                if types and event_type(value) not in types:
                    continue
                events.append(value)
                await report_progress(f"event {len(events)}: {event_type(value)}")
                if len(events) >= max_events:
                    break
        ended = "max_events" if len(events) >= max_events else "closed"
    return Answer({"events": events, "ended": ended})
