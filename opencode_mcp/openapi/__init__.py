"""OpenCode's OpenAPI document as data. Imports only `exceptions` from this package."""

from .document import SNAPSHOT_VERSION, Document

__all__ = [
    "SNAPSHOT_VERSION",
    "Document",
]
