"""The patterns of arguments in words: a regular expression helps no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PatternWords:
    """`must` completes "must be …"; `example` matches the pattern and is recognizably no real value."""

    must: str
    example: str


PATTERNS: Mapping[str, PatternWords] = {
    "^ses": PatternWords("a session's id, which starts with ses", "ses…"),
    "^msg": PatternWords("a message's id, which starts with msg", "msg…"),
    "^msg_": PatternWords("a message's id, which starts with msg_", "msg_…"),
    "^prt": PatternWords("the id of a message's part, which starts with prt", "prt…"),
    "^per": PatternWords("a permission request's id, which starts with per", "per…"),
    "^que": PatternWords("a question's id, which starts with que", "que…"),
    "^pty": PatternWords("a terminal's id, which starts with pty", "pty…"),
    "^wrk": PatternWords("a workspace's id, which starts with wrk", "wrk…"),
    "^evt_": PatternWords("an event's id, which starts with evt_", "evt_…"),
    "^#[0-9a-fA-F]{6}$": PatternWords("a color such as #00aaff", "#000000"),
    "^[^/]+/.+": PatternWords("provider/model, such as anthropic/claude-sonnet-4-5", "<provider>/<model>"),
}
"""Every pattern of the bundled document and of the task tools' arguments."""


def describe_pattern(pattern: str) -> PatternWords:
    """Return a pattern in words; one of a newer document is quoted, and its example may not match."""
    return PATTERNS.get(pattern) or PatternWords(f"text that matches {pattern}", f"{pattern.removeprefix('^')}…")
