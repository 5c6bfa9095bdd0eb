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
    place = folder / "backup"
    place.mkdir()
    copies: dict[bytes, Path | None] = {}
    for number, path in enumerate(paths):
        copies[path] = place / str(number) if is_file(root, path) else None
        if (copy := copies[path]) is not None:
            shutil.copy2(located(root, path), copy, follow_symlinks=False)
    return copies


def put_back(root: str, copies: Mapping[bytes, Path | None], odd: Sequence[bytes]) -> str | None:
    """Make files again what they were; what is `odd` was written by something unknown, and is moved to a folder.

    Returns that folder, None without odd files. When a file cannot be put back, the copies are moved there as well.

    Raises:
        OSError: a file cannot be put back; `filename` is the folder that has the copies.
    """
    kept = tempfile.mkdtemp(prefix="opencode-mcp-kept-") if odd else None
    try:
        for path in copies:
            if is_file(root, path):
                if kept is not None and path in odd:
                    shutil.copy2(located(root, path), aside(kept, path), follow_symlinks=False)
                os.unlink(located(root, path))
                prune(root, path)
        for path, copy in copies.items():
            if copy is not None:
                os.makedirs(os.path.dirname(located(root, path)), exist_ok=True)
                shutil.copy2(copy, located(root, path), follow_symlinks=False)
    except OSError as error:
        kept = kept or tempfile.mkdtemp(prefix="opencode-mcp-kept-")
        for path, copy in copies.items():
            if copy is not None:
                shutil.copy2(copy, aside(kept, path) + ".before", follow_symlinks=False)
        raise OSError(error.errno, error.strerror, kept) from error
    return kept


def located(root: str, path: bytes) -> str:
    """Return where a path of a working tree is."""
    return os.path.join(root, os.fsdecode(path))


def aside(folder: str, path: bytes) -> str:
    """Return where a file is kept outside of its working tree."""
    return os.path.join(folder, os.fsdecode(path).replace("/", "%"))


def prune(root: str, path: bytes) -> None:
    """Remove the folders above a path that are empty, as git does."""
    with suppress(OSError):
        above = os.path.dirname(path)
        while above:
            os.rmdir(located(root, above))
            above = os.path.dirname(above)
