"""An error of OpenCode -> its name, message and next step, without OpenCode's stack trace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from opencode_mcp.openapi.errors import find_known_error

SHOWN_CHARS = 2_000
SHOWN_ISSUES = 10

FRAME = re.compile(
    r"\s*at (?:async )?(?:new )?\S[^\n]*\((?:[^()\n]*:\d+:\d+|native[^()\n]*|<anonymous>)\)[^\n]*"  # at f (file:1:2)
    r"|\s*at (?:async )?(?:/|file:|node:|[A-Za-z]:[\\/])[^\n]*:\d+:\d+[^\n]*"  # at file:1:2
)
"""One line of a JavaScript stack trace."""

MARK = b"\\n    at "
"""A marker of stack traces in JSON: one search for it is cheaper than checking every string."""


@dataclass(frozen=True, slots=True)
class ErrorWords:
    """`name` is the server's name for the error, `message` the problem and its location, `advice` the next step."""

    name: str
    message: str
    advice: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.name, self.message) if part)


def error_words(name: str, data: Mapping[str, Any]) -> ErrorWords:
    """Describe an error by its name and its fields `message`, `path`, `issues` and `ref`."""
    message = without_trace(str(data.get("message") or data.get("error") or ""))
    entry = find_known_error(name, message)
    if entry is not None and entry.noise:
        lines = re.sub(entry.noise, "", message, flags=re.MULTILINE).splitlines()
        message = "; ".join(line.strip() for line in lines if line.strip())
    listed: Any = data.get("issues")
    issues = [issue_words(one) for one in cast("list[Any]", listed)] if isinstance(listed, list) else []
    several = list(dict.fromkeys(issues))
    if len(several) > SHOWN_ISSUES:
        several = [*several[:SHOWN_ISSUES], f"and {len(several) - SHOWN_ISSUES} more"]
    path: Any = data.get("path")
    where = path if isinstance(path, str) and path not in message else ""
    said = ": ".join(part for part in (where, message, "; ".join(several)) if part)
    if data.get("ref"):
        said = f"{said} ({data['ref']})"
    return ErrorWords(name, said[:SHOWN_CHARS], entry.advice if entry is not None else "")


def issue_words(issue: Any) -> str:
    """Return one entry of `issues`, `{"path": [keys], "message"}`, as `key.key: message`."""
    if not isinstance(issue, Mapping):
        return str(issue)
    fields = cast("Mapping[str, Any]", issue)
    path: Any = fields.get("path")
    where = ".".join(map(str, cast("list[Any]", path))) if isinstance(path, list) else str(path or "")
    return ": ".join(part for part in (where, str(fields.get("message") or "")) if part)


def without_trace(text: str) -> str:
    """Return a text without the lines of a stack trace."""
    if "at " not in text or "\n" not in text:
        return text
    return "\n".join(line for line in text.split("\n") if not FRAME.fullmatch(line)).strip()


def without_traces(value: Any, within: bool = False) -> Any:
    """Return a copy of a JSON value whose texts below a key `error` have no stack trace."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {key: without_traces(inner, within or key == "error") for key, inner in fields.items()}
    if isinstance(value, list):
        return [without_traces(inner, within) for inner in cast("list[Any]", value)]
    return without_trace(value) if within and isinstance(value, str) else value
