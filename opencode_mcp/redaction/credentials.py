"""Recognizes credentials: by the name of a key, by randomness, by form.

- Names of keys, headers, flags and variables that hold a secret.
- Random values, such as keys, in contrast to names, paths and phrases, which consist of words. The measure is the
  frequency of adjacent letters: 205 pairs make 88% of the pairs of English words and of Python's names, and 30% of
  those of random letters.
- Forms: keys of known providers, `Bearer …`, userinfo and queries of URLs. Applied only to configuration; project
  content is not searched for these.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from urllib.parse import unquote, urlsplit

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


MIN_RANDOM_CHARS = 16
"""A shorter value is not replaced in project content."""

MIN_DISTINCT_CHARS = 8
MIN_UNUSUAL_SHARE = 0.4
"""A value whose share of unusual pairs is not larger consists of words."""

MIN_UNUSUAL_PAIRS = 6
"""The minimum number of unusual pairs in a value's runs of at least `MIN_RUN_CHARS` letters and digits."""

MIN_RUN_CHARS = 6

COMMON_PAIRS = frozenset(
    """
    ab ac ad ag ai al am an ap ar as at au ay ba be bi bl bo br bs bu ca cc ce ch ci ck cl co cr cs ct cu da dd de di
    dl do dr ds du ea ec ed ee ef eg el em en ep er es et ev ex fa fe ff fi fo ge gh gi gr ha he hi ho ht ia ib ic id
    ie if ig il im in io ip ir is it iv iz ke la ld le li ll lo ls lt lu ly ma me mi ml mo mp ms na nc nd ne nf ng ni
    no ns nt nu ob oc od og ol om on oo op or os ot ou ov ow pa pe ph pi pl po pp pr ps pt pu qu ra rc rd re ri rl rm
    rn ro rr rs rt ru ry sa sc se sh si sl so sp ss st su sy ta tc te th ti tl to tr ts tt tu ty ua ub uc ue ui ul um
    un up ur us ut va ve vi wa we wi xp xt yp ze
    """.split()
)
PLACEHOLDER = re.compile(r"\$\{[^}]*\}|\{\{[^}]*\}\}|\{(?:env|file):[^}]*\}|<[^<>]*>")
"""A placeholder that a template, a shell or OpenCode replaces by a value."""

PATH = re.compile(r"(?:~|\.{1,2}|[A-Za-z]:)?[/\\](?:[A-Z]?[a-z]+|[.@_][\w.-]+)(?:[/\\]|$)|(?:~|\.{1,2}|[A-Za-z]:)[/\\]")
UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
SIMPLE_WORD = re.compile(r"[A-Za-z]+\d{0,4}")
SEPARATOR = re.compile(r"[^A-Za-z0-9]+")


def is_random(value: str) -> bool:
    """Whether a value looks random: long, with many distinct characters, and not words, a path or a number."""
    if UUID.fullmatch(value):
        return True
    if len(value) < MIN_RANDOM_CHARS or len(set(value)) < MIN_DISTINCT_CHARS or PATH.match(value):
        return False
    runs = SEPARATOR.split(PLACEHOLDER.sub(" ", value))
    unusual = sum(count_unusual_pairs(run) for run in runs)
    unusual_in_long_runs = sum(
        count_unusual_pairs(run) for run in runs if len(run) >= MIN_RUN_CHARS and not run.isdigit()
    )
    return unusual_in_long_runs >= MIN_UNUSUAL_PAIRS and unusual > MIN_UNUSUAL_SHARE * sum(
        max(0, len(run) - 1) for run in runs
    )


def count_unusual_pairs(run: str) -> int:
    """Count the adjacent characters in a run of letters and digits that are unusual in words and numbers."""
    return sum(not is_common_pair(first, second) for first, second in pairwise(run))


def is_common_pair(first: str, second: str) -> bool:
    """Whether two adjacent characters are usual: letters of one word, or an equal or consecutive pair."""
    if 0 <= ord(second) - ord(first) <= 1:
        return True
    same_word = second.islower() or (first.isupper() and second.isupper())
    return same_word and (first + second).lower() in COMMON_PAIRS


def is_simple_word(value: str) -> bool:
    """Whether a value is a word with at most four digits at its end, which may occur in any text."""
    return len(value) < MIN_RANDOM_CHARS and SIMPLE_WORD.fullmatch(value) is not None


MARKER = "[redacted:opencode-mcp]"
"""Replaces a secret. Unlike `[redacted]` it does not occur in projects, and it contains no space, so that it fits into
URLs and argument lists."""

