"""The engine of OpenCode 2: its sessions, messages and requests in the terms of `models.py`, file by file."""

from __future__ import annotations

from .engine2 import Engine2
from .traits import TRAITS

__all__ = ["TRAITS", "Engine2"]
