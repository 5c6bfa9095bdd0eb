"""The answer to `initialize` before the SDK is imported, which takes most of the time of a start.

Some clients wait 3 s for this answer, which a busy machine needs for the import alone. The SDK handles the same request
afterwards, and its answer, which is the same, is not sent. A request of another shape waits for the SDK, as do settings
that can end the start with an error or that decide which tools are listed.

This module imports nothing from outside the standard library.
"""

from __future__ import annotations

import json
import os
import select
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from opencode_mcp.server.server_info import INITIALIZE_RESULT

from .descriptors import MAX_READ_BYTES, are_stdin_and_stdout_pipes

if TYPE_CHECKING:
    from opencode_mcp.settings import Settings

WAIT_SECONDS = 0.05
"""A client writes `initialize` as it starts the process, so it is there by now; a slower one does not delay the start
for longer."""

MAX_BRACKETS = 100
"""A request with more opening brackets waits for the SDK, whose parser (pydantic 2) refuses more than 200 levels."""

VERSIONS = frozenset({"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"})
"""The protocol versions with `initialize`."""

CLIENT_FIELDS = {"name": True, "version": True, "title": False, "description": False, "websiteUrl": False}
"""The texts that a client says about itself, and whether the protocol requires them."""

CLIENT_CAPABILITIES = frozenset({"roots", "sampling", "elicitation", "experimental", "extensions"})


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """What was read from stdin, and the response that was written; None if the SDK has to answer."""

    read: bytes = b""
    response: dict[str, Any] | None = None


NOT_ANSWERED = FirstAnswer()


def answer_first(settings: Settings) -> FirstAnswer:
    """Read what the client has sent, and answer it if it is an `initialize` whose answer is known."""
    is_possible = are_stdin_and_stdout_pipes() and is_answer_known(settings)
    if not is_possible or not select.select([0], [], [], WAIT_SECONDS)[0]:
        return NOT_ANSWERED
    data = os.read(0, MAX_READ_BYTES)
    line, end, _ = data.partition(b"\n")
    response = initialize_response(line) if end else None
    if response is None:
        return FirstAnswer(data)
    remaining = memoryview(json.dumps(response, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    try:
        while remaining:
            remaining = remaining[os.write(1, remaining) :]
    except BrokenPipeError:  # the transport finds the same, and logs it
        return FirstAnswer(data)
    return FirstAnswer(data, response)


def is_answer_known(settings: Settings) -> bool:
    """Whether the answer does not depend on the settings, and none of them can end the start with an error."""
    can_fail = settings.log_file, settings.allow_directory, settings.metrics, settings.redis, settings.on_event
    return settings.document == "bundled" and not any(can_fail) and not settings.chooses_tools


def initialize_response(line: bytes) -> dict[str, Any] | None:
    """Return the response to an `initialize` request; None for anything that the SDK could answer otherwise."""
    match parse_object(line):
        case {
            "jsonrpc": "2.0",
            "id": (str() | int()) as request_id,
            "method": "initialize",
            "params": {"protocolVersion": str(version), "capabilities": capabilities, "clientInfo": client, **others},
            **rest,
        } if not (isinstance(request_id, bool) or others or rest):
            is_known = version in VERSIONS and are_client_capabilities(capabilities) and is_client(client)
            result = {**INITIALIZE_RESULT, "protocolVersion": version}
            return {"jsonrpc": "2.0", "id": request_id, "result": dict(sorted(result.items()))} if is_known else None
        case _:
            return None


def parse_object(line: bytes) -> dict[str, Any] | None:
    """Return the object that a line has as JSON; None for anything else, and for what only Python reads as JSON."""
    if line.count(b"{") + line.count(b"[") > MAX_BRACKETS:
        return None
    try:
        value: Any = json.loads(line.decode(), parse_constant=refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()  # fails for half a surrogate pair
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{name} is not JSON")


def is_client(client: Any) -> bool:
    """Whether a client describes itself by texts alone, those that the protocol requires among them."""
    if not isinstance(client, dict):
        return False
    fields = cast("dict[str, Any]", client)
    required = {name for name, is_required in CLIENT_FIELDS.items() if is_required}
    return required <= fields.keys() <= CLIENT_FIELDS.keys() and all(isinstance(text, str) for text in fields.values())


def are_client_capabilities(capabilities: Any) -> bool:
    """Whether capabilities are objects of objects, as the protocol has them, or `roots` with its one flag."""
    if not isinstance(capabilities, dict):
        return False
    fields = cast("dict[str, Any]", capabilities)
    return fields.keys() <= CLIENT_CAPABILITIES and all(
        isinstance(value, dict) and all(is_part(name, key, part) for key, part in cast("dict[str, Any]", value).items())
        for name, value in fields.items()
    )


def is_part(capability: str, key: str, part: Any) -> bool:
    """Whether a part of a client's capability has the type that the protocol gives it."""
    return isinstance(part, bool) if capability == "roots" and key == "listChanged" else isinstance(part, dict)
