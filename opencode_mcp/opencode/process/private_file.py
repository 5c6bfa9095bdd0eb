"""Files that only their owner can read and write. On the standard library alone, for the supervisor's script."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MAX_BYTES = 1_000_000


def read_private_file(path: Path) -> bytes:
    """Return the content of a file, without following a link or waiting for a writer.

    Raises:
        OSError: it cannot be read.
        PermissionError: it is not a regular file, belongs to another user, or other users may access it.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError(f"{path} is not a file")
        if os.name != "nt" and (status.st_uid != os.geteuid() or status.st_mode & 0o077):
            raise PermissionError(f"{path} is not this user's alone")
        return file.read(MAX_BYTES)


def write_private_file(path: Path, text: str) -> None:
    """Write a file, or replace it, at once; `path` with the suffix .draft is used meanwhile.

    Raises:
        OSError: it cannot be written.
    """
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
