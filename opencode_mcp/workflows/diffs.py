"""What a prompt changed in files: OpenCode sums it up after each step, a moment after it says that it is done."""

from __future__ import annotations

import time
from typing import Any

import anyio

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import FileChange, Message, parse_model

SUM_SECONDS = 10.0
"""How long the sum may lag behind; 1.18.33 takes 0.1 s on a quiet machine, some seconds on a busy one."""
TURN_MESSAGES = 200


async def diff_of(opencode: OpenCodeClient, session_id: str, message_id: str, ended: float | None) -> list[FileChange]:
    """Return what a user message led to; when its turn has just `ended` (ms), with all of its steps in the sum.

    A file that a step has put back as it was never comes into the sum: then the time decides.
    """
    changed = await read_diff(opencode, session_id, message_id)
    if ended is None or time.time() - ended / 1000 >= SUM_SECONDS:
        return changed
    touched = await files_touched(opencode, session_id, message_id)
    deadline = anyio.current_time() + SUM_SECONDS
    while any(not path.endswith(tuple(one.file for one in changed)) for path in touched):
        if anyio.current_time() > deadline:
            break
        await anyio.sleep(0.2)
        changed = await read_diff(opencode, session_id, message_id)
    return changed


async def read_diff(opencode: OpenCodeClient, session_id: str, message_id: str) -> list[FileChange]:
    """Read the sum; without a message's id OpenCode always says that nothing changed (1.18.33).

    The document allows for entries without a file's name; there is nothing to say of those.
    """
    wanted = {"sessionID": session_id, "messageID": message_id}
    sent = await opencode.call_as(list[dict[str, Any]], "session_diff", **wanted)
    return parse_model("the response of session_diff", list[FileChange], [entry for entry in sent if entry.get("file")])


async def files_touched(opencode: OpenCodeClient, session_id: str, message_id: str) -> set[str]:
    """Return the paths that the steps of a turn have touched, as the steps themselves say."""
    return {
        path
        for message in await turn_messages(opencode, session_id, message_id)
        for part in message.parts
        if part.type == "patch"
        for path in part.files
    }


async def turn_messages(
    opencode: OpenCodeClient, session_id: str, message_id: str, limit: int = TURN_MESSAGES
) -> list[Message]:
    """Return a user's message and the replies to it, oldest first; of a long turn those among the newest messages."""
    messages = await opencode.call_as(list[Message], "session_messages", sessionID=session_id, limit=limit)
    return [message for message in messages if message.user_message_id == message_id]
