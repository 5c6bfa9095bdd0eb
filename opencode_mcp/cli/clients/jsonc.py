"""Edits of one member of a JSON text with comments and trailing commas; the rest of the text stays as it is.

No maintained library on PyPI does this: they drop comments, or reformat the whole text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

TRIVIA = re.compile(r"(?:\s+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
COMMENT_ON_LINE = re.compile(r"[ \t]*(?:/\*[^\r\n]*?\*/[ \t]*)*(?://[^\r\n]*|(?<=\*/))")
LINE_END = re.compile(r"[ \t]*\r?\n")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
WORD = re.compile(r"[\w.+-]+")


@dataclass(slots=True)
class JSONNode:
    """A value and where it is in the text; `members` are those of an object."""

    start: int
    end: int
    value: Any
    members: list[Member] = field(default_factory=list["Member"])


@dataclass(slots=True)
class Member:
    """A key, its value, and where the comma after it is."""

    start: int
    key: str
    node: JSONNode
    comma: int | None = None


def read(text: str) -> dict[str, Any]:
    """Return the object that a text holds; an empty text holds an empty one.

    Raises:
        ValueError: not an object, or not JSON; the message names the line.
    """
    root = parse(text)
    return {} if root is None else root.value


def put(text: str, path: Sequence[str], value: Any) -> str:
    """Return the text with the member at a path set to a value; missing objects on the path are created.

    Raises:
        ValueError: as `read`, or a value on the path is not an object.
    """
    newline, unit = ("\r\n" if "\r\n" in text else "\n"), indent_unit(text)
    root = parse(text)
    if root is None:
        gap = newline if text and not text.endswith("\n") else ""
        return text + gap + format_value(nest(path, value), unit, "", newline) + newline
    node, depth = root, 0
    while (member := find_member(node, path[depth])) is not None:
        node, depth = member.node, depth + 1
        if depth == len(path):
            indent = line_indent(text, member.start)
            return text[: node.start] + format_value(value, unit, indent, newline) + text[node.end :]
        if not isinstance(node.value, dict):
            raise ValueError(f"{'.'.join(path[:depth])} is not an object")
    return insert(text, node, depth, f"{json.dumps(path[depth])}: ", nest(path[depth + 1 :], value))


def insert(text: str, node: JSONNode, depth: int, key: str, value: Any) -> str:
    """Return the text with a member added at the end of an object."""
    newline, unit = ("\r\n" if "\r\n" in text else "\n"), indent_unit(text)
    closing_indent = line_indent(text, node.start)
    is_multiline = node.members and starts_line(text, node.members[-1].start)
    indent = line_indent(text, node.members[-1].start) if is_multiline else closing_indent + unit
    member = newline + indent + key + format_value(value, unit, indent, newline)
    if not node.members:
        prefix = text[: node.end - 1].rstrip()
        return prefix + member + newline + closing_indent + text[node.end - 1 :]
    last = node.members[-1]
    after = last.node.end if last.comma is None else last.comma + 1
    # A comment behind the last member stays with it.
    comment = COMMENT_ON_LINE.match(text, after)
    at = comment.end() if comment else after
    comma, trailing = (",", "") if last.comma is None else ("", ",")
    rest = text[at:]
    if not LINE_END.match(rest):
        rest = newline + closing_indent + rest.lstrip(" \t")
    return text[: last.node.end] + comma + text[last.node.end : at] + member + trailing + rest


def drop(text: str, path: Sequence[str]) -> str:
    """Return the text without the member at a path, which must be there."""
    node = parse(text)
    assert node is not None
    for key in path[:-1]:
        member = find_member(node, key)
        assert member is not None
        node = member.node
    member = find_member(node, path[-1])
    assert member is not None
    start, end = member.start, member.node.end if member.comma is None else member.comma + 1
    line = LINE_END.match(text, end)
    if member.comma is not None:
        if line and starts_line(text, start):
            start, end = start - len(line_indent(text, start)), line.end()
        else:
            end = skip_blanks(text, end)
    elif line:
        # Only if the line ends here: else a line comment above would swallow the rest of this line.
        start = len(text[:start].rstrip())
    position = node.members.index(member)
    prefix = text[:start]
    if member.comma is None and position:
        comma = node.members[position - 1].comma
        assert comma is not None
        prefix = prefix[:comma] + prefix[comma + 1 :]
    return prefix[: node.start] + re.sub(r"\A\{\s*\}", "{}", prefix[node.start :] + text[end:])


def format_value(value: Any, unit: str, indent: str, newline: str) -> str:
    """Return a value as JSON whose lines, but for the first, begin with an indentation."""
    return json.dumps(value, indent=unit, ensure_ascii=False).replace("\n", newline + indent)


def nest(path: Sequence[str], value: Any) -> Any:
    """Wrap a value in an object for each key of a path."""
    for key in reversed(path):
        value = {key: value}
    return value


def indent_unit(text: str) -> str:
    """Return the text's unit of indentation."""
    match = re.search(r"^([ \t]+)\"", text, re.MULTILINE)
    return match[1] if match else "  "


