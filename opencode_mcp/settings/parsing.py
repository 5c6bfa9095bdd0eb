"""From the text of one flag or environment variable to a typed value.

A parser takes the text and returns the value, or raises `ValueError`. Its message continues a sentence that begins with
the name of the flag, such as "'loud' is not one of debug, info"; it never repeats a secret.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

MIN_RESULT_CHARS = 1_000
MIN_TOKEN_CHARS = 16
MIN_KEY_CHARS = 32
ON = ("1", "true", "yes", "on")
OFF = ("", "0", "false", "no", "off")
SERVER_NAME = re.compile(r"[a-z0-9-]{1,32}")
USER_INFORMATION = re.compile(r"://[^/?#\s]*@")
REDIS_SCHEMES = ("redis", "rediss", "unix")
HTTP_SCHEMES = ("http", "https")
OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
ORDINARY_URL = re.compile(
    r"https?://(?:[\w.~%!$&'()*+,;=:-]+@)?"
    rf"(?:[A-Za-z0-9.-]*[A-Za-z][A-Za-z0-9.-]*|{OCTET}(?:\.{OCTET}){{3}})(?::[0-9]+)?(?:/[!-~]*)?",
    re.ASCII,
)
"""A URL whose host is an ASCII name or an IPv4 address. Whether another one is valid, the HTTP client decides."""


class NamedServer(NamedTuple):
    """A running OpenCode server and the name that tools address it by."""

    name: str
    url: str


MAX_LINGER_SECONDS = 86_400.0


def boolean(text: str) -> bool:
    """Parse a switch; case does not matter."""
    if text.lower() not in {*ON, *OFF}:
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() in ON


def result_chars(text: str) -> int:
    """Parse a number of characters."""
    if not text.isdigit() or int(text) < MIN_RESULT_CHARS:
        raise ValueError(f"{text!r} is not a number of at least {MIN_RESULT_CHARS}")
    return int(text)


def linger_seconds(text: str) -> float:
    """Parse a number of seconds, at most a day."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_LINGER_SECONDS:
        raise ValueError(f"{text!r} is not a number of seconds from 0 to {MAX_LINGER_SECONDS:g}")
    return seconds


def dollars(text: str) -> float:
    """Parse an amount of money above zero."""
    try:
        amount = float(text)
    except ValueError:
        amount = 0.0
    if not 0 < amount < math.inf:
        raise ValueError(f"{text!r} is not a number above 0")
    return amount


def one_of(*choices: str) -> Callable[[str], str]:
    """Return the parser of a choice."""

    def choice(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is not one of {', '.join(choices)}")
        return text

    return choice


def names(text: str) -> tuple[str, ...]:
    """Parse names separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def directories(text: str) -> tuple[str, ...]:
    """Parse directories separated as those of PATH are."""
    return tuple(directory for directory in text.split(os.pathsep) if directory)


def command_line(text: str, windows: bool = os.name == "nt") -> tuple[str, ...]:
    """Split a command line as the system's shell does: on Windows a backslash is a part of a path."""
    try:
        return tuple(split_windows(text) if windows else shlex.split(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a command line: {error}") from error


def split_windows(text: str) -> Iterator[str]:
    """Yield the words of a command line of Windows, without the quotation marks around spaces.

    Raises:
        ValueError: a quotation mark is missing.
    """
    if text.count('"') % 2:
        raise ValueError("No closing quotation")
    yield from (word.replace('"', "") for word in re.findall(r'(?:"[^"]*"|[^"\s])+', text))


def join_command(words: Iterable[str], windows: bool = os.name == "nt") -> str:
    """Return the command line that `command_line` splits into words."""
    if not windows:
        return shlex.join(words)
    return " ".join(f'"{word}"' if not word or re.search(r"\s", word) else word for word in words)


def document(text: str) -> Path | Literal["bundled", "live"]:
    """Parse the choice of an OpenAPI document."""
    return text if text == "bundled" or text == "live" else Path(text)


def http_url(text: str) -> str:
    """Check an http:// or https:// URL."""
    if not is_http_url(text):
        raise ValueError(f"{without_password(text)!r} is not an http:// or https:// URL")
    return text


def servers(text: str) -> tuple[NamedServer, ...]:
    """Parse NAME=URL pairs separated by commas; no name may occur twice."""
    by_name: dict[str, NamedServer] = {}
    for item in names(text):
        name, _, url = item.partition("=")
        quoted = repr(without_password(item))
        if not SERVER_NAME.fullmatch(name) or not is_http_url(url):
            raise ValueError(
                f"{quoted} is not NAME=URL: a name has a-z, 0-9 and -, a URL begins with http:// or https://"
            )
        if name in by_name:
            raise ValueError(f"{quoted}: another server is already named {name!r}")
        by_name[name] = NamedServer(name, url)
    return tuple(by_name.values())


def format_servers(servers: tuple[NamedServer, ...]) -> str:
    """Return the text that `servers` parses as these."""
    return ",".join(f"{server.name}={server.url}" for server in servers)


def redis_url(text: str) -> str:
    """Check the URL of a Redis. The error does not repeat it, as it may hold a password."""
    if split_url(text).scheme not in REDIS_SCHEMES:
        raise ValueError("is not a redis://, rediss:// or unix:// URL")
    return text


def secret(min_chars: int) -> Callable[[str], str]:
    """Return the parser of a secret of at least `min_chars` characters."""

    def long_enough(text: str) -> str:
        if len(text) < min_chars:
            raise ValueError(f"has {len(text)} characters, and must have at least {min_chars}")
        return text

    return long_enough


def without_password(text: str) -> str:
    """Return a text whose URLs have neither a user name nor a password."""
    return USER_INFORMATION.sub("://", text)


def split_url(url: str) -> SplitResult:
    """Return the parts of a URL, all empty when it cannot be parsed."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def is_http_url(url: str) -> bool:
    """Whether this is an http:// or https:// URL with a valid host and, if any, a valid port."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in HTTP_SCHEMES or not parts.hostname or parts.port == 0:
            return False
    except ValueError:
        return False
    return ORDINARY_URL.fullmatch(url) is not None or is_valid_for_client(url)


def is_valid_for_client(url: str) -> bool:
    """Whether the HTTP client takes a URL. It is imported for unusual ones only, as that delays the first answer."""
    import httpx2

    try:
        return httpx2.URL(url).scheme in HTTP_SCHEMES
    except httpx2.InvalidURL:
        return False
