"""One OpenCode for all bridges of a user: started once, kept while one of them is connected, and never left behind."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.process import server_run, shared_process
from opencode_mcp.opencode.process.cache import shared_folder
from opencode_mcp.opencode.process.executable import Program
from opencode_mcp.opencode.process.launch import LAUNCHES
from opencode_mcp.opencode.process.managed import ManagedServer, managed_server
from opencode_mcp.opencode.process.private_file import write_private_file
from opencode_mcp.opencode.process.registration import (
    VOLATILE_VARIABLES,
    Registration,
    describe_for_registration,
    read_registration,
)
from opencode_mcp.opencode.process.supervisor import process_start
from tests.eventually import eventually

from .shared_bridges import LINGER, bridge, bridges, find_supervisor, left, starts, wait_until_nothing_is_left

pytestmark = [pytest.mark.anyio, pytest.mark.process]


async def other_ports(servers: list[ManagedServer]) -> set[int | None]:
    """Return the ports that the bridges use."""
    return {(await server.endpoint()).url.port for server in servers}


async def test_bridges_that_start_at_once_share_one_server(small: Mapping[str, str]) -> None:
    """And each knows the others; it ends a moment after the last."""
    async with bridges(small, 5) as servers:
        assert len(starts(small)) == 1
        assert len(await other_ports(servers)) == 1
        servers[0].publish(client="an editor")
        await eventually(
            lambda: [other.client for other in servers[3].others], until=lambda names: "an editor" in names
        )
        assert len(servers[1].others) == 4
        assert len({(await server.endpoint()).password for server in servers}) == 1
    await wait_until_nothing_is_left(small)


async def test_a_bridge_that_comes_within_the_linger_time_finds_the_server(small: Mapping[str, str]) -> None:
    """As frameworks do that open a session for each call."""
    for _ in range(3):
        async with bridge(small, linger=60) as server:
            await server.endpoint()
    async with bridge(small, linger=0) as server:
        await server.endpoint()
    assert len(starts(small)) == 1
    await wait_until_nothing_is_left(small)


@pytest.mark.parametrize("killed", ["server", "supervisor", "both"])
async def test_a_kill_is_noticed_by_all_and_the_next_call_starts_it_once(small: Mapping[str, str], killed: str) -> None:
    """`kill -9`; what the killed supervisor leaves behind is ended."""
    async with bridges(small, 3) as servers:
        pids = {"supervisor": find_supervisor(small), "server": starts(small)[0]}
        for name, pid in pids.items():
            if killed in (name, "both"):
                os.kill(pid, signal.SIGKILL)
        await eventually(lambda: [server.current_endpoint() for server in servers], until=lambda found: not any(found))
        async with anyio.create_task_group() as tasks:
            for server in servers:
                tasks.start_soon(server.endpoint)
        assert len(starts(small)) == 2
        assert len(await other_ports(servers)) == 1
        assert starts(small)[0] not in left(small)
    await wait_until_nothing_is_left(small)


async def test_another_environment_has_a_server_of_its_own(small: Mapping[str, str]) -> None:
    """But for variables that differ between windows."""
    same = {**small, **dict.fromkeys(VOLATILE_VARIABLES, "other"), "VSCODE_PID": "7"}
    async with bridge(small) as one, bridge(same) as two, bridge({**small, "API_KEY": "another"}) as three:
        ports = [(await server.endpoint()).url.port for server in (one, two, three)]
    assert ports[0] == ports[1] != ports[2]
    assert len(starts(small)) == 2
    await wait_until_nothing_is_left(small)


async def test_another_version_has_a_server_of_its_own(small: Mapping[str, str], tmp_path: Path) -> None:
    """An upgrade leaves the old one to the bridges that use it."""
    async with bridge(small) as old:
        first = await old.endpoint()
        (tmp_path / ".cache" / "opencode-mcp" / "versions.json").unlink()
        async with bridge({**small, "VERSION": "1.18.34"}) as new:
            assert (await new.endpoint()).version == "1.18.34"
            assert await old.endpoint() == first
            assert len(starts(small)) == 2
        await eventually(lambda: starts(small)[1] not in left(small))
        assert await old.endpoint() == first
    await wait_until_nothing_is_left(small)


async def test_a_start_that_hangs_fails_for_all_and_is_ended(
    small: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server never listens."""
    monkeypatch.setattr(server_run, "LAUNCHES", {1: replace(LAUNCHES[1], start_seconds=0.5)})
    async with bridge(small, "--silent") as one, bridge(small, "--silent") as two:
        failures: list[str] = []

        async def start(server: ManagedServer) -> None:
            with pytest.raises(ServerStartError) as caught:
                await server.endpoint()
            failures.append(str(caught.value))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(start, one)
            tasks.start_soon(start, two)
        assert all("did not start within 0.5 s" in failure for failure in failures), failures
        await eventually(lambda: left(small), until=lambda found: not found)


