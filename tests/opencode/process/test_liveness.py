"""An OpenCode whose process lives and answers nothing: recognised, reported, and replaced where nothing runs in it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import ServerStalled
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.os_limits import has_free_instances
from opencode_mcp.opencode.process import liveness as module
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.opencode.process.managed import ManagedServer, managed_server
from tests.bridge import PROGRAM, find_opencode_pids, run_bridge
from tests.facts import raw_facts

pytestmark = pytest.mark.anyio

ALLOW_ALL = {"permission": [{"permission": "*", "pattern": "*", "action": "allow"}]}
NO_INOTIFY = ("unshare", "-Ur", "sh", "-c", 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"', "sh")
"""Runs a command whose processes get no inotify instance: the limit is that of a user namespace of its own."""


@contextmanager
def short_stall_limits() -> Generator[pytest.MonkeyPatch]:
    """Recognise a stall in 5 s, until `undo`: an OpenCode that loads its project may be silent for longer."""
    with pytest.MonkeyPatch.context() as limits:
        limits.setattr(module, "STALL_SECONDS", 5.0)
        limits.setattr(module, "PROBE_AFTER_SECONDS", 0.5)
        limits.setattr(module, "PROBE_SECONDS", 1.5)
        yield limits


@asynccontextmanager
async def open_managed(
    environ: Mapping[str, str], program: Program, directory: Path, catalog: Catalog
) -> AsyncGenerator[tuple[ManagedServer, OpenCodeClient, str]]:
    """Provide a server of our own, its client, and the mark of its processes."""
    name, value = "OPENCODE_MCP_TEST_MARK", uuid4().hex
    async with (
        managed_server(program.command, str(directory), {**environ, name: value}) as server,
        OpenCodeClient(server, catalog, str(directory)) as opencode,
    ):
        yield server, opencode, f"{name}={value}"


@contextmanager
def stop_opencode(mark: str) -> Generator[int]:
    """Keep the OpenCode with this mark from doing anything."""
    [pid] = find_opencode_pids(mark)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def test_a_stalled_opencode_is_replaced_when_nothing_runs_in_it(
    environ: Mapping[str, str], program: Program, project: Path, catalog: Catalog
) -> None:
    """The read that found it so is answered by the next one, and its caller sees what happens."""
    seen: list[str] = []

    async def report(message: str) -> None:
        seen.append(message)
        if "was killed" in message:
            limits.undo()  # for the next one, which loads the project again

    async with open_managed(environ, program, project, catalog) as (server, opencode, mark):
        session = await opencode.call("session_create")
        with short_stall_limits() as limits, stop_opencode(mark) as pid, anyio.fail_after(240):
            found = await opencode.with_options(caller="caller", report_progress=report).call(
                "session_get", sessionID=session["id"]
            )
            assert found["id"] == session["id"]
            assert pid not in find_opencode_pids(mark)
        assert any("OpenCode has not responded for" in message for message in seen), seen
        assert any("was killed, as no work was known to run in it" in message for message in seen), seen
        assert "stall" not in server.describe()


async def test_a_request_that_is_sent_once_fails_with_the_reason(
    environ: Mapping[str, str], program: Program, project: Path, catalog: Catalog
) -> None:
    """Whether it took effect is unknown; the next call finds another OpenCode."""
    async with open_managed(environ, program, project, catalog) as (_, opencode, mark):
        await opencode.call("path_get")
        with short_stall_limits() as limits, stop_opencode(mark), anyio.fail_after(240):
            with pytest.raises(
                ServerStalled, match=r"has not responded for .*, not even to /global/health.*may have taken effect"
            ):
                await opencode.call("session_create")
            limits.undo()  # for the next one, which loads the project again
            assert (await opencode.call("path_get"))["directory"] == str(project)


@pytest.mark.slow
async def test_a_stalled_opencode_with_running_work_is_not_replaced(
    environ: Mapping[str, str], program: Program, project: Path, catalog: Catalog
) -> None:
    """The error names the work and the process; when OpenCode answers again, so do the calls."""
    async with open_managed(environ, program, project, catalog) as (_, opencode, mark):
        session = (await opencode.call("session_create", **ALLOW_ALL))["id"]
        hang = [{"type": "text", "text": "script:hang"}]
        await opencode.call("session_prompt_async", sessionID=session, parts=hang)
        with short_stall_limits(), stop_opencode(mark) as pid:
            for _ in range(2):
                with anyio.fail_after(60), pytest.raises(ServerStalled, match=rf"not killed.*{session}.*kill \d+"):
                    await opencode.call("session_get", sessionID=session)
            assert find_opencode_pids(mark) == [pid]
        with anyio.fail_after(60):
            while True:
                with suppress(ServerStalled):
                    if session in await opencode.call("session_status"):  # it may just begin the prompt
                        break
                await anyio.sleep(0.2)
        await opencode.call("session_abort", sessionID=session)


def test_inotify_instances_are_counted_by_creating_them() -> None:
    """Those that were taken are given back; more than a process may have open are not there."""
    before = len(os.listdir("/proc/self/fd"))
    assert not has_free_instances(1_000_000)
    assert has_free_instances(0)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.slow
async def test_without_inotify_opencode_is_started_without_its_file_watcher(
    environ: Mapping[str, str], project: Path
) -> None:
    """1.18.33 would stand still for good at the first command: its watcher waits for a thread that has ended."""
    if shutil.which("unshare") is None or (await anyio.run_process([*NO_INOTIFY, "true"], check=False)).returncode:
        pytest.skip("this machine has no user namespaces")
    async with run_bridge(environ, project, program=(*NO_INOTIFY, *PROGRAM)) as running:
        await running.initialize()
        with anyio.fail_after(400):
            shown = await running.call("run_task", prompt="script:bash", permissions="allow", timeout_seconds=300)
            assert raw_facts(shown)["state"] == "completed", shown
            assert raw_facts(await running.call("global_health"))["healthy"]


async def test_a_start_does_not_wait_for_the_list_of_models(
    environ: Mapping[str, str], program: Program, project: Path, catalog: Catalog
) -> None:
    """A network that swallows OpenCode's request for it holds up no call: it is answered while that one waits."""
    with socket.create_server(("127.0.0.1", 0)) as swallows:
        offline = {**environ, "OPENCODE_MODELS_URL": f"http://127.0.0.1:{swallows.getsockname()[1]}"}
        async with open_managed(offline, program, project, catalog) as (_, opencode, _):
            await opencode.call("path_get")
            with swallows.accept()[0] as pending:
                assert b"GET " in pending.recv(4)
                assert "scripted" in str(await opencode.call("config_providers"))
                pending.setblocking(False)
                with suppress(BlockingIOError):
                    assert pending.recv(1000), "OpenCode has given its request up meanwhile"
