"""Settings that make no sense: each check raises on the first that it finds, and names the flag."""

from __future__ import annotations

import os
import re
from dataclasses import fields
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from opencode_mcp.exceptions import SettingsError

if TYPE_CHECKING:
    from .settings import Settings

MIN_RESULT_CHARS = 1_000
MIN_TOKEN_CHARS = 16
MIN_KEY_CHARS = 32
ON = ("1", "true", "yes", "on")
OFF = ("", "0", "false", "no", "off")
LOG_LEVELS = ("debug", "info", "warning", "error")
SERVER_NAME = re.compile(r"[a-z0-9-]{1,32}")
USER_INFORMATION = re.compile(r"://[^/?#\s]*@")
REDIS_SCHEMES = ("redis", "rediss", "unix")


def check(settings: Settings) -> None:
    """Raise on the first value that makes no sense.

    Raises:
        SettingsError: names the flag.
    """
    for one in (check_servers, check_choices, check_directories, check_authorization, check_replicas, check_command):
        one(settings)


def check_servers(settings: Settings) -> None:
    """Check where OpenCode is, and whether its document can be read there."""
    if settings.url and not is_http_url(settings.url):
        raise SettingsError(f"--url {without_password(settings.url)!r} is no http:// or https:// URL")
    names: set[str] = set()
    for one in settings.names("server"):
        name, _, url = one.partition("=")
        if not SERVER_NAME.fullmatch(name) or not is_http_url(url):
            raise SettingsError(
                f"--server {without_password(one)!r} is no NAME=URL: a-z, 0-9 and - in the name, http:// or https://"
            )
        if name in names:
            raise SettingsError(f"--server {without_password(one)!r}: there is a {name!r} already")
        names.add(name)
    if names and settings.url:
        raise SettingsError("--url and --server exclude each other")
    check_certificates(settings)
    if settings.document == "live" and not settings.urls:
        raise SettingsError("--document live reads the document of the server at --url, which is not given")


def check_certificates(settings: Settings) -> None:
    """Check that the certificates to trust can be read, where there is TLS."""
    if settings.trusted is None or not any(split(url).scheme == "https" for url in settings.urls.values()):
        return
    import ssl

    flag = "--ca-file" if settings.ca_file else "SSL_CERT_FILE"
    try:
        ssl.create_default_context(cafile=settings.trusted)
    except OSError as error:  # an SSLError is one too
        reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise SettingsError(f"{flag} {settings.trusted!r} cannot be used: {reason}") from error


def check_choices(settings: Settings) -> None:
    """Check numbers, switches, and the log level."""
    if not settings.max_result_chars.isdigit() or int(settings.max_result_chars) < MIN_RESULT_CHARS:
        raise SettingsError(
            f"--max-result-chars {settings.max_result_chars!r} is no number of {MIN_RESULT_CHARS} or more"
        )
    for name in (one.name for one in fields(settings) if one.metadata.get("switch")):
        if getattr(settings, name).lower() not in {*ON, *OFF}:
            raise SettingsError(f"--{name.replace('_', '-')} {getattr(settings, name)!r} is neither true nor false")
    if settings.log_level not in LOG_LEVELS:
        raise SettingsError(f"--log-level {settings.log_level!r} is none of {', '.join(LOG_LEVELS)}")


def check_directories(settings: Settings) -> None:
    """Check that directories are there, when they are on this machine."""
    if settings.directory and not settings.urls and not os.path.isdir(settings.directory):
        raise SettingsError(f"--directory {settings.directory!r} is no directory")
    for allowed in settings.allowed_directories:
        if not os.path.isabs(allowed) or (not settings.urls and not os.path.isdir(allowed)):
            raise SettingsError(f"--allow-directory {allowed!r} is no absolute path of a directory")


def check_authorization(settings: Settings) -> None:
    """Check who may use it over HTTP."""
    if settings.token and len(settings.token) < MIN_TOKEN_CHARS:
        raise SettingsError(f"--token has {len(settings.token)} characters; {MIN_TOKEN_CHARS} are the least")
    if bool(settings.oauth_issuer) != bool(settings.oauth_audience):
        raise SettingsError("--oauth-issuer and --oauth-audience go together")
    for name in ("oauth_issuer", "oauth_audience"):
        if getattr(settings, name) and not is_http_url(getattr(settings, name)):
            raise SettingsError(f"--{name.replace('_', '-')} {getattr(settings, name)!r} is no http:// or https:// URL")
    if sum((bool(settings.token), settings.is_on("no_auth"), bool(settings.oauth_issuer))) > 1:
        raise SettingsError("--token, --no-auth and --oauth-issuer exclude each other")


def check_replicas(settings: Settings) -> None:
    """Check what replicas share."""
    if settings.redis and split(settings.redis).scheme not in REDIS_SCHEMES:
        raise SettingsError("--redis is no redis://, rediss:// or unix:// URL")  # not which: it may hold a password
    if settings.redis and not settings.urls:
        raise SettingsError("--redis is for replicas that share the OpenCode at --url or --server; none is given")
    if settings.state_key and len(settings.state_key) < MIN_KEY_CHARS:
        raise SettingsError(
            f"OPENCODE_MCP_STATE_KEY has {len(settings.state_key)} characters; {MIN_KEY_CHARS} are the least"
        )


def check_command(settings: Settings) -> None:
    """Check that the command can be split."""
    try:
        _ = settings.command_line
    except ValueError as error:
        raise SettingsError(f"--command {settings.command!r} is no command line: {error}") from error


def without_password(text: str) -> str:
    """Return a text whose URLs have neither a user name nor a password."""
    return USER_INFORMATION.sub("://", text)


def split(url: str) -> SplitResult:
    """Return a URL's parts; of what is none they are empty."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def is_http_url(url: str) -> bool:
    """Whether a URL has http or https, a host, and no port that is none."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
