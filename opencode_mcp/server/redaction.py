"""Secrets taken out of JSON, by the names of the keys that hold them and by the form of URLs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

REDACTED = "[redacted]"

SECRET_WORDS = (
    *("apikey", "authorization", "bearer", "cookie", "cookies", "credential", "credentials", "jwt"),
    *("passphrase", "passwd", "password", "passwords", "pwd", "secret", "secrets", "token"),
)
"""A key with a word that ends so holds a secret. `tokens` is none of them: those are counted."""

SECRET_ENDINGS = frozenset((kind, "key") for kind in ("access", "api", "encryption", "private", "signing"))
"""The last two words of a key that holds a secret."""

SECRET_NAMES = frozenset({"access", "key", "refresh"})
"""Keys that hold a secret when they are named just so: those of OpenCode's credentials."""

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
USER_INFORMATION = re.compile(r"(?<=://)[^/\s@:]*:[^/\s@]+(?=@)")


def redacted(value: Any) -> Any:
    """Return a copy of a JSON value without its secrets.

    Below a key that names a secret every text is replaced, however deep; so is the `user:password`
    of a URL anywhere. Keys, numbers, empty texts and the value's shape stay.
    """
    return without_secrets(value, secret=False)


def without_secrets(value: Any, *, secret: bool) -> Any:
    """Return a copy of a value; with `secret` it stands below a key that names one."""
    if isinstance(value, str):
        return REDACTED if secret and value else USER_INFORMATION.sub(REDACTED, value)
    if isinstance(value, Mapping):
        members = cast("Mapping[str, Any]", value)
        return {name: without_secrets(inner, secret=secret or is_secret(name)) for name, inner in members.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [without_secrets(inner, secret=secret) for inner in cast("Sequence[Any]", value)]
    return value


def is_secret(name: str) -> bool:
    """Whether a key's name says that it holds a secret: `apiKey`, `X-Api-Key`, `GITHUB_TOKEN`, `key`."""
    words = tuple(word.lower() for word in WORD.findall(name))
    return (
        name.lower() in SECRET_NAMES
        or words[-2:] in SECRET_ENDINGS
        or any(word.endswith(secret) for word in words for secret in SECRET_WORDS)
    )
