"""Returns freed memory to the system."""

from __future__ import annotations

import ctypes
import sys


def return_freed_memory() -> None:
    """Return what was freed to the system, where the C library keeps it and can return it (glibc).

    Reading the OpenAPI document frees 2 MB; returning them takes less than a millisecond.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:  # musl has none
        trim(0)
