"""Idempotency: the message id is derived from the request id, so a repeated request finds its message."""

from __future__ import annotations

import hashlib
import re
import string

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import Message, Session

from .metadata import readable_metadata

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
SUFFIX_CHARS = 14
MESSAGE_TIME = re.compile("msg_([0-9a-f]{12})")
SEARCHED_SESSIONS = 200


def make_prompt_id(session: Session, newest: Message | None, request_id: str) -> str:
    """Return the id of a request's prompt in a session, in OpenCode's form but without its prefix.

    The same request at the same point of the session gives the same id, so OpenCode stores it once. OpenCode sorts
    messages by id, and takes a prompt whose id is older than the last reply for answered: so the id follows that of the
    newest message.
    """
    match = MESSAGE_TIME.match(newest.info.id) if newest is not None else None
    created = newest.info.time.created if newest is not None else session.time.created
    previous = int(match[1], 16) if match else int(created) * 0x1000
    return f"{(previous + 1) & 0xFFFF_FFFF_FFFF:012x}{request_suffix(request_id)}"


def request_suffix(request_id: str) -> str:
    """Return a request's hash, which its prompt's id has where OpenCode's ids have chance."""
    number = int.from_bytes(hashlib.sha256(request_id.encode()).digest())
    digits = ""
    for _ in range(SUFFIX_CHARS):
        number, digit = divmod(number, len(ALPHABET))
        digits += ALPHABET[digit]
    return digits


def is_same_prompt(prompt_id: str, other_id: str) -> bool:
    """Whether two ids are of the same prompt: a queued one gets another time when it is sent."""
    return prompt_id[-SUFFIX_CHARS:] == other_id[-SUFFIX_CHARS:]


async def find_request_session(opencode: OpenCodeClient, directory: str | None, request_id: str) -> str | None:
    """Return the session that was created for a request in the project: the first, if there are several."""
    listed = await engine_of(opencode).list_sessions(directory, SEARCHED_SESSIONS)
    matches = [session for session in listed if readable_metadata(session).request_id == request_id]
    return min(matches, key=lambda session: (session.time.created, session.id)).id if matches else None
