"""Edits of one table of a TOML text; the rest of the text stays as it is.

A library that keeps comments would be a dependency for one client, and would still move the blank lines around a table
that it adds or removes.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Any, cast

ANY_HEADER = re.compile(r"[ \t]*\[")


def read(text: str) -> dict[str, Any]:
    """Return what a text holds.

    Raises:
        ValueError: not TOML; the message names the line.
    """
    return tomllib.loads(text)


def put(text: str, path: Sequence[str], value: Mapping[str, Any]) -> str:
    """Return the text with a table set: in its place if it is there, else at the end."""
    newline = "\r\n" if "\r\n" in text else "\n"
    table = "".join(f"{line}{newline}" for line in format_table(path, value))
    lines = text.splitlines(keepends=True)
    spans = table_spans(lines, path)
    if not spans:
        gap = newline if text and not text.endswith("\n") else ""
        return text + gap + (newline if text.strip() else "") + table
    for start, end in reversed(spans[1:]):
        del lines[start:end]
    start, end = spans[0]
    lines[start:end] = [table]
    return "".join(lines)


def drop(text: str, path: Sequence[str]) -> str:
    """Return the text without a table and the tables below it."""
    lines = text.splitlines(keepends=True)
    for start, end in reversed(table_spans(lines, path)):
        # Remove the blank line beside it too.
        if start and not lines[start - 1].strip():
            start -= 1
        elif not start and end < len(lines) and not lines[end].strip():
            end += 1
        del lines[start:end]
    return "".join(lines)


def table_spans(lines: Sequence[str], path: Sequence[str]) -> list[tuple[int, int]]:
    """Return the line ranges of a table and its subtables, without trailing comments and blank lines."""
    keys = r"\s*\.\s*".join(rf"(?:{re.escape(key)}|\"{re.escape(key)}\"|'{re.escape(key)}')" for key in path)
    header = re.compile(rf"[ \t]*\[\s*{keys}\s*(?:\.[^\]]*)?\]")
    spans: list[tuple[int, int]] = []
    for start, line in enumerate(lines):
        if header.match(line) and starts_statement(lines, start):
            end = start + 1
            while end < len(lines) and not (ANY_HEADER.match(lines[end]) and starts_statement(lines, end)):
                end += 1
            # Comments at its end belong to the table that follows.
            while not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#"):
                end -= 1
            spans.append((start, end))
    return spans


def starts_statement(lines: Sequence[str], at: int) -> bool:
    """Whether a statement starts at a line: a text cut inside a string or an array is not TOML."""
    try:
        tomllib.loads("".join(lines[:at]))
    except ValueError:
        return False
    return True


def format_table(path: Sequence[str], value: Mapping[str, Any]) -> list[str]:
    """Return the lines of a table."""
    return [
        f"[{'.'.join(map(format_key, path))}]",
        *(f"{format_key(name)} = {format_value(member)}" for name, member in value.items()),
    ]


def format_key(name: str) -> str:
    """Return a key, quoted if necessary."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def format_value(value: Any) -> str:
    """Return a value as TOML on one line."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value).items()
        return (
            "{ " + ", ".join(f"{format_key(name)} = {format_value(member)}" for name, member in members) + " }"
            if members
            else "{}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(format_value, cast("list[Any]", value))) + "]"
    if isinstance(value, (date, time)):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False)
