"""Which sessions of OpenCode 2 are busy, and where."""

from __future__ import annotations

from functools import partial
from typing import Any

from opencode_mcp.exceptions import APIError, InvalidArguments
from opencode_mcp.opencode.client import OpenCodeClient
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.models import SessionStatus
from opencode_mcp.opencode.remote_path import to_pure_path

from .pages import read_data
from .sessions import read_session
from .shells import list_sessions_with_commands

BUSY = SessionStatus(type="busy")


async def read_statuses(opencode: OpenCodeClient, directory: str | None) -> dict[str, SessionStatus]:
    """Return the sessions that this OpenCode runs, whatever their directory, and those whose commands run in one.

    A session that waits for a permission or an answer is among them.
    """
    active: dict[str, Any]
    with_commands: list[str]
    active, with_commands = await gather(
        partial(list_active, opencode),
        partial(list_sessions_with_commands, opencode, directory),
    )
    return dict.fromkeys([*active, *with_commands], BUSY)


async def list_active(opencode: OpenCodeClient) -> dict[str, Any]:
    """Return the sessions that this OpenCode runs, by id; not those that only run a command."""
    return await read_data(opencode, dict[str, Any], "session_active")


async def list_running(opencode: OpenCodeClient, directory: str) -> set[str]:
    """Return the busy sessions whose directory is this one or below it; one that cannot be read is not."""
    busy = await read_statuses(opencode, directory)
    return {session_id for session_id in busy if await works_in(opencode, session_id, directory)}


async def works_in(opencode: OpenCodeClient, session_id: str, directory: str) -> bool:
    """Whether a session's directory is this one, or below it."""
    try:
        own = to_pure_path((await read_session(opencode, session_id)).directory)
    except InvalidArguments:  # its directory is outside of --allow-directory
        return False
    except APIError as error:
        if error.status != 404:
            raise
        return False
    return own.is_relative_to(to_pure_path(directory))
