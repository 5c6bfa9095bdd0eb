"""A server that ends at once, that writes without end, or that lacks a resource; and what it inherits."""

from __future__ import annotations

import errno
import json
import os
import resource
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import httpx2
import pytest
from mcp import Client, MCPError

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import APIError, ServerStartError, TransportError
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient, os_limits
from opencode_mcp.opencode.os_limits import find_shortage
from opencode_mcp.opencode.process import server_run, supervisor
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.opencode.process.managed import LINE_CHARS, managed_server
from opencode_mcp.opencode.process.server_run import OUTPUT_CHARS, RESTART_DELAY_SECONDS, SHORT_LIFE_SECONDS, Backoff
from opencode_mcp.opencode.process.supervised import open_supervised_process
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from opencode_mcp.settings.child_environ import SESSION_VARIABLES
from opencode_mcp.tools.registry import ToolRegistry
from tests.bridge import find_opencode_pids
from tests.eventually import eventually
from tests.facts import facts

pytestmark = pytest.mark.anyio

MARK = "OPENCODE_MCP_DEPTH"


class FakeClock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


def test_restart_delays_grow_while_processes_are_short_lived(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once after the first end, at most half a minute, and none after a life that was long."""
    clock = FakeClock()
    monkeypatch.setattr(server_run, "time", clock)
    lives = Backoff()
    seen: list[float] = []
    for listened in (None, None, 1.0, None, 0.0, None, None, None, None):
        assert lives.remaining_seconds == 0
        lives.record_exit(listened)
        seen.append(lives.remaining_seconds)
        clock.now += lives.remaining_seconds
    assert seen == [*RESTART_DELAY_SECONDS, RESTART_DELAY_SECONDS[-1], RESTART_DELAY_SECONDS[-1]]

    lives.record_exit(SHORT_LIFE_SECONDS)
    assert (lives.remaining_seconds, lives.short_lives) == (0, 0)
    lives.record_exit(None)
    assert lives.remaining_seconds == 0


async def test_a_command_that_ends_at_once_is_not_started_by_every_call(
    environ: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty calls in a row start it twice, and once more when the delay has passed; each has its last output."""
    clock = FakeClock()
    monkeypatch.setattr(server_run, "time", clock)
    starts = tmp_path / "starts"
    script = f"echo $0 >> {starts}; printf 'broken beyond repair'; exit 3"  # $0: `serve`, or `--version`
    async with managed_server(("sh", "-c", script), str(tmp_path), environ) as server:
        errors: list[str] = []
        for started, delay in ((2, RESTART_DELAY_SECONDS[1]), (3, RESTART_DELAY_SECONDS[2])):
            for _ in range(20):
                with pytest.raises(ServerStartError, match="broken beyond repair") as caught:
                    await server.endpoint()
                errors.append(str(caught.value))
            assert starts.read_text().split().count("serve") == started
            assert f"{started} times in a row, so it is not started again for {delay:g} s" in errors[-1]
            clock.now += delay

    assert all("exited with status 3" in error for error in errors)
    assert [number for number, error in enumerate(errors) if "not started again" not in error] == [0, 1, 20]


async def test_the_pipe_of_a_program_whose_output_was_not_read_is_closed(
    environ: Mapping[str, str], tmp_path: Path
) -> None:
    """asyncio stops reading when 128 KB wait, and then learns nothing of the end of the output."""
    descriptors: list[int] = []
    for number in range(3):  # the first one leaves what asyncio keeps for the others
        written = tmp_path / str(number)
        command = ("sh", "-c", f"head -c 250000 /dev/zero; touch {written}; sleep 300")
        async with open_supervised_process(command, environ, "/"):
            await eventually(written.exists)
        descriptors.append(count_pipes())

    assert descriptors[1] == descriptors[2]


def count_pipes() -> int:
    """Return how many pipes this process has; the scripted model closes its sockets when it likes."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of this list
            count += os.readlink(descriptor).startswith("pipe:")
    return count


ENDLESS_OUTPUT = "import sys\nfor _ in range({chunks}): sys.stdout.write('x' * 65536)\nsys.stdout.flush()\n"


async def test_an_endless_line_does_not_exhaust_memory(environ: Mapping[str, str], tmp_path: Path) -> None:
    """Neither in the supervisor nor here: 200 MB pass, and the error shows the end of what was kept."""
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS_OUTPUT.format(chunks=3200) + "import sys; sys.exit(4)\n")
    async with managed_server((sys.executable, str(script)), str(tmp_path), environ) as server:
        with anyio.fail_after(120), pytest.raises(ServerStartError, match="exited with status 4") as caught:
            await server.endpoint()
    assert LINE_CHARS <= len(str(caught.value)) <= OUTPUT_CHARS + 200

    measured = tmp_path / "measured.py"
    measured.write_text(
        "import runpy, sys\n"
        f"module = runpy.run_path({supervisor.__file__!r})\n"
        f"module['main']([{sys.executable!r}, {str(script)!r}])\n"
        "status = open('/proc/self/status').read()\n"
        "print(status.partition('VmHWM:')[2].split()[0], file=sys.stderr)\n"
    )
    async with await anyio.open_process((sys.executable, str(measured)), env=environ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        with anyio.fail_after(120):
            passed = 0
            async for chunk in process.stdout:
                passed += len(chunk)
            kilobytes = int((await process.stderr.receive()).decode().split()[0])
    assert passed == 3200 * 65536
    assert kilobytes < 60_000


@pytest.mark.slow
async def test_the_address_is_found_however_the_output_is_split(environ: Mapping[str, str], tmp_path: Path) -> None:
    """A line in pieces, after one that is long."""
    script = tmp_path / "slow.py"
    script.write_text(
        "import sys, time\n"
        "for piece in ('y' * 100000, '\\nopencode server list', 'ening on http://127.0.0.1:1', '23', '4\\n'):\n"
        "    sys.stdout.write(piece); sys.stdout.flush(); time.sleep(0.05)\n"
        "sys.stdin.read(); time.sleep(60)\n"
    )
    async with managed_server((sys.executable, str(script)), str(tmp_path), environ) as server:
        with anyio.fail_after(60):
            assert (await server.endpoint()).url.port == 1234


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("Error: Unexpected error\ndatabase or disk is full", "A disk is full"),
        ("ENOSPC: no space left on device, write", "A disk is full"),
        ("error: EMFILE: too many open files", "ulimit -n"),
        ("error: ProcessFdQuotaExceeded", "ulimit -n"),
        ("EROFS: read-only file system, mkdir", "is read-only"),
    ],
)
async def test_an_error_names_an_exhausted_resource(
    environ: Mapping[str, str], tmp_path: Path, said: str, advice: str
) -> None:
    """And what to do."""
    script = f"printf '%s' '{said}'; exit 1"
    async with managed_server(("sh", "-c", script), str(tmp_path), environ) as server:
        with pytest.raises(ServerStartError, match="exited with status 1") as caught:
            await server.endpoint()
    assert said in str(caught.value)
    assert advice in str(caught.value)


def test_an_ordinary_error_names_no_resource() -> None:
    """A cause is not guessed."""
    assert find_shortage("Error: config is invalid at opencode.json") == ""


@contextmanager
def exhaust_descriptors() -> Generator[None]:
    """Let this process open no file while the block lasts."""
    _, hard = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                descriptors.append(os.dup(0))
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_a_bridge_without_descriptors_says_so(environ: Mapping[str, str], tmp_path: Path) -> None:
    """It can start no process then."""
    async with managed_server(("true",), str(tmp_path), environ) as server:
        with exhaust_descriptors(), pytest.raises(ServerStartError) as caught:
            await server.endpoint()
    assert "did not start: [Errno 24] Too many open files" in str(caught.value)
    assert "ulimit -n" in str(caught.value)


@pytest.mark.parametrize(("number", "named"), [(errno.EMFILE, True), (errno.ECONNREFUSED, False)])
async def test_a_failed_connection_names_the_exhausted_resource(catalog: Catalog, number: int, named: bool) -> None:
    """The HTTP client says "All connection attempts failed", from errors that are causes of its own."""

    def fail(request: httpx2.Request) -> httpx2.Response:
        attempts = OSError("All connection attempts failed")
        attempts.__cause__ = ExceptionGroup("multiple connection attempts failed", [OSError(number, "no")])
        raise httpx2.ConnectError(str(attempts)) from attempts

    server = AttachedServer(Endpoint(httpx2.URL("http://opencode.test:4096")))
    async with OpenCodeClient(server, catalog, "/project", transport=httpx2.MockTransport(fail)) as opencode:
        with pytest.raises(TransportError, match=r"is not reachable .All connection attempts failed.") as caught:
            await opencode.call("session_create")
    assert ("ulimit -n" in str(caught.value)) == named


class ExhaustedServer(AttachedServer):
    """A server whose machine lacks something."""

    def describe_shortage(self) -> str:
        """Name it."""
        return "The disk of /data is full (0 bytes are free)."


@pytest.mark.parametrize(("status", "named"), [(500, True), (404, False)])
async def test_a_server_error_names_the_exhausted_resource_of_its_machine(
    catalog: Catalog, status: int, named: bool
) -> None:
    """OpenCode says no more than "Unexpected server error" when its disk is full (1.18.33)."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        body = {"name": "UnknownError", "data": {"message": "Unexpected server error. Check server logs for details."}}
        return httpx2.Response(status, json=body)

    server = ExhaustedServer(Endpoint(httpx2.URL("http://opencode.test:4096")))
    async with OpenCodeClient(server, catalog, "/project", transport=httpx2.MockTransport(answer)) as opencode:
        with pytest.raises(APIError) as caught:
            await opencode.call("session_create")
    assert ("The disk of /data is full" in str(caught.value)) == named
    assert caught.value.status == status


def test_the_disks_that_opencode_writes_to_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its folder is not there yet."""
    environ = {"XDG_DATA_HOME": str(tmp_path / "data"), "TMPDIR": str(tmp_path)}
    assert os_limits.measure_shortage(environ, str(tmp_path)) == ""
    monkeypatch.setattr(os_limits, "MIN_FREE_BYTES", 2**80)
    assert f"The disk of {tmp_path}/data/opencode is full" in os_limits.measure_shortage(environ, str(tmp_path))


def test_a_low_limit_of_open_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `ulimit -n 64` sets it."""

    def limits(which: int) -> tuple[int, int]:
        return 64, 64

    monkeypatch.setattr(resource, "getrlimit", limits)
    assert "may open only 64 files at once" in os_limits.measure_shortage({"HOME": str(tmp_path)}, str(tmp_path))


@pytest.mark.parametrize(("number", "named"), [(errno.EMFILE, "ulimit -n"), (errno.ENOSPC, "A disk is full")])
async def test_a_call_that_fails_locally_names_the_exhausted_resource(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, named: str
) -> None:
    """As a result, without the words of the exception; any other defect stays a protocol error."""
    numbers = [number, errno.EIO]

    async def fail(*_: Any) -> None:
        raise OSError(numbers.pop(0), "secret words")

    monkeypatch.setattr(ToolRegistry, "call", fail)
    async with Client(create_server(Settings(directory=str(tmp_path)), catalog)) as client:
        result = await client.call_tool("global_health")
        with pytest.raises(MCPError, match="Internal error"):
            await client.call_tool("global_health")
    assert result.is_error
    assert named in str(result.content)
    assert "secret words" not in str(result.content)


def test_variables_of_the_starting_session_are_not_inherited() -> None:
    """Credentials, settings and everything else are."""
    kept = {
        "PATH": "/bin",
        "ANTHROPIC_API_KEY": "a key",
        "CLAUDE_CODE_OAUTH_TOKEN": "a token",
        "CLAUDE_CONFIG_DIR": "/claude",
        "CODEX_HOME": "/codex",
        "OPENCODE_API_KEY": "a key",
        "OPENCODE_AUTH_CONTENT": "{}",
        "OPENCODE_CONFIG_CONTENT": "{}",
        "OPENCODE_PERMISSION": "{}",
    }
    dropped = dict.fromkeys(
        {*SESSION_VARIABLES, "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT", "CLAUDE_CODE_SESSION_ID"}, "1"
    )
    settings = Settings.load({}, {**kept, **dropped})
    assert settings.child_environ == {**kept, MARK: "1"}
    assert {"CLAUDECODE", "OPENCODE_PID", "OPENCODE_RUN_ID"} <= SESSION_VARIABLES


@pytest.mark.slow
async def test_a_nested_bridge_does_not_start_opencode(
    environ: Mapping[str, str], program: Program, project: Path, catalog: Catalog
) -> None:
    """The project has this very server configured: the model's call of it fails in words, with one OpenCode running."""
    mark = f"OPENCODE_MCP_TEST_MARK={uuid4().hex}"
    name, _, value = mark.partition("=")
    entry = {"type": "local", "command": [sys.executable, "-m", "opencode_mcp"], "enabled": True, "timeout": 180_000}
    (project / "opencode.json").write_text(json.dumps({"mcp": {"inner": entry}}))
    flags = {"directory": str(project), "command": program.command[0]}
    settings = Settings.load(flags, {**environ, name: value, "OPENCODE_PID": "1", "CLAUDECODE": "1"})
    async with Client(create_server(settings, catalog)) as client:
        prompt = {"prompt": "script:tool inner_global_health {}", "permissions": "allow", "timeout_seconds": 300}
        report = await client.call_tool("run_task", prompt)
        session = facts(report)["session_id"]
        messages = await client.call_tool("session_messages", {"sessionID": session})
        running = find_opencode_pids(mark)
        inherited = read_environ(running[0])

    said = json.dumps(facts(messages))
    assert "runs inside an OpenCode that opencode-mcp started (OPENCODE_MCP_DEPTH=1 in its environment)" in said
    assert len(running) == 1
    assert not {b"OPENCODE_PID=1", b"CLAUDECODE=1"} & inherited


def read_environ(pid: int) -> set[bytes]:
    """Return what a process was started with, as NAME=value."""
    return {*Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")}
