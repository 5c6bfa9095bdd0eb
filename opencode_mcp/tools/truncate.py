"""Truncate large values structurally: shorter lists and objects, elided strings, still valid JSON.

Only what is kept is redacted, so the time depends on the limit and not on the size of the value.

`_omitted` lists what was left out, as JSON Pointers (RFC 6901) by which any part can be read afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from math import inf
from typing import Any, TypeVar, cast

from opencode_mcp.exceptions import InvalidArguments, TooLong
from opencode_mcp.redaction import (
    COMPACT_JSON,
    MARKER,
    NO_REDACTION,
    TESTED_POSITIONS,
    Position,
    Redactor,
    count_replaced,
    item_positions,
    keep_redaction_count,
)

T = TypeVar("T")

MAX_LISTED_OMISSIONS = 20
MAX_NAME_CHARS = 200
"""How much of a name from a client is repeated in a message."""

REDACTED_FIELD = "_redacted"
MARGIN_CHARS = 4_000
"""Characters reserved for `_omitted`."""

PUNCTUATION_CHARS = SCALAR_CHARS = 4
"""How many characters are counted for the punctuation of a value or a key, and for a number, a Boolean or null."""

LONG_CHARS = 2_000
"""A longer string is redacted once for all attempts."""

LINE_CHARS = 1_000
"""Clients cut longer lines, or preview a saved result of one long line as nothing."""


@dataclass(frozen=True, slots=True)
class WholeItem:
    """An item from which nothing was left out, and what `Truncation` has counted of it.

    `shown` is redacted, and the original itself if redaction does not change it: it must not be changed.
    """

    shown: Any
    spent: int
    items_seen: int
    chars_seen: int

    def is_cut(self, max_items: float, max_chars: float) -> bool:
        """Whether an attempt with these limits leaves something out."""
        return self.items_seen > max_items or self.chars_seen > max_chars


@dataclass(frozen=True, slots=True)
class Shared:
    """What attempts have redacted already, by identity and position: long strings, and items of lists.

    None is an item that the quick test has not found unchanged, and that no attempt has shown whole.
    """

    texts: dict[tuple[int, Position], str] = field(default_factory=dict[tuple[int, Position], str])
    items: dict[tuple[int, Position], WholeItem | None] = field(
        default_factory=dict[tuple[int, Position], WholeItem | None]
    )


@dataclass
class Truncation:
    """One attempt, which keeps at most `max_items` of each list or object and `max_chars` of each string.

    `remaining` is the number of characters left; at zero the attempt fails. Attempts share `shared`. `items_seen` is
    the largest number of items that the attempt read of one list or object, and `chars_seen` the length of the longest
    string. With `is_tested` the value is a part of an item that was tested, so it is not tested again.
    """

    redactor: Redactor
    max_items: float
    max_chars: float
    remaining: int
    shared: Shared = field(default_factory=Shared)
    omissions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    items_seen: int = 0
    chars_seen: int = 0
    is_tested: bool = False

    def apply(self, value: Any, position: Position, pointer: str = "") -> Any:
        """Return a shortened, redacted copy, and add to `omissions` what was left out.

        Raises:
            TooLong: it needs more than `remaining`.
        """
        if isinstance(value, str):
            text = self.redact_text(value, position)
            self.chars_seen = max(self.chars_seen, len(text))
            text = self.elide(text, int(self.max_chars), pointer) if len(text) > self.max_chars else text
            self.spend(len(text))
            return text
        if isinstance(value, list):
            items = cast("list[Any]", value)
            self.add_omission(pointer, "items", self.max_items, len(items))
            positioned = enumerate(item_positions(position, items))
            return [
                self.apply_item(item, item_position, f"{pointer}/{number}")
                for number, (item, item_position) in self.take(positioned)
            ]
        if isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            self.add_omission(pointer, "fields", self.max_items, len(fields))
            shortened_fields: dict[str, Any] = {}
            for key, item, item_position in self.take(self.redactor.iter_fields(fields, position)):
                self.spend(len(key))
                shortened_fields[key] = self.apply(item, item_position, f"{pointer}/{escape(key)}")
            return shortened_fields
        self.spend(SCALAR_CHARS)
        return value

    def apply_item(self, item: Any, position: Position, pointer: str) -> Any:
        """Return what `apply` returns for an item of a list; one in which nothing is left out is redacted once.

        Raises:
            TooLong: it needs more than `remaining`.
        """
        if not isinstance(item, (dict, list)):
            return self.apply(item, position, pointer)
        key = id(cast("object", item)), position
        has_test = position in TESTED_POSITIONS
        if has_test and not self.is_tested and key not in self.shared.items:
            self.shared.items[key] = self.test(item, position)
        known = self.shared.items.get(key)
        if known is not None and not known.is_cut(self.max_items, self.max_chars):
            self.see(known)
            self.spend(known.spent, 0)
            return known.shown
        part = replace(self, omissions=[], items_seen=0, chars_seen=0, is_tested=self.is_tested or has_test)
        try:
            shown = part.apply(item, position, pointer)
        finally:
            self.see(part)
        if not part.omissions:
            spent = self.remaining - part.remaining
            self.shared.items[key] = WholeItem(shown, spent, part.items_seen, part.chars_seen)
        self.remaining = part.remaining
        self.omissions += part.omissions
        return shown

    def test(self, item: Any, position: Position) -> WholeItem | None:
        """Return an item as it is if it is certain that it can be shown so: redaction does not change it, and it needs
        at most `remaining`."""
        try:
            spent, items_seen, chars_seen = measure(item, self.remaining)
        except TooLong:
            return None
        unchanged = self.redactor.changes_nothing(item, position)
        return WholeItem(item, spent, items_seen, chars_seen) if unchanged else None

    def see(self, part: Truncation | WholeItem) -> None:
        """Include the sizes of a part in those that were seen."""
        self.items_seen = max(self.items_seen, part.items_seen)
        self.chars_seen = max(self.chars_seen, part.chars_seen)

    def take(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items that are kept."""
        for number, item in enumerate(islice(items, None if self.max_items == inf else int(self.max_items)), 1):
            self.items_seen = max(self.items_seen, number)
            yield item

    def would_repeat(self, items: float, chars: float) -> bool:
        """Whether an attempt with these smaller limits would have the same result: they would cut nothing."""
        return items >= self.items_seen and chars >= self.chars_seen

    def redact_text(self, text: str, position: Position) -> str:
        """Return a redacted text; a long one is redacted once for each position."""
        if len(text) < LONG_CHARS:
            return self.redactor.redact_text(text, position)
        key = (id(text), position)
        if key not in self.shared.texts:
            self.shared.texts[key] = self.redactor.redact_text(text, position)
        return self.shared.texts[key]

    def elide(self, text: str, chars: int, pointer: str) -> str:
        """Leave out the middle of a text."""
        head, tail = chars * 2 // 3, chars // 3
        self.add_omission(pointer, "characters", head + tail, len(text))
        left_out = f"…[{len(text) - head - tail} characters omitted]…"
        return keep_redaction_count(text, f"{text[:head]}{left_out}{text[-tail:] if tail else ''}")

    def add_omission(self, pointer: str, unit: str, kept: float, total: int) -> None:
        """Record an omission if `total` exceeds `kept`."""
        if total > kept:
            self.omissions.append({"pointer": pointer, "kept": kept, "of": total, "unit": unit})

    def spend(self, chars: int, punctuation: int = PUNCTUATION_CHARS) -> None:
        """Subtract the characters of a value and of its punctuation from `remaining`.

        Raises:
            TooLong: fewer remained.
        """
        self.remaining -= chars + punctuation
        if self.remaining < 0:
            raise TooLong


