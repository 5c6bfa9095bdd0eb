"""Arguments of an operation: validated, then split into path, query, headers, body and controls."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote, unquote

from opencode_mcp.catalog import Operation
from opencode_mcp.catalog.catalog import JSON_TYPE
from opencode_mcp.exceptions import InvalidArguments

from .coerce import coerce, drop_empty_names
from .problems import SHOWN_CHARS, check_schema, refuse_non_json

MAX_URL_CHARS = 15_000
"""Maximum length of path and query together: OpenCode 1.18.33 accepts 16 KiB including headers, else it responds with
431."""


@dataclass(frozen=True, slots=True)
class RequestParts:
    """The HTTP request that the arguments of one call describe: `path` is encoded, `query` decoded, `body` a JSON value
    or None."""

    path: str
    query: tuple[tuple[str, str], ...]
    body: Any
    controls: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class PreparedCall:
    """A call with validated arguments, which are not validated again. `parts` is the request."""

    operation: Operation
    arguments: Mapping[str, Any]
    parts: RequestParts


def validate(operation: Operation, arguments: Mapping[str, Any], lenient: bool = False) -> Mapping[str, Any]:
    """Return arguments that match the operation's full schema.

    Of a tool call (`lenient`), slips with only one meaning are coerced; valid arguments are returned as they are.

    Raises:
        InvalidArguments: at most ten problems, one line each, and an example.
    """
    refuse_non_json(operation.name, arguments)
    if lenient:
        arguments = drop_empty_names(arguments)
    if not operation.accepts(arguments):
        if lenient:
            arguments = drop_empty_names(coerce(operation.input_schema, operation.validator, arguments))
            refuse_non_json(operation.name, arguments)  # JSON text within them can have what JSON cannot
        check_schema(operation.name, operation.input_schema, operation.validator, arguments)
    check_url_length(operation, arguments)
    return arguments


def check_url_length(operation: Operation, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that make the URL too long.

    Raises:
        InvalidArguments: names the longest of them.
    """
    sizes = {
        parameter.argument_name: len(quote(format_scalar(arguments[parameter.argument_name]), safe=""))
        for parameter in operation.parameters
        if parameter.location in {"path", "query"} and parameter.argument_name in arguments
    }
    if sum(sizes.values()) > MAX_URL_CHARS:
        longest = max(sizes, key=lambda name: sizes[name])
        raise InvalidArguments(
            operation.name,
            [f"{longest}: {sizes[longest]} characters in the URL; all arguments together may have {MAX_URL_CHARS}"],
        )


def split_arguments(operation: Operation, arguments: Mapping[str, Any], directory: str | None) -> RequestParts:
    """Split valid arguments into a request; `directory` is the default where the operation takes one.

    Raises:
        InvalidArguments: a path argument would change the route, or OpenCode would use another directory.
    """
    query = [
        pair
        for parameter in operation.parameters
        if parameter.location == "query" and parameter.argument_name in arguments
        for pair in query_pairs(parameter.name, arguments[parameter.argument_name], parameter.style)
    ]
    if directory is not None:
        query.extend(default_directory_query(operation, arguments, directory))
    if operation.misreads_directory and (problem := directory_misreading(dict(query).get("directory", ""))):
        raise InvalidArguments(operation.name, [f"directory: {problem}"])
    return RequestParts(
        path=build_path(operation, arguments),
        query=tuple((name, escape_directory(operation, name, value)) for name, value in query),
        body=build_body(operation, arguments, directory),
        controls={name: arguments.get(name, schema.get("default")) for name, schema in operation.controls.items()},
        headers=dict(header_arguments(operation, arguments)),
    )


