"""The file descriptors of stdin and stdout: whether both are pipes, and how much is read from one at once."""

from __future__ import annotations

import os
import stat
import sys

MAX_READ_BYTES = 256 * 1024
"""How much of stdin is read at once."""


def are_stdin_and_stdout_pipes() -> bool:
    """Whether stdin and stdout can be served without threads."""
    return sys.platform != "win32" and all(is_pipe(descriptor) for descriptor in (0, 1))


def is_pipe(descriptor: int) -> bool:
    """Whether a descriptor is a pipe or a socket, which can be waited for."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