KNOWN_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_-]{16,}|[sr]k_(?:live|test)_\w{16,}|whsec_\w{16,}"  # OpenAI, Anthropic, OpenRouter; Stripe
    r"|gh[pousr]_\w{20,}|github_pat_\w{20,}|gl(?:pat|rt|dt)-[\w-]{16,}"  # GitHub, GitLab
    r"|xox[abeprs]-[\w-]{10,}|xapp-[\w-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}"  # Slack, AWS
    r"|AIza[\w-]{35}|GOCSPX-[\w-]{20,}|ya29\.[\w-]{20,}|hf_\w{20,}|gsk_\w{20,}|xai-\w{20,}|pplx-\w{20,}|r8_\w{20,}"
    r"|npm_\w{30,}|pypi-[\w-]{40,}|SG\.[\w-]{16,}\.[\w-]{16,}|dop_v1_\w{32,}|hv[sb]\.[\w-]{20,}|dapi[0-9a-f]{32}"
    r"|lin_api_\w{20,}|ntn_\w{20,}|sbp_\w{20,}|\d{8,10}:AA[\w-]{30,}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+"  # a JWT
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r")"
)
MIN_KEY_CHARS = 15
"""The length of the shortest match of `KNOWN_KEY`."""

AUTH_SCHEME = re.compile(r"(?:Basic|Bearer|Digest|Negotiate|ApiKey|Token)\s+\S.*", re.IGNORECASE | re.DOTALL)
SINGLE_TOKEN = re.compile(r"[A-Za-z0-9_+/=.~-]+")
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>`]+")
WHOLE_URL = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.-]*:)+//")  # also jdbc:postgresql://
WEB_SCHEMES = frozenset({"http", "https", "ws", "wss"})
IMAGE_SCHEMES = frozenset({"docker", "docker-image", "oci"})
"""Schemes of image references, in which a digest follows an `@`."""


def is_placeholder(text: str) -> bool:
    """Whether a value only refers to a value: `${TOKEN}`, `Bearer {env:TOKEN}`."""
    return bool(PLACEHOLDER.search(text)) and PLACEHOLDER.sub("", text).strip(" :").lower() in {
        *("", "basic", "bearer", "token", "apikey")
    }


def mask(text: str) -> str:
    """Replace a secret by `MARKER`; an empty value and a placeholder stay."""
    return text if not text or is_placeholder(text) else MARKER


def is_credential(text: str) -> bool:
    """Whether a whole value is a credential by its form."""
    if is_placeholder(text):
        return False
    return AUTH_SCHEME.fullmatch(text) is not None or (SINGLE_TOKEN.fullmatch(text) is not None and is_random(text))


def mask_credentials(text: str, paths: bool = False) -> str:
    """Return a text without keys of known providers and without the credentials of its URLs.

    With `paths`, a random path segment of a URL counts as a credential as well.
    """
    if "://" in text:
        if WHOLE_URL.match(text) and not any(character.isspace() for character in text.strip()):
            text = mask_url(text, paths)
        else:
            text = URL.sub(lambda match: mask_url(match[0], paths), text)
    return KNOWN_KEY.sub(MARKER, text) if len(text) >= MIN_KEY_CHARS else text


def mask_url(text: str, paths: bool = False) -> str:
    """Return a URL without user and password, the values of credential parameters, and (`paths`) random segments."""
    before, _, after = text.partition("://")
    scheme = (re.search(r"[A-Za-z][A-Za-z0-9+.-]*$", before) or [""])[0].lower()
    if not scheme or scheme in IMAGE_SCHEMES:
        return text
    authority, path_and_query = split_authority(scheme, after)
    user, at_sign, host = authority.rpartition("@")
    if at_sign and is_secret_userinfo(scheme, user):
        user = mask(user)
    path, delimiter, query = path_and_query.partition("?")
    if not delimiter:
        path, delimiter, query = path_and_query.partition("#")
    if paths and scheme in WEB_SCHEMES:
        path = "/".join(MARKER if is_random(segment) else segment for segment in path.split("/"))
    return f"{before}://{user}{at_sign}{host}{path}{delimiter}{mask_query(query)}"


def split_authority(scheme: str, after: str) -> tuple[str, str]:
    """Split what follows `://` into authority and rest; a password may hold a `/`, `?` or `#` as it is."""
    try:
        parts = urlsplit(f"{scheme}://{after.strip()}")
        _ = parts.port  # raises ValueError if a password was parsed as the port
        authority = parts.netloc
    except ValueError:
        authority = after[: after.rfind("@") + 1] + re.split(r"[/?#]", after[after.rfind("@") + 1 :], maxsplit=1)[0]
    start = after.find(authority)
    return (after[: start + len(authority)], after[start + len(authority) :]) if start >= 0 else (after, "")


def is_secret_userinfo(scheme: str, user: str) -> bool:
    """Whether a URL's userinfo holds a credential: a password, on the web also a token alone; `git@` does not."""
    name, _, password = user.partition(":")
    return bool(password) or scheme in WEB_SCHEMES or is_random(name) or KNOWN_KEY.search(name) is not None


def mask_query(query: str) -> str:
    """Return a query or fragment without the values of its credential parameters."""
    masked: list[str] = []
    for part in re.split(r"([&;#])", query):
        name, equals, value = part.partition("=")
        secret = equals and is_secret_parameter(unquote(name))
        masked.append(f"{name}={mask(value)}" if secret else part)
    return "".join(masked)
