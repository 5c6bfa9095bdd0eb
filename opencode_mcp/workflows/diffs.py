"""What a prompt changed in files: OpenCode sums it up after each step, a moment after it says that it is done."""

from __future__ import annotations

import time
from typing import Any

import anyio

from opencode_mcp.opencode import OpenCode
from opencode_mcp.opencode.models import FileChange, Message, as_model

from .truth import Truth

SUM_SECONDS = 10.0
"""How long the sum may lag behind; 1.18.33 takes 0.1 s on a quiet machine, some seconds on a busy one."""
TURN_MESSAGES = 200


async def diff_of(opencode: OpenCode, truth: Truth, message_id: str) -> list[FileChange]:
    """Return what a user message led to; when its turn has just ended, with all of its steps in the sum.

    A file that a step has put back as it was never comes into the sum: then the time decides.
    """
    changed = await read_diff(opencode, truth.session.id, message_id)
    if truth.newest is None or truth.newest.user_message_id != message_id or not has_just_ended(truth.newest):
        return changed
    touched = await files_touched(opencode, truth.session.id, message_id)
    with anyio.move_on_after(SUM_SECONDS):
        while any(not path.endswith(tuple(one.file for one in changed)) for path in touched):
            await anyio.sleep(0.2)
            changed = await read_diff(opencode, truth.session.id, message_id)
    return changed


def has_just_ended(newest: Message) -> bool:
    """Whether a turn ended so lately that its sum may lag behind."""
    return time.time() - (newest.info.time.completed or 0) / 1000 < SUM_SECONDS


async def read_diff(opencode: OpenCode, session_id: str, message_id: str) -> list[FileChange]:
    """Read the sum; without a message's id OpenCode always says that nothing changed (1.18.33).

    The document allows for entries without a file's name; there is nothing to say of those.
    """
    wanted = {"sessionID": session_id, "messageID": message_id}
    sent = await opencode.call_as(list[dict[str, Any]], "session_diff", **wanted)
    return as_model("the answer of session_diff", list[FileChange], [one for one in sent if one.get("file")])


async def files_touched(opencode: OpenCode, session_id: str, message_id: str) -> set[str]:
    """Return the paths that the steps of a turn have touched, as the steps themselves say."""
    messages = await opencode.call_as(list[Message], "session_messages", sessionID=session_id, limit=TURN_MESSAGES)
    return {
        path
        for message in messages
        if message.user_message_id == message_id
        for part in message.parts
        if part.type == "patch"
        for path in part.files
    }
