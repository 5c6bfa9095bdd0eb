"""Whether OpenCode can have the inotify instance that its file watcher needs.

Linux limits the instances of a user (`fs.inotify.max_user_instances`, often 128), and each OpenCode takes two for
every project that it works in. Where none is left, 1.18.33 does not report an error: its main thread waits without end
for a watcher thread that has ended (a futex in @parcel/watcher's subscribe), and it answers no request any more,
GET /global/health included. Without its file watcher it works.
"""

from __future__ import annotations

import ctypes
import os
import sys

SPARE_INSTANCES = 8
"""OpenCode takes up to three for its first project; others start beside it."""

WITHOUT_WATCHER = {"OPENCODE_EXPERIMENTAL_DISABLE_FILEWATCHER": "true"}
"""The environment of an OpenCode that watches no files: `vcs_get` then shows the branch of its start (1.18.33)."""


def instances_left(wanted: int = SPARE_INSTANCES) -> bool:
    """Return whether so many inotify instances can be had now; where there is no inotify, always."""
    if sys.platform != "linux":
        return True
    libc = ctypes.CDLL(None)
    opened: list[int] = []
    try:
        while len(opened) < wanted:
            descriptor: int = libc.inotify_init1(os.O_CLOEXEC)
            if descriptor < 0:
                return False
            opened.append(descriptor)
        return True
    finally:
        for descriptor in opened:
            os.close(descriptor)
