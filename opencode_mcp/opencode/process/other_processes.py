"""Finds other processes on this machine that use an OpenCode server's data, from /proc (Linux).

address -> the process that listens there -> the database that it has open -> every other process that has it open

OpenCode keeps its database open while it runs (1.18.33), so every process that /proc shows is found. /proc does not
show processes of other users, or of other containers or machines that share the folder.
"""

from __future__ import annotations

import ipaddress
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from opencode_mcp.opencode.endpoint import Endpoint

PROC = Path("/proc")
LISTEN_STATE = "0A"
"""The state of a listening socket in /proc/net/tcp."""

FileId = tuple[int, int]
"""A file's device and inode, which do not depend on its path."""


@dataclass(frozen=True, slots=True)
class SharingProcess:
    """Another process that uses the server's data; `started` is in seconds since the epoch, by this machine's clock."""

    pid: int
    name: str
    started: float

    def __str__(self) -> str:
        return f"{self.name}, process {self.pid}"


def find_sharing_processes(endpoint: Endpoint) -> tuple[SharingProcess, ...] | None:
    """Return the other processes that use a server's data; None if unknown.

    It is known on Linux for a server on a loopback address whose process belongs to this user. Takes some milliseconds
    of file reads: run it in a thread.
    """
    files_by_pid = {pid: files for pid in list_pids() if (files := list_open_files(pid))} if is_local(endpoint) else {}
    server_pids = find_listening_pids(endpoint, files_by_pid)
    server_databases = {file for pid in server_pids for file in open_databases(pid, files_by_pid[pid])}
    if not server_databases:
        return None
    other_pids = [
        pid
        for pid, files in files_by_pid.items()
        if pid not in server_pids and server_databases & open_databases(pid, files)
    ]
    return tuple(process for pid in other_pids if (process := read_process(pid)) is not None)


def shares_files(endpoint: Endpoint) -> bool:
    """Whether a server is known to see the same files as this process: False where that cannot be known.

    It can be known where `find_sharing_processes` can. Reads files only; takes some milliseconds, so run it in a
    thread.
    """
    if not is_local(endpoint):
        return False
    server_pids = find_listening_pids(endpoint, {pid: files for pid in list_pids() if (files := list_open_files(pid))})
    return bool(server_pids) and {filesystem_view(str(pid)) for pid in server_pids} == {filesystem_view("self")} - {
        None
    }


def filesystem_view(pid: str) -> tuple[str, ...] | None:
    """Return a process's mount namespace and root, which decide what files it sees; None if it has exited."""
    with suppress(OSError):
        return tuple(os.readlink(PROC / pid / name) for name in ("ns/mnt", "root"))
    return None


def is_local(endpoint: Endpoint) -> bool:
    """Whether an address is on this machine's loopback interface and /proc is available."""
    return endpoint.url.port is not None and is_loopback(endpoint.url.host) and (PROC / "net" / "tcp").exists()


def find_listening_pids(endpoint: Endpoint, files_by_pid: dict[int, dict[str, int]]) -> set[int]:
    """Return which of the processes listen on the endpoint's port; `files_by_pid` are their open files."""
    sockets = {f"socket:[{inode}]" for inode in listening_socket_inodes(endpoint.url.port or 0)}
    return {pid for pid, files in files_by_pid.items() if sockets & files.keys()}


def is_loopback(host: str) -> bool:
    """Whether a host's name is that of this machine's loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening_socket_inodes(port: int) -> set[str]:
    """Return the inodes of the sockets that listen on a port, of IPv4 and IPv6."""
    inodes = set[str]()
    for name in ("tcp", "tcp6"):
        with suppress(OSError):  # a machine without IPv6
            for line in (PROC / "net" / name).read_text(encoding="utf-8", errors="replace").splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTEN_STATE and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes


def list_pids() -> list[int]:
    """Return the ids of all processes."""
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]


def list_open_files(pid: int) -> dict[str, int]:
    """Return the open files of a process as {name in /proc: descriptor}; {} for another user's process."""
    files: dict[str, int] = {}
    with suppress(OSError):  # it is another user's, or has ended
        for descriptor in os.listdir(PROC / str(pid) / "fd"):
            with suppress(OSError):  # it was closed meanwhile
                files[os.readlink(PROC / str(pid) / "fd" / descriptor)] = int(descriptor)
    return files


def open_databases(pid: int, files: dict[str, int]) -> set[FileId]:
    """Return the SQLite databases that a process has open: those whose write-ahead log it has open as well."""
    file_ids = set[FileId]()
    for name, descriptor in files.items():
        if f"{name}-wal" in files:
            with suppress(OSError):  # it was closed meanwhile
                status = os.stat(PROC / str(pid) / "fd" / str(descriptor))
                file_ids.add((status.st_dev, status.st_ino))
    return file_ids


def read_process(pid: int) -> SharingProcess | None:
    """Read a process's name and start; None when it has ended, or is a zombie."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        name, _, stat_fields = text.partition("(")[2].rpartition(")")
        uptime = float((PROC / "uptime").read_text(encoding="ascii").split()[0])
    except OSError:
        return None
    fields = stat_fields.split()
    if fields[0] == "Z":
        return None
    age = uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return SharingProcess(pid, name, time.time() - age)
