"""Malformed messages between bridges and a supervisor, and connections that end early."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from opencode_mcp.opencode.process import shared_process
from opencode_mcp.opencode.process.registration import Registration
from opencode_mcp.opencode.process.socket_stream import SocketStream
from tests.eventually import eventually

from .shared_bridges import (
    bridge,
    bridges,
    find_registration,
    find_supervisor,
    raw_connection,
    wait_until_nothing_is_left,
)

pytestmark = [pytest.mark.anyio, pytest.mark.process]


def receive_all(connection: socket.socket) -> bytes:
    """Receive until the supervisor closes the connection."""
    received = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


WRONG_MESSAGES: Mapping[str, tuple[Any, ...]] = {
    "a list": ([1],),
    "a text": ("set",),
    "deep": (b"[" * 100_000 + b"\n",),
    "promised list": ({"set": {"promised": [1]}},),
    "promised number": ({"set": {"promised": {"ses_1": 1}}},),
    "active numbers": ({"set": {"active": [1]}},),
    "pid text": ({"set": {"pid": "x"}},),
    "endless linger": ({"set": {"linger": float("inf")}},),
    "large linger": (b'{"set": {"linger": 1' + b"0" * 400 + b"}}\n",),
    "many facts": ({"set": {"client": "x" * 300_000}},),
    "many promises": ({"set": {"promised": {f"ses_{number}": "/" * 100 for number in range(3_000)}}},),
    "a long line": (b"x" * 3_000_000,),
}


async def test_a_broken_bridge_harms_no_other(small: Mapping[str, str]) -> None:
    """Each is disconnected; a bridge that reads nothing as well."""
    async with bridges(small, 2) as servers:
        for name, messages in WRONG_MESSAGES.items():
            with raw_connection(small, *messages) as connection:
                assert b'"exit"' not in receive_all(connection), name
        with raw_connection(small) as silent:
            for number in range(60):
                servers[0].publish(client=f"{number}" + "x" * 100_000)
                await eventually(lambda number=number: servers[1].others[0].client.startswith(f"{number}x"))
            await eventually(lambda: len(servers[1].others), until=lambda count: count == 1)
            assert len(receive_all(silent)) < 4_000_000
        assert not any(other.is_gone for other in servers[1].others)
        assert {server.current_endpoint() for server in servers} == {await servers[0].endpoint()}
        assert resident_kilobytes(find_supervisor(small)) < 60_000
    await wait_until_nothing_is_left(small)


def resident_kilobytes(pid: int) -> int:
    """Return the memory of a process."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])


async def test_a_thousand_connections_keep_no_bridge_away(small: Mapping[str, str]) -> None:
    """Of those that send no token, the oldest are closed."""
    async with bridge(small) as one, bridge(small) as two:
        await one.endpoint()
        address = find_registration(small).address
        silent = [socket.socket(socket.AF_UNIX) for _ in range(300)]
        for connection in silent:
            await anyio.to_thread.run_sync(connection.connect, address)
        with anyio.fail_after(60):
            await two.endpoint()
        open_files = len(os.listdir(f"/proc/{find_supervisor(small)}/fd"))
        for connection in silent:
            connection.close()
        assert open_files < 256
        assert len(one.others) == 1
    await wait_until_nothing_is_left(small)


async def test_a_supervisor_that_sends_garbage_is_lost() -> None:
    """The bridge goes on, and starts another."""
    for line in (
        b"garbage\n",
        b"[1]\n",
        b'{"bridges": 5}\n',
        b'{"exit": "x"}\n',
        b"[" * 100_000 + b"\n",
        b"x" * 5_000_000,
    ):
        ours, theirs = socket.socketpair()
        process = shared_process.SharedProcess(Registration(1, "", "", "", "", 1, 4e9, Path()))
        ours.setblocking(False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, send_and_close, theirs, line)
            stream = SocketStream(ours)
            await process.receive(shared_process.BufferedByteReceiveStream(stream))
            await stream.aclose()
        process.close()
        assert process.was_lost, line[:20]
        assert process.age_seconds == 0  # registered in the future: the clock was set back


async def test_a_connection_is_closed_though_the_supervisor_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops counting as a bridge."""
    monkeypatch.setattr(shared_process, "SEND_SECONDS", 0.05)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    process, stream = shared_process.SharedProcess(Registration(1, "", "", "", "", 1, 0.0, Path())), SocketStream(ours)
    with theirs:
        async with shared_process.follow(process, stream, shared_process.BufferedByteReceiveStream(stream)):
            process.publish(client="x" * 10_000_000)
        assert ours.fileno() == -1


def send_and_close(connection: socket.socket, data: bytes) -> None:
    """Send data as far as it is read, and close the connection."""
    with connection, suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(data)
