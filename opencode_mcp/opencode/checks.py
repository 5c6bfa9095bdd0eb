"""Answers that look like success and are none, told apart. Which operation needs which check: `amendments.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from opencode_mcp.exceptions import APIError
from opencode_mcp.openapi import Operation
from opencode_mcp.openapi.amendments import Check

from .client import OpenCode
from .responses import Answer

Before = Callable[[OpenCode, Mapping[str, Any]], Awaitable[None]]
After = Callable[[OpenCode, Operation, Mapping[str, Any], Answer], Awaitable[Answer]]


async def session_exists(opencode: OpenCode, arguments: Mapping[str, Any]) -> None:
    """Raise the server's own 404 for a session that it does not know.

    Raises:
        APIError: 404.
    """
    await opencode.call("session_get", sessionID=arguments["sessionID"])


async def file_exists(opencode: OpenCode, operation: Operation, arguments: Mapping[str, Any], answer: Answer) -> Answer:
    """Tell an empty file from a missing one: only its directory's listing does.

    Raises:
        APIError: 404, the file is missing.
    """
    if answer.value.get("content") != "":
        return answer
    path = PurePosixPath(arguments["path"].replace("\\", "/"))
    where = {key: arguments[key] for key in ("directory", "workspace") if key in arguments}
    try:
        listed: list[dict[str, Any]] = await opencode.call("file_list", path=str(path.parent), **where)
    except APIError:
        listed = []
    if path.name not in {entry["name"] for entry in listed}:
        raise APIError(operation.name, 404, "FileNotFound", f"there is no file {arguments['path']!r}")
    return answer


async def reply_succeeded(
    opencode: OpenCode, operation: Operation, arguments: Mapping[str, Any], answer: Answer
) -> Answer:
    """Mark a reply as failed that ended in the model's error, which OpenCode sends as 200."""
    value: Any = answer.value
    failed = isinstance(value, dict) and bool(value.get("info", {}).get("error"))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    return replace(answer, failed=failed)


async def says_where(opencode: OpenCode, operation: Operation, arguments: Mapping[str, Any], answer: Answer) -> Answer:
    """Say for which directory an empty list holds."""
    if answer.value:
        return answer
    directory = arguments.get("directory") or opencode.directory or "the server's own directory"
    note = f"Nothing waits in {directory}. Requests of sessions elsewhere are listed only with their `directory`."
    return replace(answer, fields={**answer.fields, "note": note})


BEFORE: dict[Check, Before] = {"session_exists": session_exists}
AFTER: dict[Check, After] = {
    "file_exists": file_exists,
    "reply_succeeded": reply_succeeded,
    "says_where": says_where,
}
