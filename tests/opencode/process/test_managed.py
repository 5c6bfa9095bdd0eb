"""OpenCode's life: started once, started again after its death, and never left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import anyio
import httpx2
import mcp_types as types
import pytest
from anyio.abc import Process
from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import ServerStartError, TransportError
from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.opencode.process.managed import ManagedServer, managed_server
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from tests.bridge import Bridge, find_opencode_pids, find_processes, kill_opencode, run_bridge
from tests.eventually import eventually
from tests.facts import facts, raw_facts
from tests.server.connections import free_port

pytestmark = pytest.mark.anyio

ROUNDS = int(os.environ.get("OPENCODE_MCP_TEST_ROUNDS", "3"))
"""How often the bridge is killed in the middle of a prompt."""

ALLOW_ALL = [{"permission": "*", "pattern": "*", "action": "allow"}]
SLEEP = 'script:tool bash {"command": "sleep 300", "description": "Sleep"}'


@pytest.fixture
def mark() -> str:
    """An environment variable that no process has but those of this test."""
    return f"OPENCODE_MCP_TEST_MARK={uuid4().hex}"


@pytest.fixture
def marked_environ(environ: Mapping[str, str], mark: str) -> Mapping[str, str]:
    """The environment whose processes bear the mark, as do all that come from them."""
    name, _, value = mark.partition("=")
    return {**environ, name: value}


@asynccontextmanager
async def open_managed(
    environ: Mapping[str, str], program: Program, directory: Path, catalog: Catalog
) -> AsyncGenerator[tuple[ManagedServer, OpenCodeClient]]:
    """Provide a server of our own and its client."""
    async with (
        managed_server(program.command, str(directory), environ) as server,
        OpenCodeClient(server, catalog, str(directory)) as opencode,
    ):
        yield server, opencode


async def wait_until_gone(mark: str) -> None:
    """Wait until no process that bears the mark is left, and see that no OpenCode is started meanwhile."""
    supervisors: set[int] = set()

    def read_processes() -> dict[int, str]:
        left = find_processes(mark)
        supervisors.update(pid for pid, command in left.items() if "supervisor.py" in command)
        return left

    await eventually(read_processes, until=lambda left: not left)
    assert len(supervisors) <= 1


async def test_concurrent_calls_start_one_server(
    marked_environ: Mapping[str, str], mark: str, program: Program, project: Path, catalog: Catalog
) -> None:
    """The second caller waits for the server that the first one has started."""
    async with open_managed(marked_environ, program, project, catalog) as (_, opencode):
        assert find_processes(mark) == {}
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(opencode.call, "path_get")

        assert len(find_opencode_pids(mark)) == 1
    await wait_until_gone(mark)


async def test_a_start_continues_when_its_caller_is_cancelled(
    marked_environ: Mapping[str, str], mark: str, program: Program, project: Path, catalog: Catalog
) -> None:
    """Whoever calls next gets the server that was already on its way."""
    async with open_managed(marked_environ, program, project, catalog) as (_, opencode):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(opencode.call, "path_get")
            await eventually(lambda: find_opencode_pids(mark))
            tasks.cancel_scope.cancel()
        first = find_opencode_pids(mark)
        await opencode.call("path_get")

        assert find_opencode_pids(mark) == first


async def test_a_server_that_was_killed_between_calls_is_started_again(
    marked_environ: Mapping[str, str], mark: str, program: Program, project: Path, catalog: Catalog
) -> None:
    """The bridge does not have to be restarted; the new server is another process."""
    async with open_managed(marked_environ, program, project, catalog) as (server, opencode):
        await opencode.call("path_get")
        first = find_opencode_pids(mark)
        kill_opencode(mark)
        described = await eventually(server.describe, until=lambda words: "starts it again" in words)
        assert "it exited with status 137" in described
        assert (await opencode.call("path_get"))["directory"] == str(project)
        assert find_opencode_pids(mark) != first


async def test_an_error_in_the_block_does_not_change_a_managed_server(
    marked_environ: Mapping[str, str], mark: str, program: Program, project: Path, catalog: Catalog
) -> None:
    """Not within an exception group; and the server is gone all the same."""
    with pytest.raises(ZeroDivisionError):
        async with open_managed(marked_environ, program, project, catalog) as (_, opencode):
            await opencode.call("global_health")
            raise ZeroDivisionError
    assert find_processes(mark) == {}


@asynccontextmanager
async def open_client(settings: Settings, catalog: Catalog) -> AsyncGenerator[Client]:
    """Connect to a bridge in memory."""
    async with Client(create_server(settings, catalog)) as client:
        yield client


def result_text(result: types.CallToolResult) -> str:
    """Return the text of a result that is an error."""
    assert result.is_error
    [content] = result.content
    assert isinstance(content, types.TextContent)
    return content.text


async def test_a_server_that_dies_during_a_call_ends_the_call_and_the_next_one_works(
    marked_environ: Mapping[str, str], mark: str, project: Path, catalog: Catalog
) -> None:
    """The result says that the server went away, and that the outcome of the request is unknown."""
    settings = Settings.load({"directory": str(project)}, marked_environ)
    async with open_client(settings, catalog) as client:
        shown = await client.call_tool("session_create", {"permission": ALLOW_ALL})
        session = facts(shown)["id"]
        results: list[types.CallToolResult] = []

        async def run_shell() -> None:
            arguments = {"sessionID": session, "agent": "build", "command": "sleep 300"}
            results.append(await client.call_tool("session_shell", arguments))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_shell)
            await wait_until_sleeping(mark)
            kill_opencode(mark)

        [broken] = results
        assert "the OpenCode that opencode-mcp started" in result_text(broken)
        assert "was lost during session_shell" in result_text(broken)
        await eventually(lambda: client.call_tool("path_get"), until=lambda shown: not shown.is_error)
    await wait_until_gone(mark)


async def wait_until_sleeping(mark: str) -> None:
    """Wait until the shell command runs."""
    await eventually(lambda: [command for command in find_processes(mark).values() if command == "sleep 300 "])


async def test_a_wrong_password_is_named(endpoint: Endpoint, catalog: Catalog) -> None:
    """The variables to set are named."""
    environ = {"OPENCODE_SERVER_PASSWORD": "wrong"}
    async with open_client(Settings.load({"url": str(endpoint.url)}, environ), catalog) as client:
        for tool in ("global_health", "path_get", "v2_location_get", "event_subscribe"):
            assert "set OPENCODE_SERVER_PASSWORD" in result_text(await client.call_tool(tool))


@asynccontextmanager
async def run_server(
    program: Program, port: int, environ: Mapping[str, str], directory: Path
) -> AsyncGenerator[Process]:
    """Run an OpenCode that is not ours, without a password, on a port."""
    command = (*program.command, "serve", "--port", str(port))
    async with await anyio.open_process(command, env=environ, cwd=directory) as process:
        assert process.stdout is not None
        output = b""
        while b"listening" not in output:
            output += await process.stdout.receive()
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()


@pytest.mark.slow
async def test_an_attached_server_may_restart(
    environ: Mapping[str, str], program: Program, project: Path, catalog: Catalog
) -> None:
    """While it is gone the error has its address; once it is back, the next call works."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    async with OpenCodeClient(
        AttachedServer(Endpoint(httpx2.URL(address), version=SNAPSHOT_VERSION)), catalog
    ) as opencode:
        for _ in range(2):
            with pytest.raises(TransportError, match=f"OpenCode at {address} is not reachable"):
                await opencode.call("global_health")
            async with run_server(program, port, environ, project):
                assert (await opencode.call("global_health"))["healthy"] is True


