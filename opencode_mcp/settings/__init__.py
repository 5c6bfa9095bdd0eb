"""SETTINGS: what a user can choose."""

from .settings import DEPTH_VARIABLE, Settings, holds

__all__ = ["DEPTH_VARIABLE", "Settings", "holds"]
