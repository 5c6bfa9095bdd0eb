"""How an operation is carried out: by the exchange and with the checks that its amendments name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opencode_mcp.exceptions import APIError
from opencode_mcp.openapi import Operation

from .arguments import RequestParts
from .checks import AFTER, BEFORE, COMPLETE, FAILED
from .client import READ_SECONDS, OpenCode
from .responses import Answer
from .server import Report, silent
from .streams import collect_events


async def perform(
    opencode: OpenCode, operation: Operation, arguments: Mapping[str, Any], report: Report = silent
) -> Answer:
    """Carry out any operation, whatever it takes beyond a request and its answer.

    Raises:
        InvalidArguments, ServerStartError, TransportError, APIError, UnexpectedResponse
    """
    opencode.allowlist.refuse_everywhere(operation)
    parts = await opencode.admitted(operation, arguments)
    await opencode.opening.check(operation, arguments, opencode.directory)
    for check in operation.checks:
        if check in BEFORE:
            await BEFORE[check](opencode, operation, arguments)
        if check in COMPLETE:
            parts = opencode.parts(operation, await COMPLETE[check](opencode, arguments))
    try:
        answer = await exchange(opencode, operation, parts, report)
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


async def exchange(opencode: OpenCode, operation: Operation, parts: RequestParts, report: Report) -> Answer:
    """Send what the operation's exchange takes, and return what comes."""
    match operation.exchange:
        case "events":
            return await collect_events(opencode, operation, parts, report)
        case "terminal":
            from .terminal import drive_terminal  # brings the WebSocket library, which few calls need

            return await drive_terminal(opencode, operation, parts, report)
        case "turn":
            return await opencode.request(operation, parts, read_seconds=None, report=report)
        case "request":
            seconds = parts.controls.get("timeout_seconds", READ_SECONDS)
            return await opencode.request(operation, parts, read_seconds=seconds, report=report)
