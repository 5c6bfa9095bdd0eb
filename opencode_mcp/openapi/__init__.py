"""The OpenAPI document of the OpenCode server, as data. Of this package it imports only errors and redaction."""

from .catalog import Catalog, Operation
from .document import SNAPSHOT_VERSION, Document

__all__ = ["SNAPSHOT_VERSION", "Catalog", "Document", "Operation"]
