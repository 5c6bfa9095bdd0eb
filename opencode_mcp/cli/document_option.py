"""`--document`: the bundled document, a file, or the document of a running server.

parse -> skip unusable operations -> reject an incomplete document -> add the operations that only the bundled one has
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import httpx2

from opencode_mcp.catalog import Catalog
from opencode_mcp.catalog.generation import Generation
from opencode_mcp.catalog.generations import DEFAULT_GENERATION, GENERATIONS
from opencode_mcp.connect import make_endpoint
from opencode_mcp.exceptions import DocumentError, SettingsError
from opencode_mcp.openapi import Document
from opencode_mcp.opencode.process.install import cache_folder
from opencode_mcp.opencode.transport import create_ssl_context, describe_tls_error
from opencode_mcp.settings import Settings, without_password

LIVE_TIMEOUT_SECONDS = 20.0
"""The first GET /doc takes OpenCode 1 two to 13 s."""

MAX_NAMED = 5


def load_catalog(settings: Settings, generation: int = DEFAULT_GENERATION) -> Catalog:
    """Return a generation's catalog of the document that `--document` names; the bundled one is read when needed.

    Operations that only the bundled document has are included, and marked.

    Raises:
        SettingsError, DocumentError: as for `load_document`.
    """
    servers = tuple(settings.urls)
    if settings.document == "bundled":
        return Catalog.from_snapshot(generation).for_servers(servers)
    known = GENERATIONS[generation]
    return merge_with_bundled(load_document(settings, known), known).for_servers(servers)


def merge_with_bundled(document: Document, generation: Generation) -> Catalog:
    """Return the catalog of a document plus the operations that only the bundled one has; names of task and gateway
    tools are reserved."""
    # Imported here, so that a server with the bundled document starts without them.
    from opencode_mcp.tasks import TASK_TOOLS
    from opencode_mcp.tools.gateway import FORMER_NAMES, GATEWAY_TOOLS

    reserved = frozenset({*TASK_TOOLS, *GATEWAY_TOOLS, *FORMER_NAMES})
    return Catalog(lambda: document, fallback=generation.load_document, reserved=reserved, generation=generation)


def load_document(settings: Settings, generation: Generation = GENERATIONS[DEFAULT_GENERATION]) -> Document:
    """Return the document that `--document` names, which is not the bundled one.

    Raises:
        SettingsError: a file that cannot be read.
        DocumentError: a file that is not an OpenAPI document, or lacks what it must have.
    """
    if settings.document == "live":
        return load_live_document(settings, generation)
    try:
        return parse_document(Path(settings.document).read_bytes(), generation)
    except OSError as error:
        raise SettingsError(f"--document {str(settings.document)!r} cannot be read: {error.strerror}") from error


def load_live_document(settings: Settings, generation: Generation) -> Document:
    """Return the document of the server at `--url`, else the cached one of its version, else the bundled one.

    Of several servers it is that of the first.
    """
    endpoint = make_endpoint(settings, next(iter(settings.urls)), generation)
    snapshot = generation.snapshot
    cached: Path | None = None
    try:
        verify = create_ssl_context(endpoint.ca_file) if endpoint.url.scheme == "https" else False
        with httpx2.Client(auth=endpoint.auth, verify=verify, timeout=LIVE_TIMEOUT_SECONDS, trust_env=False) as http:
            version = str(http.get(endpoint.base_url + snapshot.version_path).raise_for_status().json()["version"])
            cached = cache_folder(settings.environ) / "documents" / f"{Path(version).name}.json"
            data = http.get(endpoint.base_url + snapshot.document_path).raise_for_status().content
        document = parse_document(data, generation)
    except (httpx2.HTTPError, ValueError, KeyError, TypeError, DocumentError) as error:
        return fall_back(cached, generation, describe_tls_error(error) or str(error) or type(error).__name__)
    with suppress(OSError):  # a cache that cannot be written is not an error
        write_cache(cached, data)
    first_of = f", the first of {len(settings.urls)} servers" if len(settings.urls) > 1 else ""
    print_message(f"document: live, of OpenCode {version} at {endpoint.display_url}{first_of}")
    return document


def write_cache(file: Path, data: bytes) -> None:
    """Write a document to the cache, atomically.

    Raises:
        OSError: it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as temporary:
        temporary.write(data)
    os.replace(temporary.name, file)


def fall_back(cached: Path | None, generation: Generation, reason: str) -> Document:
    """Return the cached document if it is valid, else the bundled one, and print which."""
    try:
        if cached is not None and cached.is_file():
            document = parse_document(cached.read_bytes(), generation)
            print_message(f"document: {cached} (live: {reason})")
            return document
    except DocumentError as error:
        reason = f"{reason}; cached: {error}"
    print_message(f"document: bundled, of OpenCode {generation.snapshot.version} (live: {reason})")
    return generation.load_document()


def parse_document(data: bytes, generation: Generation) -> Document:
    """Parse a document, print what is skipped or missing, and reject an incomplete one.

    Raises:
        DocumentError: why it is rejected.
    """
    skipped: list[str] = []
    bundled = generation.load_document()
    document = drop_unusable_operations(Document.parse(data, skipped), generation, skipped)
    document.require_share_of(bundled, generation.least_share)
    require_needed_operations(Catalog(lambda: document, generation=generation), generation)
    for line in skipped:
        print_message(f"document: skipped: {line}")
    if missing := document.missing_operation_ids(bundled):
        examples = ", ".join(missing[:MAX_NAMED]) + (", …" if len(missing) > MAX_NAMED else "")
        print_message(
            f"document: {len(missing)} operations of the bundled document are missing, and are marked: {examples}"
        )
    return document


def require_needed_operations(catalog: Catalog, generation: Generation) -> None:
    """Raise if a document lacks what this package itself calls: an operation, or one of the arguments that it sends.

    Raises:
        DocumentError: names them.
    """
    operations = {operation.id: operation.input_schema for operation in catalog.values()}
    problems: list[str] = []
    for operation_id, arguments in generation.needed.items():
        schema = operations.get(operation_id)
        if schema is None:
            problems.append(operation_id)
            continue
        problems += [f"`{name}` of {operation_id}" for name in sorted(arguments - schema["properties"].keys())]
        problems += [
            f"a call of {operation_id} without `{name}`" for name in sorted({*schema.get("required", ())} - arguments)
        ]
    if problems:
        raise DocumentError(f"it lacks what this server needs: {', '.join(problems)}")


def drop_unusable_operations(document: Document, generation: Generation, skipped: list[str]) -> Document:
    """Return a document without the operations that cannot become a tool."""
    from opencode_mcp.tools import operation_definition

    broken: set[str] = set()
    for operation in Catalog(lambda: document, generation=generation).values():
        try:
            operation_definition(operation, 0)
            _ = operation.validator, operation.response_schema
        except Exception as error:  # another server's document can be invalid in any way
            broken.add(operation.id)
            skipped.append(f"{operation.method} {operation.path}: {type(error).__name__}: {str(error)[:200]}")
    return document.without_operations(broken) if broken else document


def print_message(message: str) -> None:
    """Print a message for the user; not a log record, as it is shown at every log level."""
    print(f"opencode-mcp: {without_password(message)}", file=sys.stderr)  # noqa: T201 - as above
