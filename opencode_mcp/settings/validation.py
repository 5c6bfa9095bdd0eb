"""Checks that concern several settings at once, or the files and directories that they name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .parsing import split_url


class Problem(NamedTuple):
    """What is wrong, as a sentence, and the names of the settings that it is about."""

    sentence: str
    names: tuple[str, ...]


def check_servers(url: str | None, has_servers: bool, document: Path | str, redis: str | None) -> Iterator[Problem]:
    """Check that there is one choice of servers, and that what needs a running one has it."""
    if has_servers and url:
        yield Problem("--url and --server cannot be used together", ("url", "server"))
    if has_servers or url:
        return
    if document == "live":
        yield Problem("--document live reads the document from --url or --server; neither is given", ("document",))
    if redis:
        yield Problem(
            "--redis is for replicas that share the OpenCode at --url or --server; neither is given", ("redis",)
        )


def check_certificates(flag: str, file: str | None, urls: Iterable[str]) -> Iterator[Problem]:
    """Check that the CA certificates to trust can be read, if any URL is https://."""
    if file is None or not any(split_url(url).scheme == "https" for url in urls):
        return
    import ssl

    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:  # an SSLError is one too
        reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        yield Problem(f"{flag} {file!r} cannot be used: {reason}", ("ca_file",))


def check_directories(directory: str | None, allowed: Iterable[str], local: bool) -> Iterator[Problem]:
    """Check that directories exist, when they are on this machine, and that allowed ones are absolute."""
    if directory and local and not os.path.isdir(directory):
        yield Problem(f"--directory {directory!r} is not a directory", ("directory",))
    for path in allowed:
        if not os.path.isabs(path) or (local and not os.path.isdir(path)):
            yield Problem(f"--allow-directory {path!r} is not the absolute path of a directory", ("allow_directory",))


def check_authentication(
    token: str | None, no_auth: bool, issuer: str | None, audience: str | None
) -> Iterator[Problem]:
    """Check that there is one way to authenticate over HTTP, and that it is complete."""
    if bool(issuer) != bool(audience):
        yield Problem("--oauth-issuer and --oauth-audience must be given together", ("oauth_issuer", "oauth_audience"))
    if sum((bool(token), no_auth, bool(issuer))) > 1:
        yield Problem(
            "--token, --no-auth and --oauth-issuer cannot be used together", ("token", "no_auth", "oauth_issuer")
        )
