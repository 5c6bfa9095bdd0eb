"""Which messages of the user belong to one turn: its prompt, and those with which OpenCode or a bridge continues it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import Message

from .attempts import find_attempt

READ_MESSAGES = (20, 200, 1000)
"""How many of the newest messages are read, more only where the turn is longer."""

RECENT_MESSAGES = READ_MESSAGES[0]
"""How many messages are read with the state of an idle session: most turns have fewer."""

SHELL_PROMPT = "The following tool was executed by the user"
"""The synthetic text of the user's message that has a shell command for its reply (1.18.33)."""


async def read_messages_back_to(
    opencode: OpenCodeClient,
    session_id: str,
    prompt_id: str,
    recent: Sequence[Message] | None = None,
    limits: Sequence[int] = READ_MESSAGES,
) -> list[Message]:
    """Return a session's newest messages, oldest first, back to a prompt or as far as the limits allow.

    `recent` are `SessionSnapshot.recent`: nothing is read where these reach back to the prompt, else only more of them.
    """
    messages = [*(recent or ())]
    if recent is not None:
        reaches_back = reach_back(messages, RECENT_MESSAGES, prompt_id)
        limits = [] if reaches_back else [limit for limit in limits if limit > RECENT_MESSAGES]
    for limit in limits:
        messages = await engine_of(opencode).list_messages(session_id, limit)
        if reach_back(messages, limit, prompt_id):
            break
    return messages


def reach_back(messages: Sequence[Message], limit: int, prompt_id: str) -> bool:
    """Whether the newest messages, read up to a limit, have all since a prompt. Ids of messages ascend (1.18.33)."""
    return len(messages) < limit or messages[0].info.id <= prompt_id


def find_turn_prompts(messages: Sequence[Message], prompt_id: str) -> frozenset[str]:
    """Return the ids of a turn's prompt and of the user's messages that continue the turn.

    Bridges send such messages to have the work or the answer corrected (`attempts.py`). OpenCode (1.18.33) writes them
    when it compacts the conversation, to go on after that (it may repeat the prompt), after the subagent of a command,
    and when a plan is approved.
    """
    prompt_ids, was_compacted = [prompt_id], False
    for message in messages:
        if message.info.role == "user" and message.info.id > prompt_id:
            compacts = any(part.type == "compaction" and part.auto for part in message.parts)
            if not (compacts or was_compacted or is_synthetic(message) or find_attempt(prompt_id, message.info.id)):
                break
            prompt_ids.append(message.info.id)
            was_compacted = compacts
    return frozenset(prompt_ids)


def is_synthetic(message: Message) -> bool:
    """Whether OpenCode has written a user's message; that of a shell command begins a turn of the user's."""
    texts = [part.text for part in message.parts if part.type == "text" and part.synthetic]
    return 0 < len(texts) == len(message.parts) and texts != [SHELL_PROMPT]


async def find_prompt_before(
    opencode: OpenCodeClient,
    session_id: str,
    first_prompt_id: str,
    message_id: str,
    recent: Sequence[Message] | None = None,
) -> str | None:
    """Return the prompt that OpenCode continues with a user's message: the first one of a turn, or its last correction.

    None where that message is itself one of these, or does not belong to the turn.
    """
    if message_id <= first_prompt_id or find_attempt(first_prompt_id, message_id):
        return None
    messages = await read_messages_back_to(opencode, session_id, first_prompt_id, recent)
    prompt_ids = find_turn_prompts(messages, first_prompt_id)
    if message_id not in prompt_ids:
        return None
    return find_last_prompt(prompt_ids, first_prompt_id)


def find_last_prompt(prompt_ids: Iterable[str], first_prompt_id: str) -> str:
    """Return the last of a turn's prompts that OpenCode has not written itself."""
    return max(prompt_id for prompt_id in prompt_ids if find_attempt(first_prompt_id, prompt_id))
