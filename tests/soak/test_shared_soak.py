"""Bridges that come and go, in every way: the shared OpenCode and its supervisor stay as they were.

OPENCODE_MCP_TEST_BRIDGES says how many real ones; docs/reliability.md has a long run.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from opencode_mcp.opencode.process.cache import shared_folder
from opencode_mcp.opencode.process.managed import managed_server
from opencode_mcp.opencode.process.registration import Registration, read_registration
from opencode_mcp.opencode.process.socket_stream import SocketStream
from tests.bridge import Bridge, find_opencode_pids, find_processes, run_bridge
from tests.conftest import RecordFigure
from tests.eventually import eventually
from tests.facts import raw_facts
from tests.opencode.process import small_server

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

CONNECTION_COUNT = 1000
BRIDGE_COUNT = int(os.environ.get("OPENCODE_MCP_TEST_BRIDGES", "4"))
AT_ONCE = 4
GROWN_KILOBYTES = 1000
"""Of a supervisor; a connection that were kept would take some 4 KB."""
END_MODES = ("end of input", "SIGTERM", "SIGKILL", "SIGKILL in a call")


def read_usage(pid: int) -> dict[str, int]:
    """Return the numbers of a process's file descriptors and threads, and its kilobytes of memory."""
    folder = Path(f"/proc/{pid}")
    pages = int((folder / "statm").read_text().split()[1])
    return {
        "descriptors": len([*(folder / "fd").iterdir()]),
        "threads": len([*(folder / "task").iterdir()]),
        "kilobytes": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    }


async def wait_until_unchanged(pid: int, before: Mapping[str, int]) -> dict[str, int]:
    """Wait until a process has as many descriptors and threads as before; return its usage."""
    counts = ("descriptors", "threads")
    return await eventually(
        partial(read_usage, pid), until=lambda usage: [usage[name] for name in counts] == [before[n] for n in counts]
    )


async def test_a_thousand_connections_leave_the_supervisor_as_it_was(
    tmp_path: Path, record_figure: RecordFigure
) -> None:
    """They end after what they have told of themselves, before it, in the middle of a line, and before the token."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "OPENCODE"))}
    environ = {**inherited, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "STARTS": str(tmp_path / "starts")}
    command = (sys.executable, small_server.__file__)
    async with managed_server(command, str(tmp_path), environ, linger=0) as server:
        await server.endpoint()
        [path] = shared_folder(environ).glob("*.json")
        registration = read_registration(path)
        assert registration is not None
        alone = read_usage(registration.pid)
        await come_and_go(registration, CONNECTION_COUNT // 10)
        before = await wait_until_unchanged(registration.pid, alone)
        await come_and_go(registration, CONNECTION_COUNT)
        after = await wait_until_unchanged(registration.pid, before)
        await eventually(lambda: server.others == ())
        assert after["kilobytes"] < before["kilobytes"] + GROWN_KILOBYTES
    record_figure(f"{CONNECTION_COUNT} connections: the supervisor's usage {before} -> {after}")


async def come_and_go(registration: Registration, count: int) -> None:
    """Connect that often to a supervisor, and end in each way in turn."""
    token = json.dumps({"token": registration.token})
    facts = json.dumps({"set": {"client": "one of many", "active": ["ses_1"]}})
    for number in range(count):
        stream = SocketStream.connect(registration.address)
        assert stream is not None
        sent = (f"{token}\n{facts}\n", f"{token}\n", f"{token}\n{facts[:9]}", token[:9])[number % 4]
        await stream.send(sent.encode())
        if "\n" in sent:
            await stream.receive()
        await stream.aclose()


async def test_bridges_that_come_and_go_leave_opencode_as_it_was(
    environ: Mapping[str, str], project: Path, record_figure: RecordFigure
) -> None:
    """While one bridge stays, which still gets its answers."""
    mark = uuid4().hex
    environ = {**environ, "OPENCODE_MCP_NO_SHARE": "0", "OPENCODE_MCP_LINGER": "0", "SOAK": mark}
    async with run_bridge(environ, project) as first:
        await first.initialize()
        await first.call("session_list")
        [opencode_pid] = find_opencode_pids(f"SOAK={mark}")
        processes = find_processes(f"SOAK={mark}").items()
        [supervisor_pid] = [pid for pid, line in processes if "shared_supervisor.py" in line]
        alone = read_usage(supervisor_pid)
        await run_bridges(environ, project, AT_ONCE)
        before = {
            supervisor_pid: await wait_until_unchanged(supervisor_pid, alone),
            opencode_pid: read_usage(opencode_pid),
        }
        await run_bridges(environ, project, BRIDGE_COUNT)
        supervisor = await wait_until_unchanged(supervisor_pid, before[supervisor_pid])
        opencode = read_usage(opencode_pid)
        assert supervisor["kilobytes"] < before[supervisor_pid]["kilobytes"] + GROWN_KILOBYTES
        assert not (await first.call("session_list")).get("isError")
        assert first.process.stdin is not None
        await first.process.stdin.aclose()
        await eventually(lambda: find_processes(f"SOAK={mark}"), until=lambda left: not left)
    record_figure(
        f"{BRIDGE_COUNT} bridges ({', '.join(END_MODES)}): the supervisor's usage "
        f"{before[supervisor_pid]} -> {supervisor}, OpenCode's {before[opencode_pid]} -> {opencode}"
    )


async def run_bridges(environ: Mapping[str, str], project: Path, count: int) -> None:
    """Run that many bridges, some at once, that end in each way in turn."""
    modes = iter([END_MODES[number % len(END_MODES)] for number in range(count)])

    async def run_some() -> None:
        for mode in modes:
            await run_and_end(environ, project, mode)

    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(run_some)


async def run_and_end(environ: Mapping[str, str], project: Path, mode: str) -> None:
    """Run a bridge up to an answer, or into a prompt, and end it."""
    async with run_bridge(environ, project) as bridge:
        await bridge.initialize()
        session = raw_facts(await bridge.call("session_create"))
        if mode == "SIGKILL in a call":
            parts = [{"type": "text", "text": "script:slow 4 0.2"}]
            arguments = {"sessionID": session["id"], "parts": parts}
            await bridge.start_request("tools/call", {"name": "session_prompt", "arguments": arguments})
        await end(bridge, mode)


async def end(bridge: Bridge, mode: str) -> None:
    """End a bridge, and wait for its end."""
    assert bridge.process.stdin is not None
    if mode == "end of input":
        await bridge.process.stdin.aclose()
    else:
        with suppress(ProcessLookupError):
            (bridge.process.terminate if mode == "SIGTERM" else bridge.process.kill)()
    await bridge.process.wait()
