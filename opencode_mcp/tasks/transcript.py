"""A conversation as text: newest message last, one line per tool call, in pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import BaseModel, Field

from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import Message, Part
from opencode_mcp.redaction import beginning_of, end_of, to_one_line

from .arguments import Arguments
from .check import read_commands
from .context import Context

SUBAGENT_TOOLS = frozenset({"task", "subagent"})
"""The tools that start a subagent; the metadata of a call has its session."""

LIKE_A_HEAD = re.compile(r"^(?=\[\w+ \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+\]$)", re.MULTILINE)
"""A line of a text that would pass for the head of another message; it is indented."""

PART_CHARS = 4_000
SUBJECT_CHARS = 200
ERROR_CHARS = 200


class ReadTranscript(Arguments):
    """Arguments of read_transcript."""

    session_id: str = Field(pattern="^ses", description="From a report or session_list.")
    limit: int = Field(20, ge=1, le=200, description="How many messages; default 20.")
    before: str | None = Field(None, description="For older messages: the last result's `earlier`.")


class Transcript(BaseModel):
    """A page of a conversation."""

    session_id: str
    messages: int
    text: str
    earlier: str | None = Field(default=None, description="Pass as `before` to read the previous page.")


async def read_transcript(context: Context, arguments: ReadTranscript) -> Transcript:
    """Read a page of a session's conversation.

    Raises:
        WorkflowError: it is a session of OpenCode's v2 API.
    """
    engine = engine_of(context.opencode)
    page = await engine.read_message_page(arguments.session_id, arguments.limit, arguments.before or None)
    if not page.messages and arguments.before is None:
        await engine.refuse_unreadable(arguments.session_id)
    return Transcript(
        session_id=arguments.session_id,
        messages=len(page.messages),
        text="\n\n".join(format_message(message) for message in page.messages),
        earlier=page.earlier,
    )


def format_message(message: Message) -> str:
    """Return one message as text: role, time (UTC), id, and its parts."""
    created = datetime.fromtimestamp(message.info.time.created / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    lines = [line for part in message.parts if (line := format_part(part))]
    if message.info.error is not None:
        lines.append(f"! {message.info.error}")
    head = f"[{message.info.role} {created} {message.info.id}]"
    return "\n".join([head, *(LIKE_A_HEAD.sub(" ", line) for line in lines)])


def format_part(part: Part) -> str:
    """Return one part as text; "" for one that a reader does not need."""
    if part.type == "tool" and part.state is not None:
        child = part.state.metadata.get("sessionId") if part.tool in SUBAGENT_TOOLS else None
        remarks = (f"session {child}" if child else "", to_one_line(part.state.error or "", ERROR_CHARS))
        return f"> {format_tool_call(part)}" + "".join(f" ({remark})" for remark in remarks if remark)
    if part.type == "file":
        return f"> file {part.filename or ''}".rstrip()
    if part.type == "text" and part.text.strip():
        text = part.text.strip()
        beginning = beginning_of(text, PART_CHARS)
        excess = len(text) - len(beginning)
        return f"{beginning}… ({excess} more characters: session_message has them)" if excess else text
    return ""


SHOWN_TEXT_CHARS = 100
"""How much of the line that is being written is shown: its end, which is new."""


def summarize_parts(parts: Sequence[Part]) -> str:
    """Return a line about the newest part of a reply, or "". A text that streams is empty until its end (1.18.33)."""
    for part in reversed(parts):
        if part.type == "tool" and part.state is not None:
            return format_tool_call(part)
        if part.type == "text" and not part.synthetic:
            newest_line = part.text.strip().rpartition("\n")[2]
            return f"writing: {end_of(newest_line, SHOWN_TEXT_CHARS)}" if newest_line else "writing"
        if part.type == "reasoning":
            return "thinking"
    return ""


def format_tool_call(part: Part) -> str:
    """Say which tool was called with what, and how far it is."""
    assert part.state is not None
    return f"{name_tool_call(part, part.state.title)}: {part.state.status}"


def name_tool_call(part: Part, title: str | None = None) -> str:
    """Return a call's tool with its title or, without one, its first argument that is a text.

    A check or setup is named by its commands.
    """
    assert part.state is not None
    first_argument = next((value for value in part.state.input.values() if isinstance(value, str)), "")
    subject = " && ".join(read_commands(first_argument)) or title or first_argument
    return f"{part.tool} {to_one_line(subject, SUBJECT_CHARS)}".rstrip()
