"""Optional arguments of operations."""

from __future__ import annotations

from typing import Any


def optional(**arguments: Any) -> dict[str, Any]:
    """Return the arguments that are not None."""
    return {name: value for name, value in arguments.items() if value is not None}
