"""Faults of a shared OpenCode: full disks, planted files, killed supervisors, and bridges that send what they like."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.opencode.process import managed, registration, shared
from opencode_mcp.opencode.process.cache import shared_folder
from opencode_mcp.opencode.process.private_file import write_private_file
from opencode_mcp.opencode.process.registration import Registration, make_shared_folder, read_registration
from opencode_mcp.opencode.process.socket_stream import SocketStream
from opencode_mcp.opencode.process.supervisor import process_start
from tests.eventually import eventually

from .shared_bridges import (
    bridge,
    bridges,
    find_supervisor,
    left,
    left_files,
    starts,
    wait_until_nothing_is_left,
)

pytestmark = [pytest.mark.anyio, pytest.mark.process]


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


def receive_all(connection: socket.socket) -> bytes:
    """Receive until the supervisor closes the connection."""
    received = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


async def test_a_bridge_joins_after_much_output(small: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The line with the address is not among the last 64 KB any more."""
    monkeypatch.setattr(managed, "START_SECONDS", 10.0)
    async with bridge(small, "--chatty") as one, bridge(small, "--chatty") as two:
        first = await one.endpoint()
        await anyio.sleep(0.5)  # the output follows the line
        assert await two.endpoint() == first
    await wait_until_nothing_is_left(small)


async def test_a_full_disk_is_named_and_nothing_is_left(small: Mapping[str, str]) -> None:
    """The registration cannot be written: OpenCode does not run without one."""
    folder = make_shared_folder(small)
    assert b"key.json (free it, or use --no-share): File too large" in await run_on_full_disk(small, folder)
    await wait_until_nothing_is_left(small)


