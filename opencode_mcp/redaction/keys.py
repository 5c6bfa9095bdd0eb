"""Values that are credentials by their form: keys of known providers, `Bearer …`, userinfo and queries of URLs.

Applied only to configuration; project content is not searched for these.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from .entropy import PLACEHOLDER, is_random
from .names import is_secret_parameter

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
