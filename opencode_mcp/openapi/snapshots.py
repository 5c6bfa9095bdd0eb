"""The bundled OpenAPI documents, one per generation of OpenCode: the major version that decides about the API."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from .document import Document

SNAPSHOT_VERSION = "1.18.33"
"""The OpenCode 1 whose `GET /doc` the snapshot is, to the byte. It is also the version of the managed copy."""

SNAPSHOT_SHA256 = "46db986090aae41846cd6dbe16225a1d883f0bbcb4c48814008d3f6ce140aa5c"

SNAPSHOT_2_VERSION = "2.1.2"
"""The OpenCode 2 whose API the other snapshot describes."""

SNAPSHOT_2_SHA256 = "2b120bdfa01b0f2ad37e39d192031b8159a8a931bc4da930b2e417fdc44ec327"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A bundled document. `sha256` is that of `file`, whose licence is in LICENSE.

    `is_exact`: it says all that the server's own document says. A running server has its version, in the field
    `version` of an object, at `version_path`, and its own document at `document_path`.
    """

    version: str
    file: str
    sha256: str
    origin: str
    version_path: str
    document_path: str
    is_exact: bool = True


SNAPSHOTS: Mapping[int, Snapshot] = {
    1: Snapshot(
        version=SNAPSHOT_VERSION,
        file="opencode1.json",
        sha256=SNAPSHOT_SHA256,
        origin="GET /doc of opencode-ai (npm), to the byte",
        version_path="/global/health",
        document_path="/doc",
    ),
    2: Snapshot(
        version=SNAPSHOT_2_VERSION,
        file="opencode2.json",
        sha256=SNAPSHOT_2_SHA256,
        origin="converted from opencode-python-sdk 0.2.3 (PyPI, MIT), a client generated from OpenCode 2.1.2's API; it "
        "lacks most patterns and limits of values, and the two WebSocket routes to terminals",
        version_path="/api/info",
        document_path="/openapi.json",
        is_exact=False,
    ),
}
"""The documents by generation."""


def read_snapshot(generation: int = 1) -> bytes:
    """Return the bytes of a bundled document."""
    return resources.files(__package__ or __name__).joinpath(SNAPSHOTS[generation].file).read_bytes()


@cache
def load_snapshot(generation: int = 1) -> Document:
    """Return a bundled document, which is parsed once."""
    return Document.model_validate_json(read_snapshot(generation))


def sha256(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of a document's bytes."""
    return hashlib.sha256(data).hexdigest()
