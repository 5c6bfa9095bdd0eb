"""Explains failures without a cause by further requests, and returns a partial result where possible."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from opencode_mcp.exceptions import APIError, OpenCodeError
from opencode_mcp.openapi import Operation

from .client import OpenCode
from .responses import Answer

NEVER = r"[^\s\S]"
"""A regular expression that compiles and matches nothing."""

NO_RIPGREP = "ripgrep (rg) is missing on OpenCode's machine, or fails to run: install it there and restart OpenCode."
BAD_PATTERN = "The regular expression does not compile (Rust syntax): correct or escape `pattern`."
NOT_TEXT = (
    "A matching line or file name is not UTF-8, which OpenCode cannot return: narrow `pattern`, or run "
    "rg in the shell of a task."
)
LEFT_OUT = (
    "Incomplete: matching lines that are not UTF-8 are omitted, as OpenCode cannot return them. "
    "`submatches` are unknown."
)
NOT_UTF8 = "The file is not UTF-8 text. v2_fs_read returns its bytes as base64."


async def explain_search(
    opencode: OpenCode, operation: Operation, arguments: Mapping[str, Any], error: APIError
) -> Answer:
    """Find out why a search failed; where a line that is not UTF-8 matches, return the lines that are.

    Raises:
        APIError: the same error, with its cause: no ripgrep, a wrong pattern, or nothing can be returned.
    """
    if error.status != 500:
        raise error
    pattern = arguments["pattern"]
    if await search(opencode, arguments, NEVER) is None:
        raise advised(error, NO_RIPGREP) from error
    if await search(opencode, arguments, f"(?:{pattern}){NEVER}") is None:
        raise advised(error, BAD_PATTERN) from error
    # `.` matches only valid UTF-8, so only lines that are entirely text match.
    found = await search(opencode, arguments, f"^.*?(?:{pattern}).*$")
    if found is None:
        raise advised(error, NOT_TEXT) from error
    return Answer([{**match, "submatches": []} for match in found], fields={"note": LEFT_OUT})


async def search(opencode: OpenCode, arguments: Mapping[str, Any], pattern: str) -> list[dict[str, Any]] | None:
    """Return the matches of a pattern in the directory of the arguments, None if the search fails with 500."""
    place = {key: arguments[key] for key in ("directory", "workspace") if key in arguments}
    try:
        return await opencode.call("find_text", pattern=pattern, **place)
    except APIError as error:
        if error.status != 500:
            raise
        return None


async def explain_read(
    opencode: OpenCode, operation: Operation, arguments: Mapping[str, Any], error: APIError
) -> Answer:
    """Return a binary file in the form in which OpenCode returns binary files.

    Raises:
        APIError: the same error, with its cause as far as it is known.
    """
    given = PurePosixPath(arguments["path"].replace("\\", "/"))
    root = arguments.get("directory") or opencode.directory
    if given.is_absolute() and root is not None and given.is_relative_to(root):
        given = given.relative_to(root)
    place = {key: arguments[key] for key in ("directory", "workspace") if key in arguments}
    if error.status != 500 or given.is_absolute():
        raise error
    try:
        content: Any = await opencode.call("v2_fs_read", path=str(given), **({"location": place} if place else {}))
    except OpenCodeError:
        raise error from None  # that operation does not find the file either, or does not exist
    if not isinstance(content, bytes):
        raise error
    media_type = mimetypes.guess_type(given.name)[0] or "application/octet-stream"
    if media_type.startswith("text/"):
        raise advised(error, NOT_UTF8) from error
    encoded = base64.b64encode(content).decode()
    return Answer({"type": "binary", "content": encoded, "encoding": "base64", "mimeType": media_type})


def advised(error: APIError, advice: str) -> APIError:
    """Return an error with other advice."""
    return APIError(error.operation, error.status, error.name, error.message, error.body, advice)
