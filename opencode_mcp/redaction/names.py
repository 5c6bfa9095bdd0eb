"""Names of keys, headers, flags and variables that hold a secret."""

from __future__ import annotations

import re
from functools import lru_cache

SECRET_WORDS = (
    *("apikey", "authentication", "authorization", "bearer", "cookie", "cookies", "credential", "credentials", "jwt"),
    *("passcode", "passphrase", "passwd", "password", "passwords", "pwd", "secret", "secrets", "token"),
)
"""A name that has a word ending in one of these names a secret. `tokens` is left out: it is a count."""

SECRET_WHOLE_WORDS = frozenset({"auth", "creds", "dsn", "pass", "pat"})
"""Match as a whole word only: they also end other words (oauth, bypass, compat)."""

SECRET_ENDINGS = frozenset(
    (kind, "key")
    for kind in (
        *("access", "account", "api", "auth", "encryption", "functions", "master", "private", "secret", "service"),
        *("shared", "signing", "subscription"),
    )
) | {("connection", "string")}
"""The last two words of a name of a secret."""

NON_SECRET_ENDINGS = frozenset(
    (
        *("algorithm", "audience", "count", "dir", "directory", "domain", "enabled", "endpoint", "env", "expires"),
        *("expiry", "field", "file", "format", "header", "host", "id", "ids", "issuer", "length", "limit", "method"),
        *("mode", "name", "names", "path", "policy", "port", "prefix", "provider", "region", "required", "samesite"),
        *("scope", "scopes", "secure", "size", "store", "timeout", "ttl", "type", "uri", "url", "user", "username"),
    )
)
"""A name that ends in one of these describes a secret and is not one: COOKIE_DOMAIN, TOKEN_URL, AWS_ACCESS_KEY_ID."""

NOT_SECRET_KEYS = frozenset({"cache", "foreign", "partition", "primary", "public", "sort"})
"""Words before `key` in names that are not secret."""

SECRET_QUERY_NAMES = frozenset({"k", "key", "sig", "signature", "apitoken", "accesskey", "authkey"})
"""Query parameters that hold a credential, in addition to those with a secret name."""

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def split_words(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case: `X-Api-Key`, `apiKey` and `API_KEY` have the same."""
    return tuple(word.lower() for word in WORD.findall(name))


@lru_cache(maxsize=4096)  # a large response repeats few names thousands of times
def is_secret(name: str) -> bool:
    """Whether a key's name says that it holds a secret: `apiKey`, `X-Auth`, `GITHUB_PAT`."""
    words = split_words(name)
    if not words or words[-1] in NON_SECRET_ENDINGS:
        return False
    return (
        words[-2:] in SECRET_ENDINGS
        or not SECRET_WHOLE_WORDS.isdisjoint(words)
        or any(word.endswith(secret) for word in words for secret in SECRET_WORDS)
    )


@lru_cache(maxsize=4096)
def is_secret_entry(name: str) -> bool:
    """Whether a header, flag or variable of this name holds a secret. Here, unlike in other objects, `…_KEY` does."""
    words = split_words(name)
    if words and words[-1] == "key" and not NOT_SECRET_KEYS.intersection(words):
        return True
    return is_secret(name)


def is_secret_parameter(name: str) -> bool:
    """Whether a query parameter of this name holds a credential."""
    return name.lower() in SECRET_QUERY_NAMES or is_secret_entry(name)