def line_indent(text: str, at: int) -> str:
    """Return the white space that the line of a position begins with."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip())]


def starts_line(text: str, at: int) -> bool:
    """Whether only white space is before a position on its line."""
    return not text[text.rfind("\n", 0, at) + 1 : at].strip()


def find_member(node: JSONNode, key: str) -> Member | None:
    """Return the member with a key; of several the last, which is the one that counts."""
    return next((member for member in reversed(node.members) if member.key == key), None)


def parse(text: str) -> JSONNode | None:
    """Parse a text whose value is an object, or that holds nothing but white space and comments."""
    start = skip_trivia(text, 0)
    if start == len(text):
        return None
    root = parse_value(text, start)
    if skip_trivia(text, root.end) != len(text):
        raise syntax_error(text, skip_trivia(text, root.end), "nothing more")
    if not isinstance(root.value, dict):
        raise syntax_error(text, start, "an object")
    return root


def parse_value(text: str, at: int) -> JSONNode:
    """Parse the value that begins at a position."""
    if text.startswith("{", at):
        return parse_object(text, at)
    if text.startswith("[", at):
        return parse_array(text, at)
    match = STRING.match(text, at) or WORD.match(text, at)
    try:
        return JSONNode(at, match.end() if match else at, json.loads(match[0] if match else "", strict=False))
    except ValueError:
        raise syntax_error(text, at, "a value") from None


def parse_object(text: str, start: int) -> JSONNode:
    """Parse the object that begins at a position."""
    members: list[Member] = []
    at = skip_trivia(text, start + 1)
    while not text.startswith("}", at):
        key = STRING.match(text, at)
        if key is None or (members and members[-1].comma is None):
            raise syntax_error(text, at, "a comma" if key else "a key")
        colon = skip_trivia(text, key.end())
        if not text.startswith(":", colon):
            raise syntax_error(text, colon, "a colon")
        node = parse_value(text, skip_trivia(text, colon + 1))
        at = skip_trivia(text, node.end)
        members.append(Member(key.start(), json.loads(key[0], strict=False), node))
        if text.startswith(",", at):
            members[-1].comma = at
            at = skip_trivia(text, at + 1)
    return JSONNode(start, at + 1, {member.key: member.node.value for member in members}, members)


def parse_array(text: str, start: int) -> JSONNode:
    """Parse the array that begins at a position."""
    values: list[Any] = []
    at, comma = skip_trivia(text, start + 1), True
    while not text.startswith("]", at):
        if not comma:
            raise syntax_error(text, at, "a comma")
        node = parse_value(text, at)
        values.append(node.value)
        at = skip_trivia(text, node.end)
        comma = text.startswith(",", at)
        if comma:
            at = skip_trivia(text, at + 1)
    return JSONNode(start, at + 1, values)


def skip_trivia(text: str, at: int) -> int:
    """Return the position after white space and comments."""
    match = TRIVIA.match(text, at)
    return match.end() if match else at


def skip_blanks(text: str, at: int) -> int:
    """Return the position after spaces and tabs."""
    return at + len(text[at:]) - len(text[at:].lstrip(" \t"))


def syntax_error(text: str, at: int, expected: str) -> ValueError:
    """Return the error for a position."""
    return ValueError(f"line {text.count(chr(10), 0, at) + 1}: {expected} was expected")
