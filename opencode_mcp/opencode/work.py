"""Tracks active sessions and terminals by the requests that start and end them."""

from __future__ import annotations

import re
from typing import Any, cast

from opencode_mcp.openapi import Operation

from .arguments import RequestParts
from .server import OpenCodeServer

PROMPTS = frozenset({"session.prompt_async", "v2.session.prompt"})
"""Start a turn without waiting for it."""
TERMINAL_BEGINS = frozenset({"pty.create", "v2.pty.create"})
TERMINAL_ENDS = frozenset({"pty.remove", "v2.pty.remove"})
SESSION_ENDS = frozenset({"session.delete"})
NAMED = re.compile(r"/(?:session|pty)/([^/]+)")


def note_before(server: OpenCodeServer, operation: Operation, parts: RequestParts) -> None:
    """Record the work that a request starts, before its response."""
    named = NAMED.search(parts.path)
    if named and (operation.execution_mode == "turn" or operation.id in PROMPTS):
        server.note_work(named[1], works=True)


def note_after(server: OpenCodeServer, operation: Operation, parts: RequestParts, value: Any) -> None:
    """Record the work that a completed request ended, or started with a new id."""
    named = NAMED.search(parts.path)
    if named and (operation.execution_mode == "turn" or operation.id in TERMINAL_ENDS | SESSION_ENDS):
        server.note_work(named[1], works=False)
    if operation.id in TERMINAL_BEGINS and isinstance(value, dict):
        answer = cast("dict[str, Any]", value)
        created = cast("dict[str, Any]", answer.get("data", answer))
        server.note_work(str(created.get("id")), works=True)
