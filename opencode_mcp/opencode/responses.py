"""HTTP response -> Answer or an exception. Handles the four formats of error bodies.

An error of OpenCode is reduced to its name, message and next step, without OpenCode's stack trace.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import httpx2

from opencode_mcp.catalog import Operation
from opencode_mcp.catalog.known_errors import find_known_error
from opencode_mcp.exceptions import APIError, UnexpectedResponse
from opencode_mcp.redaction import beginning_of

TEXT_FILE_TYPES = frozenset({"application/json", "image/svg+xml", "text/html"})
"""Media types that OpenCode derives from a file's name, whose content is returned unparsed."""

SHOWN_CHARS = 2_000
"""How much of an error's text is kept."""

SHOWN_ISSUES = 10

STACK_FRAME = re.compile(
    r"\s*at (?:async )?(?:new )?\S[^\n]*\((?:[^()\n]*:\d+:\d+|native[^()\n]*|<anonymous>)\)[^\n]*"  # at f (file:1:2)
    r"|\s*at (?:async )?(?:/|file:|node:|[A-Za-z]:[\\/])[^\n]*:\d+:\d+[^\n]*"  # at file:1:2
)
"""One line of a JavaScript stack trace."""

TRACE_MARK = b"\\n    at "
"""A marker of stack traces in JSON: one search for it is cheaper than checking every string."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of an operation. `value` is parsed JSON, text, bytes, or None without a body.

    `fields` are values from outside of the body, such as `next_cursor`. `failed` marks a response that reports a
    failure with status 200. `retried` are the reasons of retries.
    """

    value: Any
    status: int = 200
    media_type: str = "application/json"
    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    failed: bool = False
    retried: tuple[str, ...] = ()


def decode_response(operation: Operation, response: httpx2.Response) -> Answer:
    """Decode a response whose body has been read.

    Raises:
        APIError: 4xx and 5xx.
        UnexpectedResponse: a web page, a redirect, or JSON that does not parse.
    """
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.status_code >= 400:
        raise api_error(operation, response)
    if response.status_code >= 300:
        raise UnexpectedResponse(
            f"{operation.name}: OpenCode redirected to {response.headers.get('location')!r}; redirects are not "
            "followed, so that credentials go only to the configured server"
        )
    if operation.returns_file and media_type in TEXT_FILE_TYPES and "content-security-policy" not in response.headers:
        media_type = "text/plain"  # a project file; OpenCode's own web page has that header
    if media_type == "text/html":
        raise UnexpectedResponse(
            f"{operation.name}: this OpenCode does not have the operation ({operation.method} {operation.path} "
            "returned its web page); a newer version may"
        )
    fields = {
        name: response.headers[header]
        for header, name in operation.returned_headers.items()
        if header in response.headers
    }
    return Answer(parse_body(operation, response, media_type), response.status_code, media_type, fields)


def parse_body(operation: Operation, response: httpx2.Response, media_type: str) -> Any:
    """Parse a successful body by its media type."""
    if response.status_code == 204 or not media_type:
        return None
    if media_type == "application/json":
        try:
            value = json.loads(response.content)
        except ValueError as error:
            raise UnexpectedResponse(
                f"{operation.name}: the response is not valid JSON ({len(response.content)} bytes): {error}"
            ) from error
        return strip_stack_traces(value) if TRACE_MARK in response.content else value
    if media_type.startswith("image/"):
        return response.content
    try:
        return response.content.decode()
    except UnicodeDecodeError:
        return response.content


def api_error(operation: Operation, response: httpx2.Response) -> APIError:
    """Convert an error body, `{name, data}`, `{_tag, message}`, `{error}` or text, to an APIError."""
    body = error_body(response)
    advice = operation.advice.get(response.status_code, "")
    if response.status_code == 401:
        advice = (
            f"The credentials are wrong or missing: set {operation.generation.credential_variables} to those of the "
            "OpenCode server."
        )
    if not isinstance(body, dict):
        text = beginning_of(strip_stack_trace(str(body)).strip(), SHOWN_CHARS)
        return APIError(operation.name, response.status_code, "", text, body, advice)
    fields = cast("dict[str, Any]", body)
    data: Any = fields.get("data")
    data_fields = cast("dict[str, Any]", data) if isinstance(data, dict) else fields
    # `_tag` first: beside it, `name` is the name of the missing object.
    name = str(fields.get("_tag") or fields.get("name") or "")
    description = describe_error(
        name, {**data_fields, "message": data_fields.get("message") or fields.get("message") or fields.get("error")}
    )
    return APIError(operation.name, response.status_code, name, description.message, body, description.advice or advice)


def error_body(response: httpx2.Response) -> Any:
    """Return an error's body, parsed when it is JSON, else its text."""
    try:
        return json.loads(response.content)
    except ValueError:
        return response.text


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
    return ErrorDescription(name, beginning_of(description, SHOWN_CHARS), entry.advice if entry is not None else "")


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
