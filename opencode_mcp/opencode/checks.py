"""Checks before and after a request: responses that only look like success, and failures without a cause.
`amendments.py` assigns them to operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, cast

from opencode_mcp.catalog import Operation
from opencode_mcp.catalog.amendments import Check
from opencode_mcp.exceptions import APIError

from .client import OpenCodeClient
from .failures import explain_read, explain_search
from .models import ProjectPath, parse_model
from .responses import Answer

BeforeCheck = Callable[[OpenCodeClient, Operation, Mapping[str, Any]], Awaitable[None]]
ArgumentCompletion = Callable[[OpenCodeClient, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
AfterCheck = Callable[[OpenCodeClient, Operation, Mapping[str, Any], Answer], Awaitable[Answer]]
FailureExplanation = Callable[[OpenCodeClient, Operation, Mapping[str, Any], APIError], Awaitable[Answer]]


async def check_session_exists(opencode: OpenCodeClient, operation: Operation, arguments: Mapping[str, Any]) -> None:
    """Raise the server's 404 for an unknown session.

    Raises:
        APIError: 404.
    """
    await opencode.call("session_get", sessionID=arguments["sessionID"])


async def check_terminal_runs(opencode: OpenCodeClient, operation: Operation, arguments: Mapping[str, Any]) -> None:
    """Raise for a terminal that does not exist or whose process has exited, which its WebSocket does not report.

    Raises:
        APIError: 404, no such terminal; 409, its process has ended.
    """
    terminal_id: str = arguments["ptyID"]
    prefix = operation.name.removesuffix("pty_connect")
    directory_arguments = {key: arguments[key] for key in ("directory", "workspace", "location") if key in arguments}
    try:
        answer: dict[str, Any] = await opencode.call(f"{prefix}pty_get", ptyID=terminal_id, **directory_arguments)
    except APIError as error:
        if error.status != 404:
            raise
        listing = f"{prefix}pty_list lists the existing ones, {prefix}pty_create creates one."
        reason = f"The terminal has exited, was removed, or belongs to another directory. {listing}"
        raise APIError(operation.name, 404, error.name, error.message, error.body, reason) from error
    terminal = answer.get("data", answer)
    if terminal.get("status") == "exited":
        message = (
            f"terminal {terminal_id} has exited (exit code {terminal.get('exitCode', 'unknown')}); its output is lost"
        )
        raise APIError(operation.name, 409, "PtyExited", message, answer, f"{prefix}pty_create creates a new one.")


async def check_file_exists(
    opencode: OpenCodeClient, operation: Operation, arguments: Mapping[str, Any], answer: Answer
) -> Answer:
    """Raise for a missing file: OpenCode returns empty content for it, so the directory listing decides.

    Raises:
        APIError: 404, the file is missing.
    """
    if answer.value.get("content") != "":
        return answer
    path = PurePosixPath(arguments["path"].replace("\\", "/"))
    directory_arguments = {key: arguments[key] for key in ("directory", "workspace") if key in arguments}
    try:
        entries: list[dict[str, Any]] = await opencode.call("file_list", path=str(path.parent), **directory_arguments)
    except APIError:
        entries = []
    if path.name not in {entry["name"] for entry in entries}:
        raise APIError(operation.name, 404, "FileNotFound", f"the file {arguments['path']!r} does not exist")
    return answer


async def mark_failed_reply(
    opencode: OpenCodeClient, operation: Operation, arguments: Mapping[str, Any], answer: Answer
) -> Answer:
    """Mark a reply that ended in a model error as failed; OpenCode sends it with status 200."""
    value: Any = answer.value
    failed = isinstance(value, dict) and bool(value.get("info", {}).get("error"))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    return replace(answer, failed=failed)


async def add_empty_note(
    opencode: OpenCodeClient, operation: Operation, arguments: Mapping[str, Any], answer: Answer
) -> Answer:
    """Add a note that explains an empty list."""
    if answer.value:
        return answer
    return replace(answer, fields={**answer.fields, "note": operation.empty_note})


async def add_directory_note(
    opencode: OpenCodeClient, operation: Operation, arguments: Mapping[str, Any], answer: Answer
) -> Answer:
    """Add a note that names the directory of an empty list."""
    if answer.value:
        return answer
    directory = arguments.get("directory") or opencode.directory or "the server's own directory"
    note = f"No pending requests in {directory}. For sessions in another directory, pass its `directory`."
    return replace(answer, fields={**answer.fields, "note": note})


async def include_worktrees(opencode: OpenCodeClient, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Extend a session list to the project's worktrees: the same folder in every working tree of the repository.

    `scope` "directory" is sent as no scope, which means the same to OpenCode.
    """
    if arguments.keys() & {"scope", "path", "workspace"}:
        return {name: value for name, value in arguments.items() if (name, value) != ("scope", "directory")}
    directory_arguments = {"directory": arguments["directory"]} if "directory" in arguments else {}
    project: Any = await opencode.call("path_get", **directory_arguments)
    if not isinstance(project, dict) or "worktree" not in project:
        return arguments  # a server that does not report the project's path
    paths = parse_model("the response of path_get", ProjectPath, cast("object", project))
    top = paths.worktree.rstrip("/\\")
    subfolder = paths.directory.removeprefix(top).replace("\\", "/").strip("/")
    if not top or (subfolder and paths.directory == subfolder):
        return arguments
    return {**arguments, "scope": "project", **({"path": subfolder} if subfolder else {})}


BEFORE_CHECKS: dict[Check, BeforeCheck] = {"session_exists": check_session_exists, "terminal_runs": check_terminal_runs}
ARGUMENT_COMPLETIONS: dict[Check, ArgumentCompletion] = {"worktrees_included": include_worktrees}
AFTER_CHECKS: dict[Check, AfterCheck] = {
    "file_exists": check_file_exists,
    "reply_succeeded": mark_failed_reply,
    "says_where": add_directory_note,
    "says_why_empty": add_empty_note,
}
FAILURE_EXPLANATIONS: dict[Check, FailureExplanation] = {
    "search_explained": explain_search,
    "read_explained": explain_read,
}
