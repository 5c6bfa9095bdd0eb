"""Which sessions of OpenCode 2 are busy."""

from __future__ import annotations

from functools import partial
from typing import Any

from opencode_mcp.opencode.client import OpenCodeClient
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.models import SessionStatus

from .pages import read_data
from .shells import list_sessions_with_commands

BUSY = SessionStatus(type="busy")


async def read_statuses(opencode: OpenCodeClient, directory: str | None) -> dict[str, SessionStatus]:
    """Return the sessions that this OpenCode runs, whatever their directory, and those whose commands run in one.

    A session that waits for a permission or an answer is among them.
    """
    active: dict[str, Any]
    with_commands: list[str]
    active, with_commands = await gather(
        partial(read_data, opencode, dict[str, Any], "session_active"),
        partial(list_sessions_with_commands, opencode, directory),
    )
    return dict.fromkeys([*active, *with_commands], BUSY)
