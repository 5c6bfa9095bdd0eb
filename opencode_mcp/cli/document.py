"""`--document`: the bundled snapshot, a file, or that of a running server.

parse -> skip unusable operations -> reject an incomplete document -> merge with the snapshot
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import httpx2

from opencode_mcp.client.connect import endpoint_of
from opencode_mcp.exceptions import DocumentError, SettingsError
from opencode_mcp.openapi import SNAPSHOT_VERSION, Catalog, Document
from opencode_mcp.openapi.document import load_snapshot
from opencode_mcp.opencode.install import cache_folder
from opencode_mcp.opencode.tls import create_ssl_context, describe_tls_error
from opencode_mcp.settings import Settings, without_password

LIVE_SECONDS = 20.0
"""The first GET /doc costs OpenCode 2 to 13 s."""

MAX_NAMED = 5


def chosen_catalog(settings: Settings) -> Catalog:
    """Return the catalog of the document that `--document` names; the bundled one is read when it is needed.

    Operations that only the snapshot has are included, and marked.

    Raises:
        SettingsError, DocumentError: as `choose`.
    """
    servers = tuple(settings.urls)
    if settings.document == "bundled":
        return Catalog.from_snapshot().for_servers(servers)
    document = choose(settings)
    return merged(document).for_servers(servers)


def merged(document: Document) -> Catalog:
    """Return the catalog of a document plus the operations that only the snapshot has; names of task and gateway tools
    are reserved."""
    # Imported here, so that a server with the bundled document starts without them.
    from opencode_mcp.tools.gateway import GATEWAY_TOOLS
    from opencode_mcp.workflows import TASK_TOOLS

    return Catalog(lambda: document, fallback=load_snapshot, reserved=frozenset({*TASK_TOOLS, *GATEWAY_TOOLS}))


def choose(settings: Settings) -> Document:
    """Return the document that `--document` names, which is not the bundled one.

    Raises:
        SettingsError: a file that cannot be read.
        DocumentError: a file that is not an OpenAPI document, or lacks most operations of the snapshot.
    """
    bundled = load_snapshot()
    if settings.document == "live":
        return live(settings, bundled)
    try:
        return accept(Path(settings.document).read_bytes(), bundled)
    except OSError as error:
        raise SettingsError(f"--document {str(settings.document)!r} cannot be read: {error.strerror}") from error


def live(settings: Settings, bundled: Document) -> Document:
    """Return the document of the server at `--url`, else the cached one of its version, else the snapshot.

    Of several servers it is that of the first.
    """
    endpoint = endpoint_of(settings, next(iter(settings.urls)))
    cached: Path | None = None
    try:
        verify = create_ssl_context(endpoint.ca_file) if endpoint.url.scheme == "https" else False
        with httpx2.Client(auth=endpoint.auth, verify=verify, timeout=LIVE_SECONDS, trust_env=False) as http:
            version = str(http.get(f"{endpoint.base_url}/global/health").raise_for_status().json()["version"])
            cached = cache_folder(settings.environ) / "documents" / f"{Path(version).name}.json"
            data = http.get(f"{endpoint.base_url}/doc").raise_for_status().content
        document = accept(data, bundled)
    except (httpx2.HTTPError, ValueError, KeyError, TypeError, DocumentError) as error:
        return fall_back(cached, bundled, describe_tls_error(error) or str(error) or type(error).__name__)
    with suppress(OSError):  # a cache that cannot be written is not an error
        keep(cached, data)
    first = f", the first of {len(settings.urls)} servers" if len(settings.urls) > 1 else ""
    say(f"document: live, of OpenCode {version} at {endpoint.display_url}{first}")
    return document


def keep(file: Path, data: bytes) -> None:
    """Write an accepted document to the cache, atomically.

    Raises:
        OSError: it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as fresh:
        fresh.write(data)
    os.replace(fresh.name, file)


def fall_back(cached: Path | None, bundled: Document, reason: str) -> Document:
    """Return the cached document if it is valid, else the snapshot, and print which."""
    try:
        if cached is not None and cached.is_file():
            document = accept(cached.read_bytes(), bundled)
            say(f"document: {cached} (live: {reason})")
            return document
    except DocumentError as error:
        reason = f"{reason}; cached: {error}"
    say(f"document: bundled, of OpenCode {SNAPSHOT_VERSION} (live: {reason})")
    return bundled


def accept(data: bytes, bundled: Document) -> Document:
    """Parse a document, print what is skipped or missing, and reject an incomplete one.

    Raises:
        DocumentError: why it is rejected.
    """
    skipped: list[str] = []
    document = usable(Document.parse(data, skipped), skipped)
    document.require_most_operations_of(bundled)
    for line in skipped:
        say(f"document: skipped: {line}")
    if missing := document.missing_operation_ids(bundled):
        examples = ", ".join(missing[:MAX_NAMED]) + (", …" if len(missing) > MAX_NAMED else "")
        say(f"document: {len(missing)} operations of the bundled document are missing, and are marked: {examples}")
    return document


def usable(document: Document, skipped: list[str]) -> Document:
    """Return a document without the operations that cannot become a tool."""
    from opencode_mcp.tools import operation_definition

    broken: set[str] = set()
    for operation in Catalog(lambda: document).values():
        try:
            operation_definition(operation, 0)
            _ = operation.validator, operation.response_schema
        except Exception as error:  # another server's document can be invalid in any way
            broken.add(operation.id)
            skipped.append(f"{operation.method} {operation.path}: {type(error).__name__}: {str(error)[:200]}")
    return document.without_operations(broken) if broken else document


def say(message: str) -> None:
    """Print a message for the user; not a log record, as it is shown at every log level."""
    print(f"opencode-mcp: {without_password(message)}", file=sys.stderr)  # noqa: T201 - as above
