"""The handle of an MCP task, which names its turns, so that any process can read their state from OpenCode.

    ses_….msg_….run_task[.g<group>][.p<principal>].c<call>

The session, the user's message that began the turn, the tool whose result the task has, and the call. A task of
several turns names the first; the metadata of its session has the group.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from secrets import token_hex
from typing import Literal

from opencode_mcp.exceptions import WorkflowError

from .context import Context
from .idempotency import MESSAGE_TIME
from .metadata import TurnGroup, save_task_metadata, task_metadata
from .session_state import read_session

MAX_HANDLE_CHARS = 128
"""The longest id that Claude Code 2.1.332 accepts."""
MAX_GROUPS = 20
"""How many groups a session's metadata holds."""
GROUP_CHARS = 12
PRINCIPAL_CHARS = 16
CALL_CHARS = 8
HANDLE = re.compile(
    r"(ses[\w-]+)\.(msg[\w-]+)\.([a-z_]+)"
    rf"(?:\.g([0-9a-f]{{{GROUP_CHARS}}}))?(?:\.p([0-9a-f]{{{PRINCIPAL_CHARS}}}))?(?:\.c([0-9a-f]{{{CALL_CHARS}}}))?",
    re.ASCII,
)
TIME_BITS = 36
"""How many bits of the time in milliseconds the id of a message holds."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of a session, by the user's message that began it; the newest one if that is ""."""

    session_id: str
    message_id: str

    def __str__(self) -> str:
        return f"{self.session_id}.{self.message_id}"

    @property
    def created(self) -> datetime:
        """When it began, from the id of its message; now, for an id without a time."""
        now = datetime.now(UTC)
        match = MESSAGE_TIME.match(self.message_id)
        if match is None:
            return now
        now_ms = int(now.timestamp() * 1000)
        age_ms = (now_ms - (int(match[1], 16) >> 12)) % (1 << TIME_BITS)
        return datetime.fromtimestamp((now_ms - age_ms) / 1000, UTC) if age_ms < 1 << (TIME_BITS - 1) else now


@dataclass(frozen=True, slots=True)
class TaskHandle:
    """What an MCP task is for: `tool` is the tool or operation whose result it has.

    `group` is the key of several turns; with it `turns` has only the first until `load_group` has read the others.
    `principal` is a hash of the caller over HTTP, "" for a caller without authentication. `call` is random: two calls
    may wait for one turn, and the first may have ended as a task.
    """

    tool: str
    turns: tuple[Turn, ...]
    until: Literal["any", "all"] = "all"
    group: str = ""
    principal: str = ""
    call: str = ""

    def __str__(self) -> str:
        marks = {"g": self.group, "p": self.principal, "c": self.call}
        return f"{self.turns[0]}.{self.tool}{''.join(f'.{letter}{mark}' for letter, mark in marks.items() if mark)}"

    def for_call(self, principal: str | None) -> TaskHandle:
        """Return the handle of one call of an authenticated caller."""
        return replace(self, principal=hash_principal(principal, self.turns[0]), call=token_hex(CALL_CHARS // 2))


def hash_principal(principal: str | None, turn: Turn) -> str:
    """Return what a handle says about its caller; "" for a caller without authentication."""
    return "" if principal is None else sha256(f"{turn}\n{principal}".encode()).hexdigest()[:PRINCIPAL_CHARS]


def parse_handle(text: str) -> TaskHandle | None:
    """Return the handle that a text is, None for any other text."""
    match = HANDLE.fullmatch(text) if len(text) <= MAX_HANDLE_CHARS else None
    if match is None:
        return None
    session_id, message_id, tool, *marks = match.groups(default="")
    group, principal, call = marks
    return TaskHandle(tool, (Turn(session_id, message_id),), group=group, principal=principal, call=call)


async def make_handle(
    context: Context, turns: Sequence[Turn], until: Literal["any", "all"] = "all"
) -> TaskHandle | None:
    """Return the handle of turns after storing what it does not name; None if it cannot name or store them."""
    handle = TaskHandle(context.held_tool, tuple(turns), until)
    if len(turns) > 1:
        group = TurnGroup(turns=[(turn.session_id, turn.message_id) for turn in turns], until=until)
        key = sha256(group.model_dump_json().encode()).hexdigest()[:GROUP_CHARS]
        handle = replace(handle, group=key)
        async with context.for_session(turns[0].session_id) as session_context:
            opencode = session_context.opencode
            stored = task_metadata(await read_session(opencode, turns[0].session_id)).groups or {}
            newest = [entry for entry in stored.items() if entry[0] != key][-(MAX_GROUPS - 1) :]
            groups = dict([*newest, (key, group)])
            if not await save_task_metadata(opencode, turns[0].session_id, groups=groups):
                return None
    return handle if parse_handle(str(handle)) is not None else None


async def load_group(context: Context, handle: TaskHandle) -> TaskHandle:
    """Return the handle with all its turns.

    Raises:
        WorkflowError: the session no longer has the group.
        OpenCodeError: the session cannot be read.
    """
    first, *others = handle.turns
    if others or not handle.group:
        return handle
    session_id = first.session_id
    async with context.for_session(session_id) as session_context:
        group = (task_metadata(await read_session(session_context.opencode, session_id)).groups or {}).get(handle.group)
    if group is None:
        raise WorkflowError(f"session {session_id} no longer has the group of tasks {handle.group}", session_id)
    turns = tuple(Turn(*pair) for pair in group.turns)
    return replace(handle, turns=turns, until=group.until)