def header_arguments(operation: Operation, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the arguments that are sent as headers.

    Raises:
        InvalidArguments: a value is not allowed in a header.
    """
    for parameter in operation.parameters:
        if parameter.location == "header" and parameter.argument_name in arguments:
            value = format_scalar(arguments[parameter.argument_name])
            if not value.isascii() or not value.isprintable():
                raise InvalidArguments(
                    operation.name, [f"{parameter.argument_name}: must be printable ASCII to be sent as a header"]
                )
            yield parameter.name, value


def require_project(operation: Operation, arguments: Mapping[str, Any]) -> None:
    """Refuse an operation that needs a directory and was given none, rather than let OpenCode choose one.

    Raises:
        InvalidArguments: no directory was given; says how to give one.
    """
    if not operation.needs_project or "sessionID" in arguments:  # a session has its own directory
        return
    fields = (operation.body.fields or ()) if operation.body is not None else ()
    for name in ("directory", "location"):
        accepts = operation.has_query_parameter(name) or name in fields
        if accepts and not any(arguments.get(key) for key in (name, "workspace")):
            raise InvalidArguments(
                operation.name,
                [
                    f"{name}: this MCP server was started outside of a project. Pass the project's absolute path as "
                    f"`{name}`{' {directory}' if name == 'location' else ''}, or start the server with --directory"
                ],
            )


def default_directory_query(
    operation: Operation, arguments: Mapping[str, Any], directory: str
) -> Iterator[tuple[str, str]]:
    """Yield the project directory as the query pair that the operation takes.

    A workspace has its own directory, and a list of a project's sessions covers all its directories.
    """
    if operation.covers_all_directories:
        return
    if operation.has_query_parameter("directory") and not any(
        arguments.get(name) for name in ("directory", "workspace", "project")
    ):
        yield "directory", directory
    location: Mapping[str, Any] = arguments.get("location") or {}
    if operation.has_query_parameter("location") and not any(location.values()):
        yield "location[directory]", directory


def query_pairs(name: str, value: Any, style: str | None) -> Iterator[tuple[str, str]]:
    """Yield the query pairs of one argument: `name[key]=…` for a deepObject, repeated for an array."""
    if style == "deepObject":
        for key, item in cast("dict[str, Any]", value).items():
            yield f"{name}[{key}]", format_scalar(item)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield name, format_scalar(item)
    else:
        yield name, format_scalar(value)


def escape_directory(operation: Operation, name: str, value: str) -> str:
    """Escape `%` in the `directory` of a v1 operation, which OpenCode decodes twice.

    Measured on 1.18.33: ?directory=%2Fa%2541 is taken for /aA. `location[directory]`, and the
    `directory` that v2.session.list filters by, are decoded once.
    """
    decoded_twice = name == "directory" and not operation.path.startswith("/api/")
    return value.replace("%", "%25") if decoded_twice else value


def directory_misreading(directory: str) -> str | None:
    """Return why OpenCode, which decodes a session's directory like a URI component, would use another one; else
    None."""
    if re.search(r"%(?![0-9A-Fa-f]{2})", directory):
        return None  # not a valid URI component, so OpenCode leaves it unchanged
    try:
        decoded = unquote(directory, errors="strict")
    except UnicodeDecodeError:
        return None
    if decoded == directory:
        return None
    return (
        f"OpenCode decodes {directory!r} to {decoded!r} and would work there: rename the directory so that its path "
        "has no % followed by two hexadecimal digits, or run the task in a worktree"
    )


def format_scalar(value: Any) -> str:
    """Format a scalar as OpenCode expects it: booleans in lower case, numbers as in JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def build_body(operation: Operation, arguments: Mapping[str, Any], directory: str | None) -> Any:
    """Return the JSON body. An operation that takes a body always sends one: OpenCode requires it even if empty.

    If the body has a `location` (v2.session.create), the project directory is its default.
    """
    if operation.body is None:
        return None
    if operation.body.fields is None:
        return arguments.get("body", {} if operation.body.media_type == JSON_TYPE else "")
    body = {name: arguments[name] for name in operation.body.fields if name in arguments}
    if directory is not None and "location" in operation.body.fields and not body.get("location"):
        body["location"] = {"directory": directory}
    return body


def build_path(operation: Operation, arguments: Mapping[str, Any]) -> str:
    """Fill the path template, encoded.

    Raises:
        InvalidArguments: a value is empty, has a dot segment in any encoding, a backslash or a
            control character: a server may take such a path for another route.
    """
    path = operation.path
    for parameter in operation.parameters:
        if parameter.location == "path":
            value = format_scalar(arguments[parameter.argument_name])
            if reason := route_problem(value):
                raise InvalidArguments(
                    operation.name, [f"{parameter.argument_name}: {reason}; got {value[:SHOWN_CHARS]!r}"]
                )
            if parameter.allow_reserved and ("" in value.split("/")):
                raise InvalidArguments(
                    operation.name,
                    [f"{parameter.argument_name}: must be a relative path; got {value[:SHOWN_CHARS]!r}"],
                )
            path = path.replace(f"{{{parameter.name}}}", quote(value, safe="/" if parameter.allow_reserved else ""))
    return path


def route_problem(value: str) -> str | None:
    """Return why a value must not be part of a path, or None.

    Encoding it is not enough: URL parsers take %2e%2e for a dot segment, and some servers decode
    twice (the class of CVE-2026-32871). So every stage of decoding is checked.
    """
    stage = value
    while True:
        if not stage:
            return "must not be empty"
        if any(segment in {".", ".."} for segment in stage.replace("\\", "/").split("/")):
            return "must not contain a dot segment"
        if "\\" in stage:
            return "must not contain a backslash"
        if any(ord(character) < 32 or ord(character) == 127 for character in stage):
            return "must not contain a control character"
        decoded = unquote(stage)
        if decoded == stage:
            return None
        stage = decoded


def is_on_route(operation: Operation, path: str) -> bool:
    """Whether an encoded path, as it goes over the wire, lies on the operation's own route."""
    template = operation.path.split("/")
    segments = path.split("/")
    reserved = any(parameter.allow_reserved for parameter in operation.parameters)
    if len(segments) < len(template) or (len(segments) > len(template) and not reserved):
        return False
    segments[len(template) - 1 :] = ["/".join(segments[len(template) - 1 :])]
    return all(
        route_problem(segment) is None if expected.startswith("{") else segment == expected
        for expected, segment in zip(template, segments, strict=True)
    )
