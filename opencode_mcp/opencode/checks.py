"""Checks before and after a request: responses that only look like success, and failures without a cause.
`amendments.py` assigns them to operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, cast

from opencode_mcp.exceptions import APIError
from opencode_mcp.openapi import Operation
from opencode_mcp.openapi.amendments import Check

from .client import OpenCode
from .failures import explain_read, explain_search
from .models import ProjectPath, as_model
from .responses import Answer

Before = Callable[[OpenCode, Operation, Mapping[str, Any]], Awaitable[None]]
Complete = Callable[[OpenCode, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
After = Callable[[OpenCode, Operation, Mapping[str, Any], Answer], Awaitable[Answer]]
Failed = Callable[[OpenCode, Operation, Mapping[str, Any], APIError], Awaitable[Answer]]


async def session_exists(opencode: OpenCode, operation: Operation, arguments: Mapping[str, Any]) -> None:
    """Raise the server's 404 for an unknown session.

    Raises:
        APIError: 404.
    """
    await opencode.call("session_get", sessionID=arguments["sessionID"])


async def terminal_runs(opencode: OpenCode, operation: Operation, arguments: Mapping[str, Any]) -> None:
    """Raise for a terminal that does not exist or whose process has exited, which its WebSocket does not report.

    Raises:
        APIError: 404, no such terminal; 409, its process has ended.
    """
    terminal: str = arguments["ptyID"]
    prefix = operation.name.removesuffix("pty_connect")
    place = {key: arguments[key] for key in ("directory", "workspace", "location") if key in arguments}
    try:
        known: dict[str, Any] = await opencode.call(f"{prefix}pty_get", ptyID=terminal, **place)
    except APIError as error:
        if error.status != 404:
            raise
        listing = f"{prefix}pty_list lists the existing ones, {prefix}pty_create creates one."
        reason = f"The terminal has exited, was removed, or belongs to another directory. {listing}"
        raise APIError(operation.name, 404, error.name, error.message, error.body, reason) from error
    facts = known.get("data", known)
    if facts.get("status") == "exited":
        said = f"terminal {terminal} has exited (exit code {facts.get('exitCode', 'unknown')}); its output is lost"
        raise APIError(operation.name, 409, "PtyExited", said, known, f"{prefix}pty_create creates a new one.")


async def file_exists(opencode: OpenCode, operation: Operation, arguments: Mapping[str, Any], answer: Answer) -> Answer:
    """Raise for a missing file: OpenCode returns empty content for it, so the directory listing decides.

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
        raise APIError(operation.name, 404, "FileNotFound", f"the file {arguments['path']!r} does not exist")
    return answer


async def reply_succeeded(
    opencode: OpenCode, operation: Operation, arguments: Mapping[str, Any], answer: Answer
) -> Answer:
    """Mark a reply that ended in a model error as failed; OpenCode sends it with status 200."""
    value: Any = answer.value
    failed = isinstance(value, dict) and bool(value.get("info", {}).get("error"))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    return replace(answer, failed=failed)


async def says_why_empty(
    opencode: OpenCode, operation: Operation, arguments: Mapping[str, Any], answer: Answer
) -> Answer:
    """Add a note that explains an empty list."""
    if answer.value:
        return answer
    return replace(answer, fields={**answer.fields, "note": operation.empty_note})


async def says_where(opencode: OpenCode, operation: Operation, arguments: Mapping[str, Any], answer: Answer) -> Answer:
    """Add a note that names the directory of an empty list."""
    if answer.value:
        return answer
    directory = arguments.get("directory") or opencode.directory or "the server's own directory"
    note = f"No pending requests in {directory}. For sessions in another directory, pass its `directory`."
    return replace(answer, fields={**answer.fields, "note": note})


async def worktrees_included(opencode: OpenCode, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Extend a session list to the project's worktrees: the same folder in every working tree of the repository.

    `scope` "directory" is sent as no scope, which means the same to OpenCode.
    """
    if arguments.keys() & {"scope", "path", "workspace"}:
        return {name: value for name, value in arguments.items() if (name, value) != ("scope", "directory")}
    where = {"directory": arguments["directory"]} if "directory" in arguments else {}
    project: Any = await opencode.call("path_get", **where)
    if not isinstance(project, dict) or "worktree" not in project:
        return arguments  # a server that does not report the project's path
    paths = as_model("the response of path_get", ProjectPath, cast("object", project))
    top = paths.worktree.rstrip("/\\")
    below = paths.directory.removeprefix(top).replace("\\", "/").strip("/")
    if not top or (below and paths.directory == below):
        return arguments
    return {**arguments, "scope": "project", **({"path": below} if below else {})}


BEFORE: dict[Check, Before] = {"session_exists": session_exists, "terminal_runs": terminal_runs}
COMPLETE: dict[Check, Complete] = {"worktrees_included": worktrees_included}
AFTER: dict[Check, After] = {
    "file_exists": file_exists,
    "reply_succeeded": reply_succeeded,
    "says_where": says_where,
    "says_why_empty": says_why_empty,
}
FAILED: dict[Check, Failed] = {"search_explained": explain_search, "read_explained": explain_read}
