"""An error of OpenCode -> its name, message and next step, without OpenCode's stack trace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from opencode_mcp.catalog.known_errors import find_known_error

SHOWN_CHARS = 2_000
SHOWN_ISSUES = 10

STACK_FRAME = re.compile(
    r"\s*at (?:async )?(?:new )?\S[^\n]*\((?:[^()\n]*:\d+:\d+|native[^()\n]*|<anonymous>)\)[^\n]*"  # at f (file:1:2)
    r"|\s*at (?:async )?(?:/|file:|node:|[A-Za-z]:[\\/])[^\n]*:\d+:\d+[^\n]*"  # at file:1:2
)
"""One line of a JavaScript stack trace."""

TRACE_MARK = b"\\n    at "
"""A marker of stack traces in JSON: one search for it is cheaper than checking every string."""


@dataclass(frozen=True, slots=True)
class ErrorDescription:
    """`name` is the server's name for the error, `message` the problem and its location, `advice` the next step."""

    name: str
    message: str
    advice: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.name, self.message) if part)


def describe_error(name: str, data: Mapping[str, Any]) -> ErrorDescription:
    """Describe an error by its name and its fields `message`, `path`, `issues` and `ref`."""
    message = strip_stack_trace(str(data.get("message") or data.get("error") or ""))
    entry = find_known_error(name, message)
    if entry is not None and entry.noise:
        lines = re.sub(entry.noise, "", message, flags=re.MULTILINE).splitlines()
        message = "; ".join(line.strip() for line in lines if line.strip())
    raw_issues: Any = data.get("issues")
    issues = [format_issue(issue) for issue in cast("list[Any]", raw_issues)] if isinstance(raw_issues, list) else []
    distinct_issues = list(dict.fromkeys(issues))
    if len(distinct_issues) > SHOWN_ISSUES:
        distinct_issues = [*distinct_issues[:SHOWN_ISSUES], f"and {len(distinct_issues) - SHOWN_ISSUES} more"]
    path: Any = data.get("path")
    file_path = path if isinstance(path, str) and path not in message else ""
    description = ": ".join(part for part in (file_path, message, "; ".join(distinct_issues)) if part)
    if data.get("ref"):
        description = f"{description} ({data['ref']})"
    return ErrorDescription(name, description[:SHOWN_CHARS], entry.advice if entry is not None else "")


def format_issue(issue: Any) -> str:
    """Return one entry of `issues`, `{"path": [keys], "message"}`, as `key.key: message`."""
    if not isinstance(issue, Mapping):
        return str(issue)
    fields = cast("Mapping[str, Any]", issue)
    path: Any = fields.get("path")
    dotted_path = ".".join(map(str, cast("list[Any]", path))) if isinstance(path, list) else str(path or "")
    return ": ".join(part for part in (dotted_path, str(fields.get("message") or "")) if part)


def strip_stack_trace(text: str) -> str:
    """Return a text without the lines of a stack trace."""
    if "at " not in text or "\n" not in text:
        return text
    return "\n".join(line for line in text.split("\n") if not STACK_FRAME.fullmatch(line)).strip()


def strip_stack_traces(value: Any, in_error: bool = False) -> Any:
    """Return a copy of a JSON value whose texts below a key `error` have no stack trace."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {key: strip_stack_traces(inner, in_error or key == "error") for key, inner in fields.items()}
    if isinstance(value, list):
        return [strip_stack_traces(inner, in_error) for inner in cast("list[Any]", value)]
    return strip_stack_trace(value) if in_error and isinstance(value, str) else value
