"""An OpenCode 2 that a bridge starts: it ends with the bridge's pipe, and is called when it is ready."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from opencode_mcp.catalog.generations import GENERATIONS
from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.opencode.expected_generation import ExpectedGeneration, read_seen_generation
from opencode_mcp.opencode.process.cache import cache_folder
from opencode_mcp.opencode.process.launch import find_url_2
from opencode_mcp.opencode.process.managed import ManagedServer, managed_server
from tests.cli.fake_http_server import JSON, fake_http_server
from tests.eventually import eventually

from . import small_opencode_2
from .data_folders import use_opencode_1
from .shared_bridges import left

pytestmark = [pytest.mark.anyio, pytest.mark.process]

SOURCE = Path(small_opencode_2.__file__)
BRIDGE = """
import anyio, os, sys
from opencode_mcp.opencode.process.managed import managed_server

async def main():
    async with managed_server((sys.executable, sys.argv[1]), os.environ["HOME"], os.environ, generation=2) as server:
        await server.endpoint()
        print("started", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@asynccontextmanager
async def open_server(
    environ: Mapping[str, str], generation: int | None = None, tools: int = 2, shared: bool = True
) -> AsyncGenerator[ManagedServer]:
    """Provide the server of a bridge that lists the tools of a generation."""
    expected = ExpectedGeneration(GENERATIONS[tools], generation is not None, cache_folder(environ), "opencode")
    linger = 0.3 if shared else None
    command = (sys.executable, str(SOURCE))
    async with managed_server(command, environ["HOME"], environ, linger, expected, generation) as server:
        yield server


def notes(environ: Mapping[str, str]) -> list[str]:
    """Return what the programs have noted."""
    path = Path(environ["STARTS"])
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize(
    ("line", "url"),
    [
        ('{"url":"http://127.0.0.1:4096"}', "http://127.0.0.1:4096"),
        ("server listening on http://127.0.0.1:4096", "http://127.0.0.1:4096"),
        ("opencode server listening on http://127.0.0.1:4096", None),
        ("server password hunter2", None),
        ('{"url":1}', None),
        ('{"url":"https://elsewhere.test"}', None),
        ("[]", None),
        ("Performing one time database migration", None),
    ],
)
def test_the_address_is_in_one_line_of_its_output(line: str, url: str | None) -> None:
    """The first one with --stdio, the second one without."""
    assert find_url_2(line) == url


@pytest.mark.parametrize("shared", [True, False])
async def test_it_is_started_for_this_bridge_and_ends_with_it(small: Mapping[str, str], shared: bool) -> None:
    """Its password is in its environment only, and it has time to end by itself."""
    environ = {**small, "OPENCODE_SERVER_PASSWORD": "of another server"}
    async with open_server(environ, shared=shared) as server:
        endpoint = await server.endpoint()
        assert (endpoint.username, endpoint.password, endpoint.version) == ("opencode", server.password, "2.1.2")
        assert not any(server.password in line for line in left(environ).values())
        assert server.others == ()
    assert notes(environ) == [
        "serve --stdio --hostname 127.0.0.1 --port 0 with ['OPENCODE_PASSWORD']",
        "its input was closed",
    ]
    await eventually(lambda: left(environ), until=lambda found: not found)


async def test_it_ends_when_its_bridge_is_killed(small: Mapping[str, str]) -> None:
    """`kill -9` of the bridge closes the pipe."""
    command = (sys.executable, "-c", BRIDGE, str(SOURCE))
    async with await anyio.open_process(command, env=small, stderr=None, start_new_session=True) as process:
        assert process.stdout is not None
        assert b"started" in await process.stdout.receive()
        process.send_signal(signal.SIGKILL)
    await eventually(lambda: left(small), until=lambda found: not found)

    assert notes(small)[-1] == "its input was closed"


async def test_it_is_called_when_it_is_ready(small: Mapping[str, str]) -> None:
    """Until then it answers 503, however long an import takes; the caller sees that it has started."""
    seen: list[str] = []

    async def report_progress(message: str) -> None:
        seen.append(message)

    async with open_server({**small, "BOOT_SECONDS": "6"}) as server:
        started_at = anyio.current_time()
        await server.endpoint(report_progress)
        assert anyio.current_time() - started_at > 2

    assert "OpenCode: started, and not ready yet" in seen


async def test_a_failed_start_is_reported_and_ended(small: Mapping[str, str]) -> None:
    """It says so itself."""
    async with open_server({**small, "BOOT_FAILS": "1"}) as server:
        with pytest.raises(ServerStartError, match="HTTP 500"):
            await server.endpoint()
        await eventually(lambda: notes(small), until=lambda lines: lines[-1] == "its input was closed")


async def test_it_is_not_started_on_the_data_of_opencode_1(small: Mapping[str, str]) -> None:
    """Unless the user says so."""
    use_opencode_1(Path(small["HOME"]) / ".local" / "share" / "opencode")
    async with open_server(small) as server:
        with pytest.raises(ServerStartError, match="would import the data of OpenCode 1"):
            await server.endpoint()
    assert notes(small) == []
    async with open_server(small, generation=2) as server:
        await server.endpoint()
    assert len(notes(small)) == 2


async def test_it_is_not_started_for_the_tools_of_opencode_1(small: Mapping[str, str]) -> None:
    """The error says to reconnect, and the next start of the bridge has the tools of OpenCode 2."""
    async with open_server(small, tools=1) as server:
        with pytest.raises(ServerStartError, match=r"is OpenCode 2\.1\.2, .*restart this MCP server"):
            await server.endpoint()

    assert notes(small) == []
    assert read_seen_generation(cache_folder(small), "opencode") == 2


async def test_the_background_service_is_used_and_never_stopped(small: Mapping[str, str]) -> None:
    """The bridge starts nothing beside it, and notices when it has ended."""
    registration = Path(small["HOME"]) / ".local" / "state" / "opencode" / "service.json"
    registration.parent.mkdir(parents=True)
    expected = ExpectedGeneration(GENERATIONS[2])
    with fake_http_server({"/api/info": (200, JSON, b'{"version":"2.1.2","pid":4242}')}) as url:
        registration.write_text(f'{{"version":"2.1.2","pid":4242,"password":"secret","url":"{url}"}}')
        registration.chmod(0o600)
        async with managed_server((), small["HOME"], small, 0.3, expected, None) as server:
            endpoint = await server.endpoint()
            assert (endpoint.base_url, endpoint.password) == (url, "secret")
            assert server.describe() == f"OpenCode's background service at {url} (process 4242)"
            async with server.track_request(lambda message: anyio.lowlevel.checkpoint()):
                server.set_active("ses_1", active=True)
        async with managed_server((), small["HOME"], small, 0.3, expected, None) as another:
            assert await another.endpoint() == endpoint

    assert notes(small) == []
    assert left(small) == {}
