"""The lock of a shared OpenCode's supervisor, and what a killed supervisor leaves: processes and files.

On the standard library alone, for the supervisor's script.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import supervisor
from private_file import read_private_file

PREFIX = "opencode-mcp-"
"""How the name of a folder for temporary files starts."""


@dataclass(frozen=True)
class Leftovers:
    """What a registration names: OpenCode's process with its start time, and the folder for temporary files."""

    pid: int
    started: str
    temporary: str

    def find_processes(self) -> set[int]:
        """Return the processes that still run."""
        found = find_by_folder(self.temporary)
        if self.started and supervisor.process_start(self.pid) == self.started:
            found |= {self.pid, *supervisor.descendants(self.pid)}
        return found - {os.getpid()}


def acquire_lock(path: Path) -> int | None:
    """Acquire a lock and return its descriptor; None if another process has it, or has just removed its file.

    Raises:
        OSError: the file cannot be written.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file), os.stat(path)):
            return file
    except OSError:  # it is held, or was removed
        pass
    os.close(file)
    return None


def release_lock(path: Path, file: int) -> None:
    """Remove the file of a lock, unless another one has taken its place, and release it."""
    with suppress(OSError):  # Windows does not remove an open file
        if os.path.samestat(os.fstat(file), os.stat(path)):
            path.unlink()
    os.close(file)


def end_all_leftovers(folder: Path, name: str) -> None:
    """End what killed supervisors have left, of any name. The caller holds the lock of `name`."""
    end_leftovers(folder / f"{name}.json")
    for other in {path.stem for path in folder.iterdir()} - {name}:
        lock = folder / f"{other}.lock"
        with suppress(OSError):  # the supervisor of this name does not depend on it
            if (file := acquire_lock(lock)) is not None:
                try:
                    end_leftovers(folder / f"{other}.json")
                finally:
                    release_lock(lock, file)


def end_leftovers(registration: Path) -> None:
    """End the processes and remove the files that a killed supervisor has left. The caller holds its lock."""
    leftovers = read_leftovers(registration)
    if leftovers is not None:
        deadline = time.monotonic() + supervisor.KILL_SECONDS
        while (pids := leftovers.find_processes()) and time.monotonic() < deadline:
            for pid in pids:
                supervisor.kill(pid)
            time.sleep(0.02)
        shutil.rmtree(leftovers.temporary, ignore_errors=True)
    for file in (registration, registration.with_suffix(".draft")):
        file.unlink(missing_ok=True)


def read_leftovers(registration: Path) -> Leftovers | None:
    """Read what a registration names; None if it names nothing that a supervisor can have left."""
    try:
        record = json.loads(read_private_file(registration))
        left = Leftovers(int(record["opencode_pid"]), str(record["opencode_started"]), str(record["temporary"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return left if os.path.isabs(left.temporary) and Path(left.temporary).name.startswith(PREFIX) else None


def find_by_folder(temporary: str) -> set[int]:
    """Return the processes whose folder for temporary files is in this one, as far as /proc shows them."""
    mark = b"TMPDIR=" + os.fsencode(temporary) + b"/"
    found = set[int]()
    for pid, _ in supervisor.list_processes():
        with suppress(OSError):  # it has ended, or is another user's
            if any(entry.startswith(mark) for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")):
                found.add(pid)
    return found
