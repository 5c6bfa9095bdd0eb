"""Executes an operation: prepare -> choose the server -> authorize -> request | event stream | terminal | blocking
prompt.

`amendments.py` gives the execution mode and the checks of each operation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from opencode_mcp.exceptions import APIError
from opencode_mcp.openapi import Operation

from .arguments import PreparedCall
from .checks import AFTER, BEFORE, COMPLETE, FAILED
from .client import READ_SECONDS, OpenCode
from .responses import Answer
from .server import Report, silent
from .servers import LISTED_SESSIONS, Servers, newest_first, told
from .streams import collect_events

Blocking = Callable[[Servers, PreparedCall], Awaitable[Answer]]
"""Executes a call that blocks until the model is done, on the server that the call is for."""


async def execute_operation(
    servers: Servers, operation: Operation, arguments: Mapping[str, Any], report: Report, blocking: Blocking
) -> Answer:
    """Execute an operation on the server that its arguments choose, or on all of them where it lists sessions.

    Arguments are validated first, so invalid ones are not sent.

    Raises:
        What `execute` and `blocking` raise.
    """
    call = servers.default.prepare(operation, arguments)
    async with servers.for_arguments(call.arguments) as chosen:
        if operation.execution_mode == "turn":
            return await blocking(chosen, call)
        if operation.lists_sessions:
            return await list_sessions(chosen, call, report)
        return await execute(chosen.default, call, report)


async def execute(opencode: OpenCode, call: PreparedCall, report: Report = silent) -> Answer:
    """Execute a call on one server: checks before, the request, checks after.

    Raises:
        InvalidArguments, ServerStartError, TransportError, APIError, UnexpectedResponse
    """
    operation, arguments = call.operation, call.arguments
    await opencode.authorize(call)
    for check in operation.checks:
        if check in BEFORE:
            await BEFORE[check](opencode, operation, arguments)
        if check in COMPLETE:
            call = opencode.prepare(operation, await COMPLETE[check](opencode, arguments))
    try:
        answer = await send(opencode, call, report)
    except APIError as error:
        for check in operation.checks:
            if check in FAILED:
                return await FAILED[check](opencode, operation, arguments, error)
        raise
    opencode.opening.note(operation, arguments)
    for check in operation.checks:
        if check in AFTER:
            answer = await AFTER[check](opencode, operation, arguments, answer)
    return answer


async def send(opencode: OpenCode, call: PreparedCall, report: Report) -> Answer:
    """Send the request in the operation's execution mode."""
    operation, parts = call.operation, call.parts
    match operation.execution_mode:
        case "events":
            return await collect_events(opencode, operation, parts, report)
        case "terminal":
            from .terminal import drive_terminal  # imports the WebSocket library, which few calls need

            return await drive_terminal(opencode, operation, parts, report)
        case "turn":
            return await opencode.request(operation, parts, read_seconds=None, report=report)
        case "request":
            seconds = parts.controls.get("timeout_seconds", READ_SECONDS)
            return await opencode.request(operation, parts, read_seconds=seconds, report=report)


async def list_sessions(servers: Servers, call: PreparedCall, report: Report) -> Answer:
    """List sessions; with several servers, the newest of all, each with its `server`.

    The field `unreachable` names each server that returned no list, and why.

    Raises:
        What `execute` raises, if no server returns a list.
    """
    if len(servers.clients) == 1:
        return await execute(servers.default, call, report)
    answers, failures = await servers.gather(lambda opencode: execute(opencode, call, report))
    limit = int(call.arguments.get("limit", LISTED_SESSIONS))
    sessions = newest_first({name: answer.value for name, answer in answers.items()}, updated)
    # A cursor is the update time of a page's last session; sessions older than any cursor may belong to a later page.
    cursors = [float(answer.fields["next_cursor"]) for answer in answers.values() if "next_cursor" in answer.fields]
    complete = [entry for entry in sessions if updated(entry[1]) >= max(cursors, default=0)]
    kept = complete[:limit] if limit >= 0 else complete
    fields: dict[str, str] = {}
    if kept and call.operation.has_query_parameter("cursor") and (cursors or len(kept) < len(sessions)):
        fields["next_cursor"] = str(updated(kept[-1][1]))
    if failures:
        fields["unreachable"] = told(failures)
    return Answer(
        [{**session, "server": name} for name, session in kept],
        fields=fields,
        retried=tuple(reason for answer in answers.values() for reason in answer.retried),
    )


def updated(session: Mapping[str, Any]) -> float:
    """Return when a session was last changed, in milliseconds."""
    return session["time"]["updated"]
