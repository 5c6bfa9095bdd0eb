"""Faults of a shared OpenCode: full disks, planted files, killed supervisors, and malformed messages."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from opencode_mcp.connect import make_empty_folder
from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.opencode.process import managed, registration, shared_process
from opencode_mcp.opencode.process.cache import shared_folder
from opencode_mcp.opencode.process.private_file import write_private_file
from opencode_mcp.opencode.process.registration import make_shared_folder, read_registration
from opencode_mcp.opencode.process.supervisor import process_start
from opencode_mcp.settings import Settings
from tests.eventually import eventually

from .shared_bridges import (
    bridge,
    bridges,
    find_registration,
    find_supervisor,
    left,
    left_files,
    raw_connection,
    starts,
    wait_until_nothing_is_left,
)

pytestmark = [pytest.mark.anyio, pytest.mark.process]


async def test_a_bridge_joins_after_much_output(small: Mapping[str, str]) -> None:
    """The line with the address is not among the last 64 KB any more."""
    async with bridge(small, "--chatty") as one, bridge(small, "--chatty") as two:
        first = await one.endpoint()
        await anyio.sleep(0.5)  # the output follows the line
        assert await two.endpoint() == first
    await wait_until_nothing_is_left(small)


async def test_a_full_disk_is_named_and_nothing_is_left(small: Mapping[str, str]) -> None:
    """The registration cannot be written: OpenCode does not run without one."""
    folder = make_shared_folder(small)
    assert b"key.json (--no-share does not need it): File too large" in await run_on_full_disk(small, folder)
    await wait_until_nothing_is_left(small)


async def run_on_full_disk(environ: Mapping[str, str], folder: Path) -> bytes:
    """Run a supervisor that cannot write its registration; return what it prints."""
    limited = ("sh", "-c", 'ulimit -f 1; exec "$@"', "sh")
    command = (*limited, *shared_process.SUPERVISOR, str(folder), "key", "sleep", "600")
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
    monkeypatch.setattr(shared_process, "SUPERVISOR", (sys.executable, "/no/such/script.py"))
    async with bridge(small) as server:
        with anyio.fail_after(30), pytest.raises(ServerStartError, match=r"supervisor .* exited with 2"):
            await server.endpoint()


async def test_a_cache_folder_that_cannot_be_made_is_named(small: Mapping[str, str]) -> None:
    """With what to do."""
    async with bridge({**small, "XDG_CACHE_HOME": "/dev/null"}) as server:
        with pytest.raises(ServerStartError, match=r"cannot use .*/dev/null/.*--no-share"):
            await server.endpoint()


def test_a_bridge_runs_without_a_cache_folder() -> None:
    """Its first call names what it lacks."""
    assert make_empty_folder(Settings.load({}, {"XDG_CACHE_HOME": "/dev/null"})) == "/dev/null/opencode-mcp/no-project"


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
def test_a_planted_registration_is_not_trusted(tmp_path: Path, kind: str) -> None:
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


async def test_a_registration_that_others_can_read_is_refused(
    small: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its supervisor runs, so that it is not replaced."""
    async with bridge(small) as server, bridge(small) as late:
        await server.endpoint()
        path = find_registration(small).path
        path.chmod(0o644)
        with monkeypatch.context() as patch:
            patch.setattr(shared_process, "CONNECT_SECONDS", 1.0)
            with pytest.raises(ServerStartError, match=r"\.json is not this user's alone\); use --no-share"):
                await late.endpoint()
        path.chmod(0o600)
        assert await late.endpoint() == await server.endpoint()
    await wait_until_nothing_is_left(small)


async def test_an_old_supervisor_removes_nothing_of_its_successor(small: Mapping[str, str]) -> None:
    """The cache folder was cleared meanwhile, with the registration and the lock."""
    async with bridge(small) as stays:
        async with bridge(small, linger=0) as server:
            first = await server.endpoint()
            old = find_supervisor(small)
            shutil.rmtree(shared_folder(small))
            assert (await stays.endpoint()).url != first.url
        await eventually(lambda: old not in left(small))
        async with bridge(small) as late:
            assert await late.endpoint() == await stays.endpoint()
    await wait_until_nothing_is_left(small)


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
    command = (*shared_process.SUPERVISOR, str(folder), "other", "sleep", "600")
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
        await anyio.run_process((*shared_process.SUPERVISOR, str(folder), "key"), env=small)
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
        f"import sys; from pathlib import Path; sys.path.insert(0, {str(Path(shared_process.__file__).parent)!r})\n"
        "import shared_supervisor\n"
        "shared_supervisor.PROMISED_SECONDS = 2.0\n"
        "shared_supervisor.main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])\n"
    )
    monkeypatch.setattr(shared_process, "SUPERVISOR", (sys.executable, str(script)))
    environ = {**small, "STATUS": str(tmp_path / "status")}
    async with bridge(environ, linger=0) as server:
        await server.endpoint()
        server.publish(promised={"ses_1": "/project"})
        left_at = time.monotonic()
    await wait_until_nothing_is_left(environ)
    assert time.monotonic() - left_at >= 2


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
