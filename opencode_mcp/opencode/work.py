"""Tracks active sessions and terminals by the requests that start and end them."""

from __future__ import annotations

import re
from typing import Any, cast

from opencode_mcp.catalog import Operation

from .arguments import RequestParts
from .server import OpenCodeServer

PROMPT_STARTS = frozenset({"session.prompt_async", "v2.session.prompt"})
"""Start a turn without waiting for it."""
TERMINAL_STARTS = frozenset({"pty.create", "v2.pty.create"})
TERMINAL_ENDS = frozenset({"pty.remove", "v2.pty.remove"})
SESSION_ENDS = frozenset({"session.delete"})
ID_IN_PATH = re.compile(r"/(?:session|pty)/([^/]+)")


def mark_started(server: OpenCodeServer, operation: Operation, parts: RequestParts) -> None:
    """Record the work that a request starts, before its response."""
    match = ID_IN_PATH.search(parts.path)
    if match and (operation.execution_mode == "turn" or operation.id in PROMPT_STARTS):
        server.set_active(match[1], active=True)


def mark_finished(server: OpenCodeServer, operation: Operation, parts: RequestParts, value: Any) -> None:
    """Record the work that a completed request ended, or started with a new id."""
    match = ID_IN_PATH.search(parts.path)
    if match and (operation.execution_mode == "turn" or operation.id in TERMINAL_ENDS | SESSION_ENDS):
        server.set_active(match[1], active=False)
    if operation.id in TERMINAL_STARTS and isinstance(value, dict):
        answer = cast("dict[str, Any]", value)
        created = cast("dict[str, Any]", answer.get("data", answer))
        server.set_active(str(created.get("id")), active=True)
