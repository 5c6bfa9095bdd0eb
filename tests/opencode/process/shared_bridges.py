"""Bridges that share a small server in place of OpenCode, and what is left of it."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio

from opencode_mcp.opencode.process.cache import shared_folder
from opencode_mcp.opencode.process.managed import ManagedServer, managed_server
from opencode_mcp.opencode.process.registration import Registration, read_registration
from tests.bridge import find_processes
from tests.eventually import eventually

from . import small_server

LINGER = 0.3


def bridge(
    environ: Mapping[str, str], *flags: str, linger: float = LINGER
) -> AbstractAsyncContextManager[ManagedServer]:
    """Provide a bridge's server that is shared with the other bridges of this environment."""
    command = (sys.executable, small_server.__file__, *flags)
    return managed_server(command, environ["HOME"], environ, linger=linger)


@asynccontextmanager
async def bridges(environ: Mapping[str, str], count: int) -> AsyncGenerator[list[ManagedServer]]:
    """Provide several bridges that have all connected at once."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(bridge(environ)) for _ in range(count)]
        async with anyio.create_task_group() as tasks:
            for server in servers:
                tasks.start_soon(server.endpoint)
        yield servers


def starts(environ: Mapping[str, str]) -> list[int]:
    """Return the process ids of all servers that were started."""
    path = Path(environ["STARTS"])
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def left(environ: Mapping[str, str]) -> dict[int, str]:
    """Return the processes of this environment that run."""
    return find_processes(f"MARK={environ['MARK']}")


def left_files(environ: Mapping[str, str]) -> list[Path]:
    """Return the registrations, locks and temporary files of this environment."""
    folders = [shared_folder(environ), *(Path(environ[name]) for name in ("TMPDIR",) if name in environ)]
    return [path for folder in folders for path in folder.iterdir()]


async def wait_until_nothing_is_left(environ: Mapping[str, str]) -> None:
    """Wait until no process runs, and see that no file is left."""
    await eventually(lambda: left(environ), until=lambda found: not found)
    assert left_files(environ) == []


def find_supervisor(environ: Mapping[str, str]) -> int:
    """Return the process id of the supervisor of this environment."""
    [pid] = [pid for pid, line in left(environ).items() if "shared_supervisor.py" in line]
    return pid


def find_registration(environ: Mapping[str, str]) -> Registration:
    """Return the registration of the one server that runs."""
    [path] = shared_folder(environ).glob("*.json")
    found = read_registration(path)
    assert found is not None
    return found


@contextmanager
def raw_connection(environ: Mapping[str, str], *messages: Any) -> Generator[socket.socket]:
    """Connect as a bridge does, and send messages after the first answer: JSON, or bytes as they are."""
    found = find_registration(environ)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(found.address)
        connection.sendall(json.dumps({"token": found.token}).encode() + b"\n")
        assert b"output" in connection.recv(65536)
        for message in messages:
            data = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
            with suppress(BrokenPipeError, ConnectionResetError):  # it is refused before it is read
                connection.sendall(data)
        yield connection
