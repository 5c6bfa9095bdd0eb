"""Explains failures without a cause by further requests, and returns a partial result where possible."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from opencode_mcp.catalog import Operation
from opencode_mcp.exceptions import APIError, OpenCodeError

from .client import OpenCodeClient
from .responses import Answer

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
        raise with_advice(error, NO_RIPGREP_ADVICE) from error
    if await try_search(opencode, arguments, f"(?:{pattern}){MATCH_NOTHING}") is None:
        raise with_advice(error, BAD_PATTERN_ADVICE) from error
    # `.` matches only valid UTF-8, so only lines that are entirely text match.
    matches = await try_search(opencode, arguments, f"^.*?(?:{pattern}).*$")
    if matches is None:
        raise with_advice(error, NOT_TEXT_ADVICE) from error
    return Answer([{**match, "submatches": []} for match in matches], fields={"note": INCOMPLETE_NOTE})


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
        raise with_advice(error, NOT_UTF8_ADVICE) from error
    encoded = base64.b64encode(content).decode()
    return Answer({"type": "binary", "content": encoded, "encoding": "base64", "mimeType": media_type})


def with_advice(error: APIError, advice: str) -> APIError:
    """Return an error with other advice."""
    return APIError(error.operation, error.status, error.name, error.message, error.body, advice)