async def test_a_command_that_exits_at_once_is_reported_with_its_output(small: Mapping[str, str]) -> None:
    """By every bridge; twenty calls of each start it twice, or once if another bridge has."""
    script = f"echo $0 >> {small['STARTS']}; echo out of luck; exit 3"  # $0: `serve`, or `--version`
    failures: list[str] = []

    async def call(server: ManagedServer) -> None:
        for _ in range(20):
            with pytest.raises(ServerStartError) as caught:
                await server.endpoint()
            failures.append(str(caught.value))

    async with AsyncExitStack() as stack:
        command = ("sh", "-c", script)
        opened = [managed_server(command, small["HOME"], small, linger=LINGER) for _ in range(3)]
        servers = [await stack.enter_async_context(server) for server in opened]
        async with anyio.create_task_group() as tasks:
            for server in servers:
                tasks.start_soon(call, server)
    assert len(failures) == 60
    assert all("exited with status 3; its output:\nout of luck" in failure for failure in failures)
    assert sum("not started again for" in failure for failure in failures) == 54
    assert 2 <= (await anyio.Path(small["STARTS"]).read_text()).split().count("serve") <= 6
    await wait_until_nothing_is_left(small)


def write_registration(folder: Path, **changes: object) -> Path:
    """Write a registration of this process, with changes."""
    path = folder / "key.json"
    record: dict[str, object] = {
        "pid": os.getpid(),
        "started": process_start(os.getpid()),
        "address": "/nowhere",
        "key": {"token": "t", "password": "p"},
        "opencode_pid": 1,
        "since": time.time(),
        "about": {"version": "1.18.33", "variables": {}},
        **changes,
    }
    path.write_text(json.dumps(record))
    path.chmod(0o600)
    return path


def test_a_registration_is_trusted_only_if_its_process_runs(tmp_path: Path) -> None:
    """A process id can be that of another process by now, and a file another user's."""
    assert read_registration(write_registration(tmp_path)) is not None
    assert read_registration(write_registration(tmp_path, started="1")) is None
    assert read_registration(write_registration(tmp_path, pid=2**22 - 1)) is None
    assert read_registration(write_registration(tmp_path, address=None)) is None
    path = write_registration(tmp_path)
    path.chmod(0o644)
    assert read_registration(path) is None
    path.write_text("{")
    assert read_registration(path) is None
    assert read_registration(tmp_path / "none.json") is None


def test_a_registration_names_the_variables_that_keep_a_bridge_apart(tmp_path: Path) -> None:
    """And holds no value: of each only a digest, salted with the password."""
    environ = {"KEY": "value-of-key", "GONE": "1", "SAME": "2"}
    environ |= {"TERM": "xterm", "STARSHIP_SESSION_KEY": "4", "OPENCODE_MCP_LINGER": "3"}  # of one window
    program = Program(("opencode",), version="1.18.33")
    about = json.loads(describe_for_registration(program, environ, "p")["OPENCODE_MCP_REGISTERED"])
    registration = read_registration(write_registration(tmp_path, about=about))
    assert registration is not None
    assert registration.version == "1.18.33"
    assert registration.differing_variables(environ) == []
    assert registration.differing_variables({"KEY": "other", "SAME": "2", "NEW": "3"}) == ["GONE", "KEY", "NEW"]
    assert "value-of-key" not in registration.path.read_text()
    salted = json.loads(describe_for_registration(program, environ, "q")["OPENCODE_MCP_REGISTERED"])
    assert salted["variables"].keys() == about["variables"].keys() == {"KEY", "GONE", "SAME"}
    assert not set(salted["variables"].values()) & set(about["variables"].values())


async def test_a_stale_registration_is_replaced(small: Mapping[str, str]) -> None:
    """Whatever it holds, a server is started."""
    async with bridge(small, linger=0) as server:
        await server.endpoint()
        [path] = shared_folder(small).glob("*.json")
    await wait_until_nothing_is_left(small)
    record = {"pid": 1, "started": "x", "temporary": small["HOME"], "opencode_pid": 1, "opencode_started": "x"}
    wrong: list[dict[str, Any]] = [{"temporary": 5}, {"opencode_pid": "x"}, {"pid": []}]
    for content in ("", "[" * 100_000, *(json.dumps({**record, **changes}) for changes in wrong)):
        write_private_file(path, content)
        async with bridge(small, linger=0) as server:
            await server.endpoint()
        await wait_until_nothing_is_left(small)