async def run_on_full_disk(environ: Mapping[str, str], folder: Path) -> bytes:
    """Run a supervisor that cannot write its registration; return what it prints."""
    command = ("sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *shared.SUPERVISOR, str(folder), "key", "sleep", "600")
    large = {"OPENCODE_MCP_REGISTERED": json.dumps({"version": "x" * 5_000})}
    return (await anyio.run_process(command, env={**environ, **large}, check=False)).stdout


async def test_a_command_that_cannot_be_run_leaves_nothing(small: Mapping[str, str]) -> None:
    """Neither its folder for temporary files nor a lock."""
    async with managed.managed_server(("/no/such/program",), small["HOME"], small, linger=1) as server:
        with pytest.raises(ServerStartError, match="cannot run /no/such/program: No such file or directory"):
            await server.endpoint()
    await wait_until_nothing_is_left(small)


async def test_a_removed_installation_is_named_at_once(
    small: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade that has replaced the files of a running bridge."""
    monkeypatch.setattr(shared, "SUPERVISOR", (sys.executable, "/no/such/script.py"))
    async with bridge(small) as server:
        with anyio.fail_after(10), pytest.raises(ServerStartError, match=r"supervisor .* exited with 2"):
            await server.endpoint()


async def test_a_cache_folder_that_cannot_be_made_is_named(small: Mapping[str, str]) -> None:
    """With what to do."""
    async with bridge({**small, "XDG_CACHE_HOME": "/dev/null"}) as server:
        with pytest.raises(ServerStartError, match=r"cannot use .*/dev/null/.*--no-share"):
            await server.endpoint()


async def test_a_long_path_for_temporary_files_needs_no_unix_socket(small: Mapping[str, str]) -> None:
    """A Unix socket's path has 107 bytes at most; without one the supervisor listens on loopback, as on Windows."""
    temporary = Path(small["TMPDIR"], "x" * 120)
    temporary.mkdir()  # noqa: ASYNC240
    environ = {**small, "TMPDIR": str(temporary)}
    async with bridges(environ, 2) as servers:
        address = find_registration(environ).address
        assert address == ("127.0.0.1", address[1])
        assert len(servers[0].others) == 1
    await wait_until_nothing_is_left(environ)


def plant(path: Path, target: Path, kind: str) -> None:
    """Plant a file where a registration is expected."""
    match kind:
        case "symlink":
            path.symlink_to(target)
        case "pipe":
            os.mkfifo(path, 0o600)
        case "folder":
            path.mkdir(0o700)
        case _:
            path.write_bytes(target.read_bytes())
            path.chmod(0o640)


@pytest.mark.parametrize("kind", ["symlink", "pipe", "folder", "readable by the group"])
def test_a_planted_registration_is_not_believed(tmp_path: Path, kind: str) -> None:
    """And does not block."""
    target, path = tmp_path / "target.json", tmp_path / "key.json"
    record: dict[str, Any] = {
        "pid": os.getpid(),
        "started": process_start(os.getpid()),
        "address": ["127.0.0.1", 1],
        "key": {"token": "t", "password": "p"},
        "opencode_pid": 1,
        "since": 0,
        "about": {"version": None, "variables": {}},
    }
    write_private_file(target, json.dumps(record))
    assert read_registration(target) is not None
    plant(path, target, kind)
    assert read_registration(path) is None


def test_a_folder_that_is_a_link_is_refused(small: Mapping[str, str], tmp_path: Path) -> None:
    """What it leads to is not made private, nor written to."""
    target = tmp_path / "target"
    target.mkdir(0o755)
    folder = shared_folder(small)
    folder.parent.mkdir(parents=True)
    folder.symlink_to(target)
    with pytest.raises(ServerStartError, match="is a link or belongs to another user"):
        make_shared_folder(small)
    assert target.stat().st_mode & 0o777 == 0o755


async def test_planted_links_are_not_written_through(small: Mapping[str, str], tmp_path: Path) -> None:
    """A draft is replaced; a lock is refused."""
    target, folder = tmp_path / "target", make_shared_folder(small)
    target.write_text("mine")
    (folder / "key.draft").symlink_to(target)
    (folder / "other.lock").symlink_to(target)
    assert b"File too large" in await run_on_full_disk(small, folder)
    command = (*shared.SUPERVISOR, str(folder), "other", "sleep", "600")
    refused = await anyio.run_process(command, env=small, check=False)
    assert b"cannot write" in refused.stdout
    assert target.read_text() == "mine"
    assert await eventually(lambda: [path.name for path in folder.iterdir()], until=bool) == ["other.lock"]


async def test_a_stale_registration_ends_no_process_of_others(small: Mapping[str, str], tmp_path: Path) -> None:
    """Only processes in a folder of a supervisor's, or with the registered start, are what it has left."""
    folder, temporary = make_shared_folder(small), tmp_path / "other"
    environ = {**small, "TMPDIR": f"{temporary}/tmp"}
    with subprocess.Popen(["sleep", "600"], env=environ) as bystander:  # noqa: ASYNC220
        record = {"opencode_pid": bystander.pid, "opencode_started": "1", "temporary": str(temporary)}
        write_private_file(folder / "key.json", json.dumps(record))
        await anyio.run_process((*shared.SUPERVISOR, str(folder), "key"), env=small)
        await eventually(lambda: [*folder.iterdir()], until=lambda found: not found)
        assert bystander.poll() is None
        bystander.kill()


async def test_what_a_killed_supervisor_leaves_is_ended_by_any_start(small: Mapping[str, str]) -> None:
    """No bridge was there to notice, and the next one has another environment."""
    async with bridge(small, linger=60) as server:
        await server.endpoint()
    os.kill(find_supervisor(small), signal.SIGKILL)
    [leftover] = starts(small)
    assert leftover in left(small)
    async with bridge({**small, "API_KEY": "another"}, linger=0) as server:
        await server.endpoint()
        assert leftover not in left(small)
        assert len(left_files(small)) == 3  # a registration, a lock and a folder
    await wait_until_nothing_is_left(small)


async def test_another_protocol_has_a_server_of_its_own(
    small: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade of opencode-mcp leaves the old supervisor to the bridges that use it."""
    async with bridge(small) as old, bridge(small) as new:
        first = await old.endpoint()
        monkeypatch.setattr(registration, "PROTOCOL", registration.PROTOCOL + 1)
        assert (await new.endpoint()).url != first.url
        assert await old.endpoint() == first
    await wait_until_nothing_is_left(small)


async def test_another_machine_or_container_has_a_server_of_its_own(
    small: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its home folder can be the same one, and it cannot reach this machine's processes."""
    async with bridge(small) as here, bridge(small) as there:
        first = await here.endpoint()
        (tmp_path / "boot").write_text("another boot")
        monkeypatch.setattr(registration, "BOOT_ID", tmp_path / "boot")
        assert (await there.endpoint()).url != first.url
    await wait_until_nothing_is_left(small)


async def test_a_promise_is_kept_for_a_bounded_time(
    small: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The session runs on; an hour is a second here."""
    (tmp_path / "status").write_text(json.dumps({"ses_1": {"type": "busy"}}))
    script = tmp_path / "supervisor.py"
    script.write_text(
        f"import sys; from pathlib import Path; sys.path.insert(0, {str(Path(shared.__file__).parent)!r})\n"
        "import shared_supervisor\n"
        "shared_supervisor.PROMISED_SECONDS = 2.0\n"
        "shared_supervisor.main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])\n"
    )
    monkeypatch.setattr(shared, "SUPERVISOR", (sys.executable, str(script)))
    environ = {**small, "STATUS": str(tmp_path / "status")}
    async with bridge(environ, linger=0) as server:
        await server.endpoint()
        server.publish(promised={"ses_1": "/project"})
    await anyio.sleep(1)
    assert starts(environ)[0] in left(environ)
    await wait_until_nothing_is_left(environ)


async def test_a_promised_session_counts_as_work_of_others(small: Mapping[str, str], tmp_path: Path) -> None:
    """Its bridge has gone, and its client may come back: nothing stops the server without force."""
    status = tmp_path / "status"
    status.write_text(json.dumps({"ses_1": {"type": "busy"}}))
    environ = {**small, "STATUS": str(status)}
    async with bridge(environ) as stays:
        await stays.endpoint()
        async with bridge(environ) as leaves:
            await leaves.endpoint()
            leaves.publish(promised={"ses_1": "/project"})
        [gone] = await eventually(lambda: [other for other in stays.others if other.is_gone])
        assert (gone.active, stays.share_of(32)) == (("ses_1",), 32)
        with raw_connection(environ, {"stop": "", "force": False}):
            await eventually(lambda: [other for other in stays.others if not other.is_gone])
        async with bridge(environ) as returns:
            await returns.endpoint()
            returns.publish(promised={"ses_1": "/project"})
            await eventually(lambda: [other for other in stays.others if other.is_gone], until=lambda left: not left)
        assert len(starts(environ)) == 1
        os.kill(find_supervisor(environ), signal.SIGTERM)
        await eventually(stays.current_endpoint, until=lambda found: found is None)
        assert "it was stopped (SIGTERM)" in stays.describe()
    await wait_until_nothing_is_left(environ)


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
        with anyio.fail_after(10):
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
        process = shared.SharedProcess(Registration(1, "", "", "", "", 1, 4e9, Path()))
        ours.setblocking(False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, send_and_close, theirs, line)
            stream = SocketStream(ours)
            await process.receive(shared.BufferedByteReceiveStream(stream))
            await stream.aclose()
        process.close()
        assert process.was_lost, line[:20]
        assert process.age_seconds == 0  # registered in the future: the clock was set back


def send_and_close(connection: socket.socket, data: bytes) -> None:
    """Send data as far as it is read, and close the connection."""
    with connection, suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(data)
