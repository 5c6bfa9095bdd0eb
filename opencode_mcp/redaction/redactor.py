"""Redaction of all output for clients: secrets become `MARKER`, invisible characters `<U+202E>`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import unquote

from opencode_mcp.exceptions import InvalidArguments

from .credentials import MARKER
from .known_secrets import COMPACT_JSON, MIN_SECRET_CHARS, KnownSecrets
from .structure import Position, field_position, item_positions, redact_text

INVISIBLE = re.compile(
    "["
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # control characters, except tab and line breaks
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f"  # zero width, and the direction of text
    "\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"  # the second range: lone surrogates
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # the last: tags, which can spell a hidden text
    "]+"
)
INVISIBLE_ESCAPES = ("\\u", "\\b", "\\f")
"""What JSON has for the control characters of INVISIBLE; a backslash of the text may look the same."""
JOINER = re.compile("\ufe0f?\u200d|[\u200c\ufe0e\ufe0f]")
"""A single joiner or variation selector, as between letters of some scripts and parts of an emoji."""


TESTED_POSITIONS = frozenset({Position.CONTENT, Position.IDENTIFIER})
"""Where `Redactor.changes_nothing` can be true: only known values are redacted there, whatever the keys are."""


class Redacted(str):
    """A text in which `replaced` secrets are replaced by `MARKER`."""

    __slots__ = ("replaced",)
    replaced: int

    def __new__(cls, text: str, replaced: int) -> Redacted:
        """Create the text."""
        text_with_count = super().__new__(cls, text)
        text_with_count.replaced = replaced
        return text_with_count


class Redactor:
    """Redacts texts and JSON values; `secrets` are the known secret values.

    Known values are replaced everywhere except in ids, paths and directories; secrets by position only in responses
    that describe configuration. A text with a replacement is a `Redacted`.
    """

    def __init__(self, secrets: KnownSecrets | Iterable[str] = (), show_secrets: bool = False) -> None:
        self._secrets = secrets if isinstance(secrets, KnownSecrets) else KnownSecrets(secrets)
        self._show_secrets = show_secrets

    def refresh(self) -> None:
        """Read credentials that OpenCode has stored since the last call."""
        self._secrets.refresh()

    def redact_text(self, text: str, position: Position = Position.CONTENT) -> str:
        """Return a text without secrets, its invisible characters as `<U+202E>`."""
        redacted = text
        if not self._show_secrets and position is not Position.IDENTIFIER:
            redacted = text if position is Position.CONTENT else redact_text(text, position)
            if len(redacted) >= MIN_SECRET_CHARS:
                for secret in self._secrets.values:
                    if secret in redacted:
                        redacted = redacted.replace(secret, MARKER)
        replaced = 0 if redacted is text or redacted == text else max(1, redacted.count(MARKER) - text.count(MARKER))
        redacted = redacted if is_printable_ascii(redacted) else INVISIBLE.sub(escape_invisible, redacted)
        return Redacted(redacted, replaced) if replaced else redacted

    def changes_nothing(self, value: Any, position: Position) -> bool:
        """Whether it is certain that a JSON value stays as it is; a quick test, so false says nothing.

        In content only known secrets and invisible characters are replaced. JSON escapes each character by itself, so a
        secret in a text or a key is, escaped, in the JSON as well.
        """
        if position not in TESTED_POSITIONS:
            return False
        text = COMPACT_JSON.encode(value)
        has_escaped = any(escape in text for escape in INVISIBLE_ESCAPES)
        if has_escaped or not (is_printable_ascii(text) or INVISIBLE.search(text) is None):
            return False
        return not any(secret in text for secret in self._secrets.json_values)

    def cut_position(self, text: str, index: int) -> int:
        """Return where to cut a text that is redacted later: at `index`, or at the end of the secret around it."""
        if self._show_secrets:
            return index
        self.refresh()
        around = [
            start + len(secret)
            for secret in self._secrets.values
            if 0 <= (start := text.find(secret, max(0, index - len(secret) + 1), index + len(secret) - 1)) < index
        ]
        return self.cut_position(text, max(around)) if around else index

    def redact_error(self, error: Exception) -> str:
        """Return the redacted message of an error, which may quote a URL of the configuration."""
        self.refresh()
        return self.redact_text(str(error))

    def redact(self, value: Any, position: Position = Position.CONTENT) -> Any:
        """Return a redacted copy of a JSON value of the same shape; numbers stay."""
        if isinstance(value, str):
            return self.redact_text(value, position)
        if value is None or isinstance(value, (int, float)):  # first, as a large answer has many of them
            return value
        if isinstance(value, Mapping):
            fields = self.iter_fields(cast("Mapping[str, Any]", value), position)
            return {name: self.redact(inner, item_position) for name, inner, item_position in fields}
        if isinstance(value, Sequence) and not isinstance(value, bytes):
            items = item_positions(position, cast("Sequence[Any]", value))
            return [self.redact(item, item_position) for item, item_position in items]
        return value

    def iter_fields(self, value: Mapping[str, Any], position: Position) -> Iterator[tuple[str, Any, Position]]:
        """Yield an object's fields: the redacted name, the unredacted value, the value's position."""
        for name, inner in value.items():
            yield self.redact_text(name), inner, field_position(position, name, inner, value)


NO_REDACTION = Redactor(show_secrets=True)
"""For values that are redacted already, and for the library, which returns them as they are."""


def count_replaced(value: Any) -> int:
    """Return how many secrets are replaced in a redacted value."""
    if isinstance(value, str):
        return value.replaced if isinstance(value, Redacted) else 0
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return sum(count_replaced(name) + count_replaced(inner) for name, inner in fields.items())
    if isinstance(value, list):
        return sum(map(count_replaced, cast("list[Any]", value)))
    return 0


def keep_redaction_count(text: str, part: str) -> str:
    """Return `part`, which was cut from or built with a redacted text, with the count of the markers it still has."""
    replaced = min(count_replaced(text), part.count(MARKER))
    return Redacted(part, replaced) if replaced else part


def to_one_line(text: str, limit: int = 300) -> str:
    """Put a text on one line of limited length.

    Like `beginning_of` and `end_of` it is for a text that is redacted later: it cuts between words, as half a secret
    would not be recognized.
    """
    line = " ".join(text.split())
    return line if len(line) <= limit else beginning_of(line, limit).rstrip() + " …"


def beginning_of(text: str, limit: int) -> str:
    """Return the beginning of a text up to the end of a word; "" where the first word is longer than the limit."""
    if len(text) <= limit:
        return text
    return text[: next((index for index in range(limit, 0, -1) if is_boundary(text[index])), 0)]


def end_of(text: str, limit: int) -> str | None:
    """Return the end of a text from the start of a word on, None if there is none."""
    if len(text) <= limit:
        return text or None
    end = text[-limit:]
    return "…" + end[next((index for index, character in enumerate(end) if is_boundary(character)), limit) :]


def is_boundary(character: str) -> bool:
    """Whether a text may be cut before a character: white space, or a letter of a script that has no case, as Chinese
    and Thai, which have no spaces between words. Secrets have neither."""
    return character.isspace() or unicodedata.category(character) == "Lo"


def is_printable_ascii(text: str) -> bool:
    """Whether a text is printable ASCII, tabs and line breaks included: a quick test that it has nothing to escape."""
    return text.isascii() and (text.isprintable() or text.replace("\n", "").replace("\t", "").isprintable())


def escape_invisible(match: re.Match[str]) -> str:
    """Return a run of invisible characters as code points; a single joiner between letters stays."""
    before = match.string[match.start() - 1 : match.start()]
    if JOINER.fullmatch(match[0]) and before and not before.isascii():
        return match[0]
    return "".join(f"<U+{ord(character):04X}>" for character in match[0])


def refuse_marker(operation: str, value: Any) -> None:
    """Refuse arguments that contain `MARKER`: it would overwrite the secret, or be written to a file.

    Raises:
        InvalidArguments: a text or a key at any depth contains the marker, percent-encoded or not; names the paths.
    """
    paths = [path or "arguments" for path in marker_paths(value)]
    if paths:
        raise InvalidArguments(
            operation,
            [
                f"{path}: {MARKER} replaces a secret that was redacted; sending it would overwrite the secret. Omit "
                "this argument, or change only other parts"
                for path in paths[:10]
            ],
        )


def marker_paths(value: Any, path: str = "") -> Iterator[str]:
    """Yield the dotted paths at which a value contains the marker."""
    if isinstance(value, str):
        if any(MARKER in text.lower() for text in (value, unquote(value))):
            yield path
    elif isinstance(value, Mapping):
        for name, inner in cast("Mapping[str, Any]", value).items():
            yield from marker_paths(name, path)
            yield from marker_paths(inner, f"{path}.{name[:40]}" if path else name[:40])
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for number, inner in enumerate(cast("Sequence[Any]", value)):
            yield from marker_paths(inner, f"{path}.{number}")
