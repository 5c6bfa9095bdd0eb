"""Executes a prepared call: choose the server -> authorize -> request | event stream | terminal | blocking
prompt.

`catalog/amendments.py` gives the execution mode and the checks of each operation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import httpx2

from opencode_mcp.catalog import Operation
from opencode_mcp.exceptions import APIError

from .client import OpenCodeClient
from .endpoint import ProgressCallback, ignore_progress
from .events import MAX_EVENT_BYTES, event_type, parse_event
from .pool import ServerPool, describe_failures, merge_newest_first
from .prepare import PreparedCall, RequestParts
from .response_checks import AFTER_CHECKS, ARGUMENT_COMPLETIONS, BEFORE_CHECKS, FAILURE_EXPLANATIONS
from .responses import Answer
from .transport import READ_SECONDS

DEFAULT_SESSION_LIMIT = 100
"""How many sessions OpenCode lists without a `limit` (1.18.33)."""

Blocking = Callable[[ServerPool, PreparedCall], Awaitable[Answer]]
"""Executes a call that blocks until the model is done, on the server that the call is for."""


async def execute_operation(
    servers: ServerPool, call: PreparedCall, report_progress: ProgressCallback, blocking: Blocking
) -> Answer:
    """Execute a call on the server that its arguments choose, or on all of them where it lists sessions.

    Raises:
        What `execute` and `blocking` raise.
    """
    async with servers.for_arguments(call.arguments) as chosen:
        if call.operation.execution_mode == "blocking":
            return await blocking(chosen, call)
        if call.operation.lists_sessions:
            return await list_sessions(chosen, call, report_progress)
        return await execute(chosen.default, call, report_progress)


async def execute(
    opencode: OpenCodeClient, call: PreparedCall, report_progress: ProgressCallback = ignore_progress
) -> Answer:
    """Execute a call on one server: checks before, the request, checks after.

    Raises:
        InvalidArguments, ServerStartError, TransportError, APIError, UnexpectedResponse
    """
    operation, arguments = call.operation, call.arguments
    await opencode.authorize(call)
    for check in operation.checks:
        if check in BEFORE_CHECKS:
            await BEFORE_CHECKS[check](opencode, operation, arguments)
        if check in ARGUMENT_COMPLETIONS:
            call = opencode.prepare(operation, await ARGUMENT_COMPLETIONS[check](opencode, arguments))
    try:
        answer = await send_request(opencode, call, report_progress)
    except APIError as error:
        for check in operation.checks:
            if check in FAILURE_EXPLANATIONS:
                return await FAILURE_EXPLANATIONS[check](opencode, operation, arguments, error)
        raise
    opencode.load_guard.record_loaded(operation, arguments)
    for check in operation.checks:
        if check in AFTER_CHECKS:
            answer = await AFTER_CHECKS[check](opencode, operation, arguments, answer)
    return answer


async def send_request(opencode: OpenCodeClient, call: PreparedCall, report_progress: ProgressCallback) -> Answer:
    """Send the request in the operation's execution mode."""
    operation, parts = call.operation, call.parts
    match operation.execution_mode:
        case "events":
            return await collect_events(opencode, operation, parts, report_progress)
        case "terminal":
            from .terminal import drive_terminal  # imports the WebSocket library, which few calls need

            return await drive_terminal(opencode, operation, parts, report_progress)
        case "blocking":
            return await opencode.request(operation, parts, read_seconds=None, report_progress=report_progress)
        case "request":
            seconds = parts.controls.get("timeout_seconds", READ_SECONDS)
            return await opencode.request(operation, parts, read_seconds=seconds, report_progress=report_progress)


async def list_sessions(servers: ServerPool, call: PreparedCall, report_progress: ProgressCallback) -> Answer:
    """List sessions; with several servers, the newest of all, each with its `server`.

    The field `unreachable` names each server that returned no list, and why.

    Raises:
        What `execute` raises, if no server returns a list.
    """
    if len(servers.clients) == 1:
        return await execute(servers.default, call, report_progress)
    answers, failures = await servers.gather(lambda opencode: execute(opencode, call, report_progress))
    limit = int(call.arguments.get("limit", DEFAULT_SESSION_LIMIT))
    sessions = merge_newest_first({name: answer.value for name, answer in answers.items()}, updated_at)
    # A cursor is the update time of a page's last session; sessions older than any cursor may belong to a later page.
    cursors = [float(answer.fields["next_cursor"]) for answer in answers.values() if "next_cursor" in answer.fields]
    complete = [entry for entry in sessions if updated_at(entry[1]) >= max(cursors, default=0)]
    page = complete[:limit] if limit >= 0 else complete
    fields: dict[str, str] = {}
    if page and call.operation.has_query_parameter("cursor") and (cursors or len(page) < len(sessions)):
        fields["next_cursor"] = str(updated_at(page[-1][1]))
    if failures:
        fields["unreachable"] = describe_failures(failures)
    return Answer(
        [{**session, "server": name} for name, session in page],
        fields=fields,
        retried=tuple(reason for answer in answers.values() for reason in answer.retried),
    )


def updated_at(session: Mapping[str, Any]) -> float:
    """Return when a session was last changed, in milliseconds."""
    return session["time"]["updated"]


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
