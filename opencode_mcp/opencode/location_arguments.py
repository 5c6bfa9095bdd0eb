"""Arguments that name a location: a directory, a file, or the id of something that has a directory (kinds:
`scopes.py`)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from opencode_mcp.catalog import Operation
from opencode_mcp.catalog.scopes import ArgumentKind

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""The start of a URL. A single letter and a colon is a Windows drive."""

STRIPPED_CHARACTERS = "".join(map(chr, range(33)))
"""Characters that a URL parser strips from both ends."""

MENTION = re.compile(r"(?<![\w`])@(\.?[^\s`,.]*(?:\.[^\s`,.]+)*)")
"""A file mention in the arguments of a command, as OpenCode 1.18.33 matches it."""


@dataclass(frozen=True, slots=True)
class LocationArgument:
    """`value` is the value of the argument at the dotted path `name`."""

    name: str
    kind: ArgumentKind
    value: str


def location_arguments(operation: Operation, arguments: Mapping[str, Any]) -> Iterator[LocationArgument]:
    """Yield every argument of an operation that names a location, at any depth, in order."""
    yield from _location_arguments(operation, arguments, "", None)


def _location_arguments(
    operation: Operation, value: Any, dotted_name: str, kind: ArgumentKind | None
) -> Iterator[LocationArgument]:
    if isinstance(value, str):
        if kind is not None:
            yield LocationArgument(dotted_name, kind, value)
    elif isinstance(value, list):
        for number, inner in enumerate(cast("list[Any]", value)):
            yield from _location_arguments(operation, inner, f"{dotted_name}.{number}", kind)
    elif isinstance(value, Mapping):
        for name, inner in cast("Mapping[str, Any]", value).items():
            inner_name = f"{dotted_name}.{name}" if dotted_name else name
            inner_kind = operation.generation.scopes.argument_kind(operation.id, inner_name, name)
            yield from _location_arguments(operation, inner, inner_name, inner_kind)


def iter_names(value: Any) -> Iterator[str]:
    """Yield the names of all arguments and of all properties in them."""
    if isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from iter_names(inner)
    elif isinstance(value, Mapping):
        for name, inner in cast("Mapping[str, Any]", value).items():
            yield name
            yield from iter_names(inner)


def file_url_path(url: str) -> str | None:
    """Return the path of a file: URL, or None for a URL that names no file.

    OpenCode parses URLs by the WHATWG standard: surrounding spaces, tabs and line breaks are ignored, a backslash is a
    slash, and the number of slashes after the scheme may vary. Only the canonical form is accepted here, so that both
    parse the same path.

    Raises:
        ValueError: with the form to use.
    """
    refuse_blanks(url)
    if not SCHEME.match(url):
        raise ValueError("must be a URL, such as file:///absolute/path")
    if not url.lower().startswith("file:"):
        return None
    parts = urlsplit(url)
    is_plain = url.lower().startswith(("file:///", "file://localhost/")) and not parts.path.startswith("//")
    if "\\" in url or not is_plain:
        raise ValueError("must be written as file:///absolute/path")
    if "%2f" in url.lower() or "%5c" in url.lower():
        raise ValueError("must not contain an encoded slash")
    return url2pathname(parts.path)


def refuse_blanks(url: str) -> None:
    """Refuse characters that a URL parser ignores.

    Raises:
        ValueError: the URL starts or ends with a space or control character, or contains a tab or a line break.
    """
    if url != url.strip(STRIPPED_CHARACTERS) or any(character in "\t\r\n" for character in url):
        raise ValueError("must not start or end with spaces or control characters, or contain tabs or line breaks")


def location_path(location: LocationArgument) -> str | None:
    """Return the path of an argument of kind path, url or source; None if it is not a file.

    A relative path is returned as it is.

    Raises:
        ValueError: the value is ambiguous.
    """
    value = location.value
    if location.kind == "url" or value.lower().startswith("file:"):
        return file_url_path(value)
    if location.kind == "source":
        refuse_blanks(value)
        if any(scheme in value.lower() for scheme in ("file:", "link:")):
            raise ValueError("must not be a package in a folder")  # as npm has it: name@file:../folder
        if not is_absolute(value) and not value.startswith((".", "~")):
            return None
    if value == "~" or value.startswith(("~/", "~\\")):
        raise ValueError("must not start with ~: use the absolute path")
    return value


def is_absolute(path: str) -> bool:
    """Whether a path is absolute, here or on the Windows machine of a server."""
    return os.path.isabs(path) or path.startswith(("/", "\\")) or path[1:2] == ":"


def iter_decodings(path: str) -> Iterator[str]:
    """Yield a path, and the paths that OpenCode may decode it to.

    1.18.33 decodes a session's directory once too often: /a%2F..%2Fb becomes /b.
    """
    previous: str | None = None
    while previous != path:
        previous, path = path, unquote(path)
        yield previous


def leads_up(path: str) -> bool:
    """Whether a relative path leaves its base directory."""
    return os.path.normpath(path.replace("\\", "/")).split(os.sep)[0] == ".."


def mentioned_paths(text: str) -> list[str]:
    """Return the distinct paths that a command's arguments mention with @."""
    return list(dict.fromkeys(name for name in MENTION.findall(text) if name))