async def test_a_folder_that_cannot_be_written_is_named(small: Mapping[str, str]) -> None:
    """With what to do."""
    folder = shared_folder(small)
    folder.parent.mkdir(parents=True)
    folder.write_text("a file")
    async with bridge(small) as server:
        with pytest.raises(ServerStartError, match=r"cannot use .*shared.*--no-share"):
            await server.endpoint()


async def test_a_supervisor_that_does_not_answer_is_named(
    small: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not replaced: work may run in its OpenCode."""
    connect_seconds = shared_process.CONNECT_SECONDS
    async with bridge(small) as server, bridge(small) as late:
        await server.endpoint()
        supervisor_pid = find_supervisor(small)
        os.kill(supervisor_pid, signal.SIGSTOP)
        monkeypatch.setattr(shared_process, "CONNECT_SECONDS", 1.0)
        try:
            with pytest.raises(ServerStartError, match=rf"kill {supervisor_pid}"):
                await late.endpoint()
        finally:
            os.kill(supervisor_pid, signal.SIGCONT)
            monkeypatch.setattr(shared_process, "CONNECT_SECONDS", connect_seconds)
        await late.endpoint()
    assert len(starts(small)) == 1
    await wait_until_nothing_is_left(small)


async def test_the_server_stays_while_a_promised_session_runs(small: Mapping[str, str], tmp_path: Path) -> None:
    """Its client was promised the result; it may come back for it in a new session."""
    status = tmp_path / "status.json"
    status.write_text(json.dumps({"ses_1": {"type": "busy"}}))
    environ = {**small, "STATUS": str(status)}
    async with bridge(environ, linger=0) as server:
        await server.endpoint()
        server.publish(promised={"ses_1": "/project"})
    await anyio.sleep(1.5)
    assert len(left(environ)) == 2
    async with bridge(environ, linger=0) as server:
        await server.endpoint()
    assert len(starts(environ)) == 1
    status.write_text("{}")
    await wait_until_nothing_is_left(environ)


def count_wakeups(pid: int) -> int:
    """Return how often the threads of a process have begun to wait."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return sum(int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0]) for text in texts)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_an_idle_supervisor_sleeps(small: Mapping[str, str]) -> None:
    """Only a process that says something wakes it, or a time that has come."""
    async with bridge(small) as server:
        await server.endpoint()
        [supervisor_pid] = [pid for pid, line in left(small).items() if "shared_supervisor.py" in line]

        async def slept() -> bool:
            before = count_wakeups(supervisor_pid)
            await anyio.sleep(1.5)
            return count_wakeups(supervisor_pid) == before

        await eventually(slept)  # once the start has nothing left to do
    await wait_until_nothing_is_left(small)


async def test_a_client_without_the_token_is_refused(small: Mapping[str, str]) -> None:
    """The socket is the user's, and the token is in a file that only the user can read."""
    async with bridge(small) as server:
        await server.endpoint()
        [path] = shared_folder(small).glob("*.json")
        registration = read_registration(path)
        assert registration is not None
        assert isinstance(registration.address, str)
        for line in (b'{"token": "guess"}\n', b"garbage\n", b'{"stop": "", "force": true}\n', b"x" * 2_000_000):
            async with await anyio.connect_unix(registration.address) as stream:
                with suppress(anyio.BrokenResourceError):
                    await stream.send(line)
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await stream.receive()
        assert isinstance(await server.endpoint(), Endpoint)
        assert len(server.others) == 0
    await wait_until_nothing_is_left(small)


def test_the_limiter_slots_are_divided_among_the_bridges_that_wait() -> None:
    """The others keep a few."""
    registration = Registration(1, "", "", "", "", 1, 0.0, Path())
    process = shared_process.SharedProcess(registration)
    process.close()
    for own, others, share in (
        (False, [], 32),
        (False, [False, False, False], 8),
        (True, [False, False, False], 26),
        (True, [True, False], 15),
        (False, [True], 2),
        (True, [True] * 40, 2),
    ):
        process.publish(waits=own)
        entries = [{"you": True}, *({"waits": waits} for waits in others)]
        process.handle({"bridges": entries, "promised": [], "address": None})
        assert process.share_of(32) == share
