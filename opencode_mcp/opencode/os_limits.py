"""Exhausted resources of this machine, found in an error or by measuring, and what to do.

inotify: Linux limits the instances of a user (`fs.inotify.max_user_instances`, often 128), and each OpenCode takes two
for every project that it works in. If none is left, 1.18.33 reports no error: its main thread blocks on a watcher
thread that has exited (a futex in @parcel/watcher's subscribe), and it responds to no request, not even GET
/global/health. With its file watcher disabled it works.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

SHORTAGES = (
    (
        re.compile(r"ENOSPC|SQLITE_FULL|database or disk is full|no space left on device|EDQUOT|quota exceeded", re.I),
        "A disk is full: the one of OpenCode's data (~/.local/share/opencode or XDG_DATA_HOME) or of temporary files "
        "(TMPDIR). Free some space, then call again.",
    ),
    (
        re.compile(r"EMFILE|ENFILE|too many open files|ProcessFdQuotaExceeded|SystemFdQuotaExceeded", re.I),
        "Too many files are open at once. Raise the limit (`ulimit -n 4096`) where this server is started, then "
        "restart it.",
    ),
    (
        re.compile(r"ENOMEM|cannot allocate memory|out of memory", re.I),
        "The machine has too little free memory. Free some, then call again.",
    ),
    (
        re.compile(r"EROFS|read-only file system", re.I),
        "A folder that OpenCode writes to is read-only: ~/.local/share/opencode (XDG_DATA_HOME) or TMPDIR.",
    ),
)
"""Error messages of Linux, macOS, SQLite and Bun, as OpenCode 1.18.33 prints them before it exits, and what to do."""
MIN_FREE_BYTES = 1024 * 1024
"""More than SQLite adds to OpenCode's database at a time."""
MIN_OPEN_FILES = 256
"""With 64, OpenCode 1.18.33 starts but returns HTTP 500 from about 30 connections on."""
MIN_FREE_INSTANCES = 8
"""OpenCode takes up to three inotify instances for its first project; other programs may start beside it."""
NO_WATCHER_ENVIRONMENT = {"OPENCODE_EXPERIMENTAL_DISABLE_FILEWATCHER": "true"}
"""The environment of an OpenCode that watches no files: `vcs_get` then shows the branch of its start (1.18.33)."""


def find_shortage(output: str) -> str:
    """Return what to do about the exhausted resource that a text mentions; "" if there is none."""
    return next((advice for pattern, advice in SHORTAGES if pattern.search(output)), "")


def describe_os_error(error: OSError) -> str:
    """Describe an error of the operating system, with what to do about it where that is known."""
    advice = os_error_advice(error)
    return f"{error}\n{advice}" if advice else str(error)


def find_shortage_in_error(error: BaseException) -> str:
    """Return what to do about the exhausted resource behind an error or its causes; "" if there is none."""
    return next(
        (advice for cause in iter_causes(error) if isinstance(cause, OSError) and (advice := os_error_advice(cause))),
        "",
    )


def iter_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, its causes, contexts and grouped errors, once each: a group may be the context of its error."""
    found, remaining = set[int](), [error]
    while remaining:
        current = remaining.pop()
        if id(current) in found:
            continue
        found.add(id(current))
        yield current
        if (cause := current.__cause__ or current.__context__) is not None:
            remaining.append(cause)
        if isinstance(current, BaseExceptionGroup):
            remaining += reversed(cast("BaseExceptionGroup[BaseException]", current).exceptions)


def os_error_advice(error: OSError) -> str:
    """Return what to do about an error of the operating system, "" when that is not known."""
    message = os.strerror(error.errno) if error.errno else str(error)
    return find_shortage(f"{errno.errorcode.get(error.errno or 0, '')} {message}")


def measure_shortage(environ: Mapping[str, str], directory: str) -> str:
    """Return what an OpenCode with this environment lacks on this machine and what to do; "" if nothing."""
    data = Path(environ.get("XDG_DATA_HOME") or Path(environ.get("HOME") or Path.home()) / ".local" / "share")
    for folder in (data / "opencode", Path(environ.get("TMPDIR") or "/tmp"), Path(directory)):
        existing = next((ancestor for ancestor in (folder, *folder.parents) if ancestor.exists()), None)
        if existing is not None and (free := shutil.disk_usage(existing).free) < MIN_FREE_BYTES:
            return f"The disk of {folder} is full ({free} bytes are free). Free some space, then call again."
    if sys.platform != "win32":
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if limit != resource.RLIM_INFINITY and limit < MIN_OPEN_FILES:
            return (
                f"OpenCode may open only {limit} files at once, which is not enough. Raise the limit (`ulimit -n "
                "4096`) where this MCP server is started, then restart it."
            )
    return ""


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
