"""Sessions of OpenCode's v2 API: the task tools cannot read their state, so they refuse them."""

from __future__ import annotations

from functools import partial
from typing import Any

from pydantic import BaseModel

from opencode_mcp.exceptions import APIError, UnsupportedServer, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.models import Message


class V2Response(BaseModel):
    """An answer of the second engine: what works by its session's id, or a page of messages."""

    data: dict[str, Any] | list[Any]


async def refuse_without_messages(opencode: OpenCodeClient, session_id: str) -> None:
    """Refuse a session whose messages are all of the second engine, for a tool that reads messages alone.

    Raises:
        WorkflowError: as of `refuse_second_engine`.
    """
    if not await opencode.call_as(list[Message], "session_messages", sessionID=session_id, limit=1):
        await refuse_second_engine(opencode, session_id)


async def refuse_second_engine(opencode: OpenCodeClient, session_id: str) -> None:
    """Refuse a session that has no message of the first engine, when it has any of the second, or works for it.

    1.18.33 keeps one list of sessions for both engines, and the histories apart.

    Raises:
        WorkflowError: it is a session of the second engine; which tools are for it.
    """
    try:
        active, messages = await gather(
            partial(opencode.call_as, V2Response, "v2_session_active"),
            partial(opencode.call_as, V2Response, "v2_session_messages", sessionID=session_id, limit=1),
        )
    except (UnsupportedServer, APIError):  # a server before 1.17.19, or a session that its second engine cannot read
        return
    if session_id in active.data or messages.data:
        raise WorkflowError(
            f"{session_id} is a session of OpenCode's v2 API, which the task tools cannot read or stop: use "
            "v2_session_active (is it running?), v2_session_messages (its messages) and "
            "v2_session_interrupt (stop it)",
            session_id,
        )
