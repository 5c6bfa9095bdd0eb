"""What `doctor` looks at. Nothing here starts a model or changes anything."""

from .examination import examine
from .finding import Finding

__all__ = ["Finding", "examine"]
