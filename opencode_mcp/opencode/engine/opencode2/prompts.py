"""What a session of OpenCode 2 is asked to do, and how that is stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opencode_mcp.opencode.client import OpenCodeClient
from opencode_mcp.opencode.models import Session


async def send_prompt(
    opencode: OpenCodeClient,
    session: Session,
    parts: Sequence[Mapping[str, Any]],
    selection: Mapping[str, Any],
    message_id: str | None,
) -> None:
    """Send a prompt."""
    raise NotImplementedError


async def run_shell(opencode: OpenCodeClient, session_id: str, command: str) -> None:
    """Run a command."""
    raise NotImplementedError


async def abort(opencode: OpenCodeClient, session_id: str) -> None:
    """Abort a session's turn."""
    raise NotImplementedError
