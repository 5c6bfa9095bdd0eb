"""Backup of the user's files before a merge writes over them, and restore."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from .snapshot import is_file


def back_up(root: str, folder: Path, paths: Iterable[bytes]) -> dict[bytes, Path | None]:
    """Copy files, links and modes into a folder; None is what is not there.

    Raises:
        OSError: one cannot be copied.
    """
    backup_folder = folder / "backup"
    backup_folder.mkdir()
    copies: dict[bytes, Path | None] = {}
    for number, path in enumerate(paths):
        copies[path] = backup_folder / str(number) if is_file(root, path) else None
        if (copy := copies[path]) is not None:
            shutil.copy2(file_path(root, path), copy, follow_symlinks=False)
    return copies


def restore(root: str, copies: Mapping[bytes, Path | None], unexpected: Sequence[bytes]) -> str | None:
    """Make files again what they were; what is `unexpected` was written by something unknown, and is moved to a folder.

    Returns that folder, None without odd files. When a file cannot be put back, the copies are moved there as well.

    Raises:
        OSError: a file cannot be put back; `filename` is the folder that has the copies.
    """
    rescue_folder = tempfile.mkdtemp(prefix="opencode-mcp-kept-") if unexpected else None
    try:
        for path in copies:
            if is_file(root, path):
                if rescue_folder is not None and path in unexpected:
                    shutil.copy2(file_path(root, path), backup_path(rescue_folder, path), follow_symlinks=False)
                os.unlink(file_path(root, path))
                remove_empty_parents(root, path)
        for path, copy in copies.items():
            if copy is not None:
                os.makedirs(os.path.dirname(file_path(root, path)), exist_ok=True)
                shutil.copy2(copy, file_path(root, path), follow_symlinks=False)
    except OSError as error:
        rescue_folder = rescue_folder or tempfile.mkdtemp(prefix="opencode-mcp-kept-")
        for path, copy in copies.items():
            if copy is not None:
                shutil.copy2(copy, backup_path(rescue_folder, path) + ".before", follow_symlinks=False)
        raise OSError(error.errno, error.strerror, rescue_folder) from error
    return rescue_folder


def file_path(root: str, path: bytes) -> str:
    """Return where a path of a working tree is."""
    return os.path.join(root, os.fsdecode(path))


def backup_path(folder: str, path: bytes) -> str:
    """Return where a file is kept outside of its working tree."""
    return os.path.join(folder, os.fsdecode(path).replace("/", "%"))


def remove_empty_parents(root: str, path: bytes) -> None:
    """Remove the folders above a path that are empty, as git does."""
    with suppress(OSError):
        parent = os.path.dirname(path)
        while parent:
            os.rmdir(file_path(root, parent))
            parent = os.path.dirname(parent)
