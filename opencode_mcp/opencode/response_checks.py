"""Checks before and after a request: responses that only look like success, and failures without a cause.

`catalog/amendments.py` assigns them to operations. A failure without a cause is explained by further requests, with a
partial result where possible.
"""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from opencode_mcp.catalog import Operation
from opencode_mcp.catalog.amendment import Check
from opencode_mcp.exceptions import APIError, OpenCodeError

from .client import OpenCodeClient
from .other_work import check_no_other_work
from .project_sessions import include_worktrees
from .responses import Answer

BeforeCheck = Callable[[OpenCodeClient, Operation, Mapping[str, Any]], Awaitable[None]]
ArgumentCompletion = Callable[[OpenCodeClient, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
AfterCheck = Callable[[OpenCodeClient, Operation, Mapping[str, Any], Answer], Awaitable[Answer]]
FailureExplanation = Callable[[OpenCodeClient, Operation, Mapping[str, Any], APIError], Awaitable[Answer]]

MATCH_NOTHING = r"[^\s\S]"
"""A regular expression that compiles and matches nothing."""

NO_RIPGREP_ADVICE = (
    "ripgrep (rg) is missing on OpenCode's machine, or fails to run: install it there and restart OpenCode."
)
BAD_PATTERN_ADVICE = "The regular expression does not compile (Rust syntax): correct or escape `pattern`."
NOT_TEXT_ADVICE = (
    "A matching line or file name is not UTF-8, which OpenCode cannot return: narrow `pattern`, or run "
    "rg in the shell of a task."
)
INCOMPLETE_NOTE = (
    "Incomplete: matching lines that are not UTF-8 are omitted, as OpenCode cannot return them. "
    "`submatches` are unknown."
)
NOT_UTF8_ADVICE = "The file is not UTF-8 text. v2_fs_read returns its bytes as base64."


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


async def explain_search(
    opencode: OpenCodeClient, operation: Operation, arguments: Mapping[str, Any], error: APIError
) -> Answer:
    """Find out why a search failed; where a line that is not UTF-8 matches, return the lines that are.

    Raises:
        APIError: the same error, with its cause: no ripgrep, a wrong pattern, or nothing can be returned.
    """
    if error.status != 500:
        raise error
    pattern = arguments["pattern"]
    if await try_search(opencode, arguments, MATCH_NOTHING) is None:
        raise error.with_advice(NO_RIPGREP_ADVICE) from error
    if await try_search(opencode, arguments, f"(?:{pattern}){MATCH_NOTHING}") is None:
        raise error.with_advice(BAD_PATTERN_ADVICE) from error
    # `.` matches only valid UTF-8, so only lines that are entirely text match.
    matches = await try_search(opencode, arguments, f"^.*?(?:{pattern}).*$")
    if matches is None:
        raise error.with_advice(NOT_TEXT_ADVICE) from error
    return Answer([{**match, "submatches": []} for match in matches], fields={"note": INCOMPLETE_NOTE})


async def explain_read(
    opencode: OpenCodeClient, operation: Operation, arguments: Mapping[str, Any], error: APIError
) -> Answer:
    """Return a binary file in the form in which OpenCode returns binary files.

    Raises:
        APIError: the same error, with its cause as far as it is known.
    """
    path = PurePosixPath(arguments["path"].replace("\\", "/"))
    root = arguments.get("directory") or opencode.directory
    if path.is_absolute() and root is not None and path.is_relative_to(root):
        path = path.relative_to(root)
    directory_arguments = {key: arguments[key] for key in ("directory", "workspace") if key in arguments}
    if error.status != 500 or path.is_absolute():
        raise error
    try:
        content: Any = await opencode.call(
            "v2_fs_read", path=str(path), **({"location": directory_arguments} if directory_arguments else {})
        )
    except OpenCodeError:
        raise error from None  # that operation does not find the file either, or does not exist
    if not isinstance(content, bytes):
        raise error
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if media_type.startswith("text/"):
        raise error.with_advice(NOT_UTF8_ADVICE) from error
    encoded = base64.b64encode(content).decode()
    return Answer({"type": "binary", "content": encoded, "encoding": "base64", "mimeType": media_type})


async def try_search(
    opencode: OpenCodeClient, arguments: Mapping[str, Any], pattern: str
) -> list[dict[str, Any]] | None:
    """Return the matches of a pattern in the directory of the arguments, None if the search fails with 500."""
    directory_arguments = {key: arguments[key] for key in ("directory", "workspace") if key in arguments}
    try:
        return await opencode.call("find_text", pattern=pattern, **directory_arguments)
    except APIError as error:
        if error.status != 500:
            raise
        return None


BEFORE_CHECKS: dict[Check, BeforeCheck] = {
    "session_exists": check_session_exists,
    "terminal_runs": check_terminal_runs,
    "no_other_work": check_no_other_work,
}
ARGUMENT_COMPLETIONS: dict[Check, ArgumentCompletion] = {"worktrees_included": include_worktrees}
AFTER_CHECKS: dict[Check, AfterCheck] = {
    "file_exists": check_file_exists,
    "reply_succeeded": mark_failed_reply,
    "directory_note": add_directory_note,
    "empty_note": add_empty_note,
}
FAILURE_EXPLANATIONS: dict[Check, FailureExplanation] = {
    "search_explained": explain_search,
    "read_explained": explain_read,
}
