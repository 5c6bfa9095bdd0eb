"""What a prompt changed in files: OpenCode sums it up after each step, a moment after it says that it is done."""

from __future__ import annotations

import time
from typing import Any

import anyio

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import FileChange, Message, parse_model

DIFF_LAG_SECONDS = 10.0
"""How long the sum may lag behind; 1.18.33 takes 0.1 s on a quiet machine, some seconds on a busy one."""
TURN_MESSAGES = 200


async def read_complete_diff(
    opencode: OpenCodeClient, session_id: str, message_id: str, completed_at: float | None
) -> list[FileChange]:
    """Return what a user message led to; when its turn has just `completed_at` (ms), with all of its steps in the sum.

    A file that a step has put back as it was never comes into the sum: then the time decides.
    """
    changes = await read_diff(opencode, session_id, message_id)
    if completed_at is None or time.time() - completed_at / 1000 >= DIFF_LAG_SECONDS:
        return changes
    touched_paths = await read_touched_paths(opencode, session_id, message_id)
    deadline = anyio.current_time() + DIFF_LAG_SECONDS
    while any(not path.endswith(tuple(change.file for change in changes)) for path in touched_paths):
        if anyio.current_time() > deadline:
            break
        await anyio.sleep(0.2)
        changes = await read_diff(opencode, session_id, message_id)
    return changes


async def read_diff(opencode: OpenCodeClient, session_id: str, message_id: str) -> list[FileChange]:
    """Read the sum; without a message's id OpenCode always says that nothing changed (1.18.33).

    The document allows for entries without a file's name; there is nothing to say of those.
    """
    arguments = {"sessionID": session_id, "messageID": message_id}
    entries = await opencode.call_as(list[dict[str, Any]], "session_diff", **arguments)
    return parse_model(
        "the response of session_diff", list[FileChange], [entry for entry in entries if entry.get("file")]
    )


async def read_touched_paths(opencode: OpenCodeClient, session_id: str, message_id: str) -> set[str]:
    """Return the paths that the steps of a turn have touched, as the steps themselves say."""
    return {
        path
        for message in await read_recent_turn_messages(opencode, session_id, message_id)
        for part in message.parts
        if part.type == "patch"
        for path in part.files
    }


async def read_recent_turn_messages(
    opencode: OpenCodeClient, session_id: str, message_id: str, limit: int = TURN_MESSAGES
) -> list[Message]:
    """Return a user's message and the replies to it, oldest first; of a long turn those among the newest messages."""
    messages = await opencode.call_as(list[Message], "session_messages", sessionID=session_id, limit=limit)
    return [message for message in messages if message.user_message_id == message_id]
