"""`--document`: the bundled snapshot, a file, or that of a running server."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import httpx2

from opencode_mcp.exceptions import DocumentError, SettingsError
from opencode_mcp.openapi import SNAPSHOT_VERSION, Catalog, Document
from opencode_mcp.openapi.document import snapshot
from opencode_mcp.opencode.install import cache_folder
from opencode_mcp.settings import Settings

LIVE_SECONDS = 20.0
"""The first GET /doc costs OpenCode 2 to 13 s."""


def chosen_catalog(settings: Settings) -> Catalog:
    """Return the catalog of the document that `--document` names; the bundled one is read when it is needed.

    Raises:
        SettingsError, DocumentError: as `choose`.
    """
    servers = tuple(settings.urls)
    if settings.document == "bundled":
        return Catalog.bundled().among(servers)
    document = choose(settings)
    return Catalog(lambda: document).among(servers)


def choose(settings: Settings) -> Document:
    """Return the document that `--document` names, which is not the bundled one.

    Raises:
        SettingsError: a file that cannot be read.
        DocumentError: a file that is no OpenAPI document, or poorer than the snapshot.
    """
    bundled = snapshot()
    if settings.document == "live":
        return live(settings, bundled)
    try:
        return accept(Path(settings.document).read_bytes(), bundled)
    except OSError as error:
        raise SettingsError(f"--document {settings.document!r} cannot be read: {error.strerror}") from error


def live(settings: Settings, bundled: Document) -> Document:
    """Return the document of the server at `--url`, else the cached one of its version, else the snapshot.

    Of several servers it is that of the first.
    """
    name, url = next(iter(settings.urls.items()))
    password, url = settings.password_of(name), url.rstrip("/")
    auth = httpx2.BasicAuth(settings.username, password) if password else None
    cached: Path | None = None
    try:
        with httpx2.Client(auth=auth, timeout=LIVE_SECONDS, trust_env=False) as http:
            version = str(http.get(f"{url}/global/health").raise_for_status().json()["version"])
            cached = cache_folder(settings.environ) / "documents" / f"{Path(version).name}.json"
            data = http.get(f"{url}/doc").raise_for_status().content
        document = accept(data, bundled)
    except (httpx2.HTTPError, ValueError, KeyError, DocumentError) as error:
        return fall_back(cached, bundled, str(error) or type(error).__name__)
    with suppress(OSError):  # kept for later where that is possible
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.write_bytes(data)
    first = f", the first of {len(settings.urls)} servers" if len(settings.urls) > 1 else ""
    say(f"document: live, of OpenCode {version} at {url}{first}")
    return document


def fall_back(cached: Path | None, bundled: Document, reason: str) -> Document:
    """Return the cached document where there is a good one, else the snapshot, and say which."""
    try:
        if cached is not None and cached.is_file():
            document = accept(cached.read_bytes(), bundled)
            say(f"document: {cached} (live: {reason})")
            return document
    except DocumentError as error:
        reason = f"{reason}; cached: {error}"
    say(f"document: the bundled one of OpenCode {SNAPSHOT_VERSION} (live: {reason})")
    return bundled


def accept(data: bytes, bundled: Document) -> Document:
    """Parse a document, and refuse one that is poorer than the snapshot.

    Raises:
        DocumentError: why it is not to be used.
    """
    document = Document.parse(data)
    document.refuse_if_poorer_than(bundled)
    return document


def say(message: str) -> None:
    """Tell the person who started the server; not a log line, as it holds at every log level."""
    print(f"opencode-mcp: {message}", file=sys.stderr)  # noqa: T201 - as above
