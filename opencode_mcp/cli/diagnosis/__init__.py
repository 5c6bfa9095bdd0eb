"""The checks of `doctor`. None of them calls a model or changes anything."""

from .examination import examine
from .finding import Finding

__all__ = ["Finding", "examine"]