def measure(value: Any, limit: int) -> tuple[int, int, int]:
    """Return what `Truncation.apply` counts of a value that redaction does not change: the characters that it spends,
    and the largest number of items and of characters that it sees.

    Raises:
        TooLong: it may spend more than `limit`; not all of it was read.
    """
    spent = items_seen = chars_seen = 0
    unread: list[Any] = [value]
    while unread:
        part = unread.pop()
        if isinstance(part, str):
            spent += len(part) + PUNCTUATION_CHARS
            chars_seen = max(chars_seen, len(part))
        elif isinstance(part, (dict, list)):
            count = len(cast("list[Any]", part))
            items_seen = max(items_seen, count)
            if spent + PUNCTUATION_CHARS * count > limit:
                raise TooLong
            if isinstance(part, dict):
                fields = cast("dict[str, Any]", part)
                spent += sum(map(len, fields)) + PUNCTUATION_CHARS * count
                unread += fields.values()
            else:
                unread += cast("list[Any]", part)
        else:
            spent += SCALAR_CHARS + PUNCTUATION_CHARS
        if spent > limit:
            raise TooLong
    return spent, items_seen, chars_seen


def truncate_and_dump(
    value: dict[str, Any],
    limit: int,
    hint: str,
    redactor: Redactor = NO_REDACTION,
    position: Position = Position.CONTENT,
) -> tuple[dict[str, Any], str]:
    """Return a redacted copy of an object, and its JSON: whole if that has at most `limit` characters, else cut.

    `_omitted` says what was cut, and with `hint` how to read the rest. Without `redactor` the object must be redacted
    already. If a secret was replaced, `_redacted` says so.
    """
    room = max(limit - MARGIN_CHARS, limit // 2)
    shared = Shared()
    truncation: Truncation | None = None
    for items, chars in truncation_steps(limit):
        if truncation is not None and truncation.would_repeat(items, chars):
            continue
        is_whole = chars == inf
        # `spend` may count up to twice the characters that `dump` writes.
        truncation = Truncation(redactor, items, chars, 2 * limit if is_whole else room, shared)
        try:
            truncated = with_redaction_note(truncation.apply(value, position))
        except TooLong:
            continue
        text = dump(truncated)
        if is_whole and len(text) <= limit:
            return truncated, text
        if len(text) <= room:
            break
    else:
        truncated, truncation = {}, Truncation(redactor, 0, 0, room, shared)
        truncation.add_omission("", "fields", 0, len(value))
    cut = {**truncated, "_omitted": describe_omissions(truncation.omissions, len(dump_line(value)), hint)}
    return cut, dump(cut)


def truncate(
    value: dict[str, Any],
    limit: int,
    hint: str,
    redactor: Redactor = NO_REDACTION,
    position: Position = Position.CONTENT,
) -> dict[str, Any]:
    """Return what `truncate_and_dump` returns, without the JSON."""
    return truncate_and_dump(value, limit, hint, redactor, position)[0]


def with_redaction_note(redacted: dict[str, Any]) -> dict[str, Any]:
    """Return a redacted object, with `_redacted` if secrets are replaced in it."""
    replaced = count_replaced(redacted)
    return {**redacted, REDACTED_FIELD: redaction_note(replaced)} if replaced else redacted


def redaction_note(replaced: int) -> str:
    """Say how many secrets are replaced."""
    secrets = "1 secret is" if replaced == 1 else f"{replaced} secrets are"
    return f"{secrets} replaced by {MARKER} here; the original is unchanged. Do not write the marker back."


def dump_line(value: Any) -> str:
    """Return compact JSON, in one line."""
    return COMPACT_JSON.encode(value)


def truncation_steps(limit: int) -> Iterator[tuple[float, float]]:
    """Yield the limits (items, characters) to try: none, then shorter strings, then shorter lists, then both."""
    yield inf, inf
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


def describe_omissions(omissions: list[dict[str, Any]], size: int, hint: str) -> dict[str, Any]:
    """Return the value of `_omitted`: what was left out, and how to read it."""
    listed = omissions[:MAX_LISTED_OMISSIONS]
    more = {"more_parts": len(omissions) - len(listed)} if len(omissions) > len(listed) else {}
    return {"of_chars": size, "parts": listed, **more, "how": hint}


def dump(value: Any) -> str:
    """Return JSON as results have it: compact, and a list or object above LINE_CHARS has a line for each member."""
    line = COMPACT_JSON.encode(value)
    if len(line) <= LINE_CHARS or not isinstance(value, (dict, list)):
        return line
    if isinstance(value, list):
        return "[" + ",\n".join(map(dump, cast("list[Any]", value))) + "]"
    fields = cast("dict[str, Any]", value).items()
    return "{" + ",\n".join(f"{dump_line(key)}:{dump(item)}" for key, item in fields) + "}"


def part_at(value: Any, pointer: str, operation: str) -> Any:
    """Return the part of a value that a JSON pointer names; "" is the whole.

    Raises:
        InvalidArguments: the part does not exist; the message names the first token that does not match.
    """
    if pointer and not pointer.startswith("/"):
        raise InvalidArguments(operation, [f"pointer: must be empty or start with /; got {pointer!r}"])
    part: Any = value
    path = ""
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        try:
            part = part[int(key) if isinstance(part, list) else key]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise InvalidArguments(operation, [f"pointer: nothing at {path}/{token}"]) from error
        path += f"/{token}"
    return part


def take_page(part: Any, offset: int, limit: int | None) -> dict[str, Any]:
    """Return a page of a list, an object or a string, and the offset of the next one."""
    if isinstance(part, dict):
        fields = list(cast("dict[str, Any]", part).items())
        total = len(fields)
        page_value: Any = dict(fields[offset : None if limit is None else offset + limit])
    elif isinstance(part, (list, str)):
        sized = cast("list[Any] | str", part)
        total = len(sized)
        page_value = sized[offset : None if limit is None else offset + limit]
        page_value = keep_redaction_count(part, page_value) if isinstance(part, str) else page_value
    else:
        return {"result": part}
    end = offset + len(page_value)
    return {"result": page_value, "offset": offset, "total": total, "next_offset": end if end < total else None}


def abbreviate(text: str, chars: int = MAX_NAME_CHARS) -> str:
    """Return a text; of a long one its beginning and its length."""
    return text if len(text) <= chars else f"{text[: chars - 40]}… ({len(text)} characters)"


def escape(key: str) -> str:
    """Escape a key for a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")
