"""Large answers, cut structurally: lists and objects shortened, long strings elided, still valid JSON.

What was left out is said by JSON pointers (RFC 6901), by which any part can be read afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

from opencode_mcp.exceptions import InvalidArguments

MAX_RESULT_CHARS = 40_000
"""Some clients cut at 50,000 characters, others far earlier."""

SHOWN_OMISSIONS = 20
MARGIN_CHARS = 4_000
"""Room for the words about what was left out."""


class TooLong(Exception):
    """An attempt is over its limit."""


@dataclass
class Cut:
    """One attempt: how many items of a list or object, and characters of a string, are kept at most.

    `left` is the room that is left, in characters. An attempt gives up when there is none, so that it
    costs no more than the limit, however large the value is.
    """

    items: int
    chars: int
    left: int
    omissions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def apply(self, value: Any, pointer: str = "") -> Any:
        """Return a shortened copy, noting what was left out.

        Raises:
            TooLong: there is no room for it.
        """
        if isinstance(value, str):
            if len(value) > self.chars:
                value = self.elide(value, pointer)
            self.spend(len(value))
            return value
        if isinstance(value, list):
            items = cast("list[Any]", value)
            self.note(pointer, "items", self.items, len(items))
            return [self.apply(item, f"{pointer}/{index}") for index, item in enumerate(items[: self.items])]
        if isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            self.note(pointer, "fields", self.items, len(fields))
            kept: dict[str, Any] = {}
            for key, item in islice(fields.items(), self.items):
                self.spend(len(key))
                kept[key] = self.apply(item, f"{pointer}/{escape(key)}")
            return kept
        self.spend(4)
        return value

    def elide(self, text: str, pointer: str) -> str:
        """Leave out the middle of a text."""
        head, tail = self.chars * 2 // 3, self.chars // 3
        self.note(pointer, "characters", head + tail, len(text))
        return f"{text[:head]}…[{len(text) - head - tail} characters left out]…{text[-tail:] if tail else ''}"

    def note(self, pointer: str, unit: str, kept: int, of: int) -> None:
        """Note one omission, if it is one."""
        if of > kept:
            self.omissions.append({"pointer": pointer, "kept": kept, "of": of, "unit": unit})

    def spend(self, chars: int) -> None:
        """Take the room that a value needs, with its punctuation.

        Raises:
            TooLong: there is none.
        """
        self.left -= chars + 4
        if self.left < 0:
            raise TooLong


def shorten(value: dict[str, Any], limit: int, how: str) -> dict[str, Any]:
    """Return an object as it is when its JSON is short enough, else a cut copy with `_omitted`.

    `how` says how the rest can be had.
    """
    size = len(dump(value))
    if size <= limit:
        return value
    room = max(limit - MARGIN_CHARS, limit // 2)
    for items, chars in attempts(limit):
        cut = Cut(items, chars, room)
        try:
            shortened = cut.apply(value)
        except TooLong:
            continue
        if len(dump(shortened)) <= room:
            return {**shortened, "_omitted": told(cut.omissions, size, how)}
    return {"_omitted": told([{"pointer": "", "kept": 0, "of": len(value), "unit": "fields"}], size, how)}


def attempts(limit: int) -> Iterator[tuple[int, int]]:
    """Yield how many items and characters to try: long strings give way first, then lists, then all."""
    items, chars = 1_000, max(200, limit // 2)
    while chars > 400:
        yield items, chars
        chars //= 2
    while items > 4:
        yield items, chars
        items = items * 2 // 3
    while items:
        yield items, chars
        items, chars = items - 1, chars // 2


def told(omissions: list[dict[str, Any]], size: int, how: str) -> dict[str, Any]:
    """Say what was left out, and how it can be had."""
    listed = omissions[:SHOWN_OMISSIONS]
    more = {"more_parts": len(omissions) - len(listed)} if len(omissions) > len(listed) else {}
    return {"of_chars": size, "parts": listed, **more, "how": how}


def dump(value: Any) -> str:
    """Write JSON as results carry it: of many lines, which clients can cut and page."""
    return json.dumps(value, indent=1, ensure_ascii=False)


def part_at(value: Any, pointer: str, operation: str) -> Any:
    """Return the part of a value that a JSON pointer names; "" is the whole.

    Raises:
        InvalidArguments: there is no such part, and where the pointer stops to fit.
    """
    if pointer and not pointer.startswith("/"):
        raise InvalidArguments(operation, [f"pointer: must be empty or begin with /; got {pointer!r}"])
    part: Any = value
    done = ""
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        try:
            part = part[int(key) if isinstance(part, list) else key]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise InvalidArguments(operation, [f"pointer: nothing at {done}/{token}"]) from error
        done += f"/{token}"
    return part


def page(part: Any, offset: int, limit: int | None) -> dict[str, Any]:
    """Return a page of a list, an object or a string, and where the next one begins."""
    if isinstance(part, dict):
        fields = list(cast("dict[str, Any]", part).items())
        total = len(fields)
        taken: Any = dict(fields[offset : None if limit is None else offset + limit])
    elif isinstance(part, (list, str)):
        sized = cast("list[Any] | str", part)
        total = len(sized)
        taken = sized[offset : None if limit is None else offset + limit]
    else:
        return {"result": part}
    end = offset + len(taken)
    return {"result": taken, "offset": offset, "total": total, "next_offset": end if end < total else None}


def escape(key: str) -> str:
    """Escape a key for a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")