async def test_without_opencode_and_npm_the_error_names_the_three_ways_out(
    tmp_path: Path, project: Path, catalog: Catalog
) -> None:
    """Install OpenCode, install Node.js, or give an address."""
    environ = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    async with open_client(Settings.load({"directory": str(project)}, environ), catalog) as client:
        shown = result_text(await client.call_tool("global_health"))

    assert "install OpenCode (https://opencode.ai/docs) so that `opencode` is on PATH" in shown
    assert "install Node.js, then call again to install OpenCode" in shown
    assert "--url or OPENCODE_MCP_URL" in shown


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/nowhere/opencode", "cannot run /nowhere/opencode: No such file or directory"),
        ("sh -c 'echo on stdout; exit 3'", "OpenCode did not start: it exited with status 3; its output:\non stdout"),
        ("sh -c 'echo on stderr >&2'", "OpenCode did not start: it exited with status 0; its output:\non stderr"),
        ("false", "OpenCode did not start: it exited with status 1"),
    ],
)
async def test_a_command_that_does_not_serve_is_an_error_with_its_output(
    environ: Mapping[str, str], project: Path, catalog: Catalog, command: str, words: str
) -> None:
    """At once, not when the time for starting is over; and each call tries again."""
    settings = Settings.load({"directory": str(project), "command": command}, environ)
    async with open_client(settings, catalog) as client:
        for _ in range(2):
            with anyio.fail_after(30):
                assert words in result_text(await client.call_tool("global_health"))


async def test_a_missing_project_directory_is_an_error(
    environ: Mapping[str, str], program: Program, tmp_path: Path
) -> None:
    """OpenCode could not be started in it."""
    async with managed_server(program.command, str(tmp_path / "gone"), environ) as server:
        with pytest.raises(ServerStartError, match="gone"):
            await server.endpoint()


@asynccontextmanager
async def run_during_prompt(marking: Mapping[str, str], mark: str, project: Path) -> AsyncGenerator[Bridge]:
    """Run a bridge whose OpenCode runs a model whose shell command sleeps."""
    async with run_bridge(marking, project) as running:
        await running.initialize()
        created = await running.call("session_create", permission=ALLOW_ALL)
        prompt = {
            "name": "session_prompt",
            "arguments": {
                "sessionID": raw_facts(created)["id"],
                "parts": [{"type": "text", "text": SLEEP}],
            },
        }
        await running.start_request("tools/call", prompt)
        await wait_until_sleeping(mark)
        yield running


async def test_no_process_is_left_when_stdin_ends(marked_environ: Mapping[str, str], mark: str, project: Path) -> None:
    """The client closes the bridge's input, as MCP clients do; the bridge ends well, and all below it."""
    async with run_during_prompt(marked_environ, mark, project) as running:
        assert running.process.stdin is not None
        await running.process.stdin.aclose()
        await wait_until_gone(mark)
        assert await running.process.wait() == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
async def test_no_process_is_left_when_a_signal_ends_the_bridge(
    marked_environ: Mapping[str, str], mark: str, project: Path, number: signal.Signals
) -> None:
    """The bridge cleans up, and then dies of the signal, as its parent expects."""
    async with run_during_prompt(marked_environ, mark, project) as running:
        running.process.send_signal(number)
        await wait_until_gone(mark)
        assert await running.process.wait() == -number


@pytest.mark.slow
async def test_no_process_is_left_when_the_bridge_is_killed(
    marked_environ: Mapping[str, str], mark: str, project: Path
) -> None:
    """kill -9 gives the bridge no chance: the supervisor sees that it is gone, and ends what it had started."""
    for _ in range(ROUNDS):
        async with run_during_prompt(marked_environ, mark, project) as running:
            running.process.kill()
            await wait_until_gone(mark)
