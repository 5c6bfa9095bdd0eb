"""The OpenAPI document of the OpenCode server, as data. Imports nothing else of this package but its errors."""

from .catalog import Catalog, Operation
from .document import SNAPSHOT_VERSION, Document

__all__ = ["SNAPSHOT_VERSION", "Catalog", "Document", "Operation"]
