"""OpenCode's OpenAPI documents as data. Imports only `exceptions` from this package."""

from .document import Document
from .snapshots import SNAPSHOT_VERSION

__all__ = [
    "SNAPSHOT_VERSION",
    "Document",
]
