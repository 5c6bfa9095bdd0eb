"""Paths on OpenCode's machine."""

from __future__ import annotations

from pathlib import PurePath, PurePosixPath, PureWindowsPath


def to_pure_path(path: str) -> PurePath:
    """Return a path on OpenCode's machine, which may run Windows."""
    return PureWindowsPath(path) if PureWindowsPath(path).drive else PurePosixPath(path)
