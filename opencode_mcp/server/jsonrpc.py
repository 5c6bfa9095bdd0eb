"""Errors for malformed JSON-RPC messages."""

from __future__ import annotations

from typing import Any, cast

import pydantic_core
from mcp_types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError


def envelope_error(text: str | bytes) -> JSONRPCError | None:
    """Return the error for a text that is not a JSON-RPC 2.0 message, or for a request with an invalid id.

    The error has the id of the request, or null without a valid one. For a notification the result is None.
    """
    try:
        decoded = pydantic_core.from_json(text)
    except ValueError:
        return make_error(PARSE_ERROR, "Parse error: this is not JSON")
    if isinstance(decoded, list):
        return make_error(INVALID_REQUEST, "Invalid request: send one message at a time; batches are not supported")
    if not isinstance(decoded, dict):
        return make_error(INVALID_REQUEST, "Invalid request: a message is a JSON object")
    message = cast("dict[str, Any]", decoded)
    if (error := request_id_error(message)) is not None:
        return error
    if is_notification(message):
        return None
    # Only a request's id is echoed: a message without a method may be a response to the server's own request.
    request_id = message["id"] if "method" in message and "id" in message else None
    return make_error(
        INVALID_REQUEST,
        'Invalid request: `jsonrpc` must be "2.0", `method` a string, and `params`, if present, an object',
        request_id,
    )


def request_id_error(message: dict[str, Any]) -> JSONRPCError | None:
    """Return the error for a request whose id is neither a string nor an integer."""
    if "method" not in message or "id" not in message or is_request_id(message["id"]):
        return None
    return make_error(INVALID_REQUEST, "Invalid request: `id` must be a string or an integer")


def is_request_id(value: Any) -> bool:
    """Whether a value may be the id of a request."""
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def is_notification(message: dict[str, Any]) -> bool:
    """Whether a message is a valid notification."""
    return (
        "id" not in message
        and message.get("jsonrpc") == "2.0"
        and isinstance(message.get("method"), str)
        and isinstance(message.get("params") or {}, dict)
    )


def make_error(code: int, message: str, request_id: str | int | None = None) -> JSONRPCError:
    """Return an error as a message."""
    return JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=message))
