"""What leaves for a client, made fit to: secrets are left out, and characters that nobody sees are made visible.

Secrets are told by the names of the keys that hold them, and by their value where this process knows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from opencode_mcp.exceptions import InvalidArguments

REDACTED = "[redacted]"

SECRET_WORDS = (
    *("apikey", "authorization", "bearer", "cookie", "cookies", "credential", "credentials", "jwt"),
    *("passphrase", "passwd", "password", "passwords", "pwd", "secret", "secrets", "token"),
)
"""A key with a word that ends so holds a secret. `tokens` is none of them: those are counted."""

SECRET_ENDINGS = frozenset((kind, "key") for kind in ("access", "api", "encryption", "private", "signing"))
"""The last two words of a key that holds a secret."""

CREDENTIAL_KEYS = frozenset({"access", "key", "refresh"})
"""Keys that hold a secret in OpenCode's credentials and providers (1.18.33), and anything elsewhere."""

CREDENTIAL_TYPES = frozenset({"api", "key", "oauth"})

MIN_SECRET_CHARS = 8
"""A shorter value would be found in words that have nothing to do with it."""

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
USER_INFORMATION = re.compile(r"://[^/\s@:]*:[^/\s@]+@")
"""The `user:password` of a URL. An expression that begins with a text is looked for by that, which is fast."""

INVISIBLE = re.compile(
    "["
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # controls, but for tab and the ends of lines
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f"  # zero width, and the direction of text
    "\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"  # the second: halves of pairs, in no encoding
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # the last: tags, which can spell a whole text
    "]+"
)
JOINER = re.compile("\ufe0f?\u200d|[\u200c\ufe0e\ufe0f]")
"""What stands singly between the letters of some scripts and the parts of an emoji."""


class Outgoing:
    """Makes texts and JSON values fit to leave; `secrets` are values that are known to be secret."""

    def __init__(self, secrets: Iterable[str] = (), show_secrets: bool = False) -> None:
        known = {one for one in secrets if len(one) >= MIN_SECRET_CHARS}
        self._known = sorted(known, key=len, reverse=True)  # one may be a part of another
        self._show_secrets = show_secrets

    def text(self, text: str, secret: bool = False) -> str:
        """Return a text without secrets, with `secret` without a word, and with what is invisible as `<U+202E>`."""
        if secret and text and not self._show_secrets:
            return REDACTED
        if len(text) >= MIN_SECRET_CHARS and not self._show_secrets:
            for known in self._known:
                text = text.replace(known, REDACTED)
            if "://" in text:
                text = USER_INFORMATION.sub(f"://{REDACTED}@", text)
        return text if is_visible(text) else INVISIBLE.sub(visible, text)

    def value(self, value: Any, secret: bool = False) -> Any:
        """Return a copy of a JSON value of OpenCode's, without secrets in its texts and below keys that name them.

        Below such a key, or with `secret`, every text is replaced, however deep. Numbers, empty texts and the
        value's shape stay.
        """
        if isinstance(value, str):
            return self.text(value, secret)
        if isinstance(value, dict):
            fields = self.fields(cast("dict[str, Any]", value), secret)
            return {name: self.value(inner, hidden) for name, inner, hidden in fields}
        if isinstance(value, list):
            return [self.value(inner, secret) for inner in cast("list[Any]", value)]
        return value

    def fields(self, value: Mapping[str, Any], secret: bool = False) -> Iterator[tuple[str, Any, bool]]:
        """Yield an object's fields: the name, fit to leave; the value as it is; whether to hide its texts."""
        kind = value.get("type")  # in a JSON Schema it may be a list
        credential = (isinstance(kind, str) and kind in CREDENTIAL_TYPES) or "env" in value
        for name, inner in value.items():
            yield self.text(name), inner, secret or holds_secret(name, inner, credential)

    def plain(self, value: Any) -> Any:
        """Return a copy of a JSON value of ours, in which no key tells of a secret, whatever it is called."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            fields = cast("Mapping[str, Any]", value)
            return {self.text(name): self.plain(inner) for name, inner in fields.items()}
        if isinstance(value, Sequence) and not isinstance(value, bytes):
            return [self.plain(inner) for inner in cast("Sequence[Any]", value)]
        return value


def is_visible(text: str) -> bool:
    """Whether all of a text can be seen, which is quick to tell of plain text; of others `INVISIBLE` tells."""
    return text.isascii() and (text.isprintable() or text.replace("\n", "").replace("\t", "").isprintable())


def visible(found: re.Match[str]) -> str:
    """Write a run of invisible characters by their numbers; a single joiner between letters stays."""
    before = found.string[found.start() - 1 : found.start()]
    if JOINER.fullmatch(found[0]) and before and not before.isascii():
        return found[0]
    return "".join(f"<U+{ord(character):04X}>" for character in found[0])


def holds_secret(name: str, value: Any, credential: bool) -> bool:
    """Whether a field holds a secret; a value that says what it is has keys of its own that tell."""
    typed = isinstance(value, Mapping) and "type" in value  # a JSON Schema, or a credential
    return (credential and name in CREDENTIAL_KEYS) or (is_secret(name) and not typed)


@lru_cache(maxsize=4096)  # a large answer has few names, each of them thousands of times
def is_secret(name: str) -> bool:
    """Whether a key's name says that it holds a secret: `apiKey`, `X-Api-Key`, `GITHUB_TOKEN`."""
    words = tuple(word.lower() for word in WORD.findall(name))
    return words[-2:] in SECRET_ENDINGS or any(word.endswith(secret) for word in words for secret in SECRET_WORDS)


def refuse_redacted(operation: str, value: Any) -> None:
    """Refuse to send what stands for a secret that was left out: it would overwrite the secret.

    Raises:
        InvalidArguments: a text is no more than that, or a URL has it for a password.
    """
    if isinstance(value, str) and (value == REDACTED or f"://{REDACTED}@" in value):
        raise InvalidArguments(
            operation, [f"{REDACTED!r} stands for a secret that was left out; sent, it would overwrite the secret"]
        )
    if isinstance(value, Mapping):
        value = list(cast("Mapping[str, Any]", value).values())
    if isinstance(value, list):
        for inner in cast("list[Any]", value):
            refuse_redacted(operation, inner)
