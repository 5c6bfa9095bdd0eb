"""A message's parts as one line of text."""

from __future__ import annotations

from collections.abc import Sequence

from opencode_mcp.opencode.models import Part

SHOWN_TEXT_CHARS = 100
"""How much of the line that is being written is shown: its end, which is new."""


def summarize_parts(parts: Sequence[Part]) -> str:
    """Return a line about the newest part that has any text, or ""."""
    for part in reversed(parts):
        if part.type == "tool" and part.state is not None:
            return format_tool_call(part)
        if part.type == "text" and part.text.strip() and not part.synthetic:
            line = part.text.strip().splitlines()[-1]
            return f"writing: {line if len(line) <= SHOWN_TEXT_CHARS else '…' + line[-SHOWN_TEXT_CHARS:]}"
        if part.type == "reasoning":
            return "thinking"
    return ""


def format_tool_call(part: Part) -> str:
    """Say which tool was called with what, and how far it is."""
    assert part.state is not None
    first_argument = next((value for value in part.state.input.values() if isinstance(value, str)), "")
    subject = " ".join((part.state.title or first_argument).split())[:100]
    return f"{part.tool} {subject}: {part.state.status}" if subject else f"{part.tool}: {part.state.status}"
