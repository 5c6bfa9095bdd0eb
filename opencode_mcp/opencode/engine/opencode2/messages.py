"""Messages of OpenCode 2 in the terms of `models.py`."""

from __future__ import annotations

from opencode_mcp.opencode.client import OpenCodeClient
from opencode_mcp.opencode.models import Message


async def list_messages(opencode: OpenCodeClient, session_id: str, limit: int | None) -> list[Message]:
    """Return a session's newest messages, or all of them, oldest first."""
    raise NotImplementedError


async def read_message(opencode: OpenCodeClient, session_id: str, message_id: str) -> Message:
    """Return a message."""
    raise NotImplementedError
