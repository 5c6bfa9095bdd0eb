"""The operations of OpenCode 2 by attribute, as `operations.py` has those of OpenCode 1.

operations2.pyi, generated from the document by scripts/write_stubs.py, is what editors and type checkers read.
"""

from __future__ import annotations

from .operations import Call, Node, Operations, Pages

__all__ = ["Call", "Node", "Operations", "Pages"]
