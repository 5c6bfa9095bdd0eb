"""What is known of each operation: the amended document, annotations, scopes, descriptions, versions."""

from .catalog import Catalog, Operation

__all__ = ["Catalog", "Operation"]
