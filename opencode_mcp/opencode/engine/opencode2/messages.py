"""Messages of OpenCode 2, read from its conversations and its inbox; `translate.py` says what becomes of each entry."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from opencode_mcp.exceptions import UnexpectedResponse, WorkflowError
from opencode_mcp.opencode.client import OpenCodeClient
from opencode_mcp.opencode.engine.protocol import MessagePage
from opencode_mcp.opencode.models import Message, parse_model

from .entries import Entry, InboxEntry
from .pages import PAGE_SIZE, iter_pages, read_data, read_pages
from .shells import with_end_of_output
from .translate import Translation, translate

SKIPPED_ENTRIES = 8
"""How many entries are read beyond the messages that are wanted: not every entry is a message."""


async def list_messages(
    opencode: OpenCodeClient, session_id: str, limit: int | None, *, has_commands: bool = False
) -> list[Message]:
    """Return a session's newest messages, or all of them, oldest first; those in its inbox come last.

    The inbox is read first: what is delivered meanwhile is in the conversation then. With `has_commands` the commands
    are among them that clients have run after a prompt.
    """
    inbox = await read_data(opencode, list[InboxEntry], "session_inbox_list", sessionID=session_id)
    translation = await read_conversation(opencode, session_id, limit, has_commands)
    known = {message.info.id for message in translation.messages}
    for item in inbox:
        waits_for_turn = item.is_queued and translation.is_open
        if item.id not in known and not waits_for_turn:
            translation.add(item.to_entry())
    return translation.messages if limit is None else translation.messages[-limit:]


async def read_message_page(opencode: OpenCodeClient, session_id: str, limit: int, before: str | None) -> MessagePage:
    """Return a session's newest messages, or those before the message with this id.

    Raises:
        WorkflowError: the session has no message with this id.
    """
    if before is None:
        messages = await list_messages(opencode, session_id, limit + 1, has_commands=True)
    else:
        everything = await list_messages(opencode, session_id, None, has_commands=True)
        end = next((at for at, message in enumerate(everything) if message.info.id == before), None)
        if end is None:
            raise WorkflowError(f"{session_id} has no message {before}: pass the `earlier` of a result", session_id)
        messages = everything[:end]
    page = messages[-limit:]
    return MessagePage(page, page[0].info.id if len(messages) > limit else None)


async def read_message(opencode: OpenCodeClient, session_id: str, message_id: str) -> Message:
    """Return a message: with those around it, as these say how its turn has ended, and what it replies to.

    Raises:
        APIError: 404, there is none.
        UnexpectedResponse: OpenCode has something else with this id.
    """
    conversation: list[Entry] = []
    async with aclosing(iter_entries(opencode, session_id, PAGE_SIZE)) as pages:
        async for page in pages:
            conversation[:0] = page
            if (message := find_message(from_first_prompt(conversation), message_id)) is not None:
                return message
    if (message := find_message(conversation, message_id)) is not None:
        return message
    entry = await read_data(opencode, Entry, "session_message_get", sessionID=session_id, messageID=message_id)
    raise UnexpectedResponse(f"{message_id} is of the type {entry.type}, not a message of a user or a model")


def find_message(conversation: Sequence[Entry], message_id: str) -> Message | None:
    """Return a message of a conversation."""
    messages = translate(conversation, has_commands=True).messages
    return next((message for message in messages if message.info.id == message_id), None)


async def read_conversation(
    opencode: OpenCodeClient, session_id: str, limit: int | None, has_commands: bool
) -> Translation:
    """Read a session's conversation back to its beginning, or as far as the newest messages need it.

    These need the prompt that they reply to: it is looked up where it is far behind.
    """
    conversation: list[Entry] = []
    size = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit + SKIPPED_ENTRIES)
    async with aclosing(iter_entries(opencode, session_id, size)) as pages:
        async for page in pages:
            conversation[:0] = page
            if limit is None:
                continue
            translation = translate(from_first_prompt(conversation), has_commands=has_commands)
            if len(translation.messages) >= limit:
                return translation
            if translation.messages or len(translate(conversation, has_commands=has_commands).messages) < limit:
                continue
            prompt_id = await find_prompt_before(opencode, session_id, conversation[0])
            if prompt_id is not None:
                return translate(conversation, prompt_id, has_commands=has_commands)
    return translate(conversation, has_commands=has_commands)


async def iter_entries(opencode: OpenCodeClient, session_id: str, size: int) -> AsyncGenerator[list[Entry]]:
    """Yield the pages of a conversation, the newest page first, and in each the oldest entry first."""
    async with aclosing(iter_pages(opencode, "session_message_list", size, sessionID=session_id)) as pages:
        async for page in pages:
            entries = parse_entries(page[::-1])
            yield [await with_end_of_output(opencode, session_id, entry) for entry in entries]


def parse_entries(entries: list[dict[str, Any]]) -> list[Entry]:
    """Parse the entries of a page."""
    return parse_model("the response of session_message_list", list[Entry], entries)


def from_first_prompt(conversation: Sequence[Entry]) -> Sequence[Entry]:
    """Return what comes from the first prompt on; all of it has a known prompt."""
    start = next((at for at, entry in enumerate(conversation) if entry.type == "user"), len(conversation))
    return conversation[start:]


async def find_prompt_before(opencode: OpenCodeClient, session_id: str, entry: Entry) -> str | None:
    """Return the newest prompt of a session, None if it has none, or has got it after an entry."""
    newest = parse_entries(await read_pages(opencode, "session_message_list", 1, sessionID=session_id, type="user"))
    return newest[0].id if newest and newest[0].time.created <= entry.time.created else None
