"""Checks that inotify instances are left for OpenCode's file watcher.

Linux limits the instances of a user (`fs.inotify.max_user_instances`, often 128), and each OpenCode takes two for
every project that it works in. If none is left, 1.18.33 reports no error: its main thread blocks on a watcher thread
that has exited (a futex in @parcel/watcher's subscribe), and it responds to no request, not even GET /global/health.
With its file watcher disabled it works.
"""

from __future__ import annotations

import ctypes
import os
import sys

MIN_FREE_INSTANCES = 8
"""OpenCode takes up to three for its first project; others start beside it."""

NO_WATCHER_ENVIRONMENT = {"OPENCODE_EXPERIMENTAL_DISABLE_FILEWATCHER": "true"}
"""The environment of an OpenCode that watches no files: `vcs_get` then shows the branch of its start (1.18.33)."""


def has_free_instances(count: int = MIN_FREE_INSTANCES) -> bool:
    """Whether `count` inotify instances can be created now; True on systems without inotify."""
    if sys.platform != "linux":
        return True
    libc = ctypes.CDLL(None)
    opened: list[int] = []
    try:
        while len(opened) < count:
            descriptor: int = libc.inotify_init1(os.O_CLOEXEC)
            if descriptor < 0:
                return False
            opened.append(descriptor)
        return True
    finally:
        for descriptor in opened:
            os.close(descriptor)
