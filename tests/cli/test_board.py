"""`opencode-mcp board` as a process: its addresses, its clients, and its end with its terminal."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from opencode_mcp.cli import main
from opencode_mcp.cli.commands import board as command
from opencode_mcp.settings import Settings
from opencode_mcp.tasks import TASK_TOOLS
from tests.bridge import find_processes
from tests.conftest import make_project
from tests.eventually import eventually
from tests.facts import facts

from .command_process import Terminal, command_environ, run_in_terminal

pytestmark = pytest.mark.anyio

ADDRESS = re.compile(r"(http://127\.0\.0\.1:\d+)/#([\w-]{43})\r?\n")
END_SECONDS = 30.0
"""On a busy machine; it takes half a second."""

RECORDER = """\
#!{python}
import os, sys, time
from urllib.request import url2pathname
from urllib.parse import urlsplit
path = url2pathname(urlsplit(sys.argv[1]).path)
modes = [oct(os.stat(name).st_mode & 0o777) for name in (os.path.dirname(path), path)]
with open({record!r} + ".new", "w") as record:
    record.write("\\n".join([sys.argv[1], *modes, open(path).read()]))
os.rename({record!r} + ".new", {record!r})
while os.path.exists(path):
    time.sleep(0.05)
"""
"""In place of a browser: notes what it was started with and what it reads, and stays as long as the file."""

IN_BACKGROUND = """
import os, sys
if os.fork():
    while True:
        os.wait()
os.setpgid(0, 0)
os.execv(sys.executable, [sys.executable, "-m", "opencode_mcp", *sys.argv[1:]])
"""


@pytest.fixture(autouse=True)
def _hang_up_ends() -> Generator[None]:
    """Where `nohup` runs the tests, what they start would ignore SIGHUP."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, previous)


@pytest.fixture
def attached_environ(environ: Mapping[str, str], attached: Settings) -> dict[str, str]:
    """The environment of a board of the running OpenCode, on a machine without a screen."""
    return without_screen(command_environ(environ, attached))


@pytest.fixture
def alone(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a board that calls no OpenCode."""
    return without_screen(command_environ(environ))


def without_screen(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without a browser."""
    return {name: value for name, value in environ.items() if name not in {"BROWSER", "DISPLAY", "WAYLAND_DISPLAY"}}


async def read_address(terminal: Terminal, number: int = 1) -> tuple[str, str]:
    """Wait for the printed address with this number; return the URL of the board, and the token."""
    matches = await terminal.wait_for_matches(ADDRESS, number)
    return matches[number - 1][1], matches[number - 1][2]


async def post_token(url: str, token: str) -> httpx2.Response:
    """Do what the page does with the token in its address."""
    async with httpx2.AsyncClient(timeout=60) as http:
        return await http.post(f"{url}/session", content=token, headers={"origin": url})


@asynccontextmanager
async def authorized(url: str, token: str) -> AsyncGenerator[httpx2.AsyncClient]:
    """Provide an HTTP client with the bearer token of a board."""
    response = await post_token(url, token)
    assert response.status_code == 200, response.text
    headers = {"authorization": f"Bearer {response.text}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        yield http


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_client_drives_opencode_through_the_board(attached_environ: Mapping[str, str], mode: str) -> None:
    """With the token of the printed address, in both protocol eras; only with the tools of the page."""
    with run_in_terminal(attached_environ, "board", "--toolsets", "files") as terminal:
        url, token = await read_address(terminal)
        async with (
            authorized(url, token) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
        ):
            listed = {tool.name for tool in (await client.list_tools()).tools}
            report = facts(await client.call_tool("run_task", {"prompt": "script:text fine"}))
            again = facts(await client.call_tool("report_task", {"session_id": report["session_id"]}))
        page = httpx2.get(url, timeout=60).text

    assert listed == {*TASK_TOOLS}
    assert (again["state"], again["answer"]) == ("completed", report["answer"])
    assert "fine" in report["answer"]
    assert page.startswith("<!doctype html>")


async def press_ctrl_c(terminal: Terminal) -> None:
    await terminal.interrupt()


async def press_ctrl_d(terminal: Terminal) -> None:
    await terminal.type("\x04")


async def close_the_window(terminal: Terminal) -> None:
    terminal.close()


async def terminate(terminal: Terminal) -> None:
    terminal.process.terminate()


async def hang_up(terminal: Terminal) -> None:
    terminal.process.send_signal(signal.SIGHUP)


ENDS: Mapping[str, Callable[[Terminal], Awaitable[None]]] = {
    "Ctrl-C": press_ctrl_c,
    "Ctrl-D": press_ctrl_d,
    "the window is closed": close_the_window,
    "SIGTERM": terminate,
    "SIGHUP": hang_up,
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_the_board_ends_with_its_terminal(
    attached_environ: Mapping[str, str], end: Callable[[Terminal], Awaitable[None]]
) -> None:
    """At once and in order, while a page holds a stream of events: the stream ends with its result."""
    received, listening, code, seconds = list[str](), anyio.Event(), -1, float("inf")

    async def listen(http: httpx2.AsyncClient, url: str, session_id: str) -> None:
        async with http.stream("POST", f"{url}/mcp", **listen_request(session_id)) as response:
            async for line in response.aiter_lines():
                received.append(line)
                listening.set()

    with run_in_terminal(attached_environ, "board") as terminal:
        url, token = await read_address(terminal)
        async with authorized(url, token) as http, anyio.create_task_group() as tasks:
            async with Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client:
                started = facts(await client.call_tool("run_task", {"prompt": "script:text fine"}))
            tasks.start_soon(listen, http, url, started["session_id"])
            with anyio.fail_after(60):
                await listening.wait()
            ended_at = time.monotonic()
            await end(terminal)
            code = await terminal.wait()
            seconds = time.monotonic() - ended_at

    assert code == 0
    assert seconds < END_SECONDS
    assert "Traceback" not in terminal.output
    assert '"result"' in received[-1] or '"result"' in received[-2]


def listen_request(session_id: str) -> dict[str, Any]:
    """The request that a page holds open."""
    meta: dict[str, Any] = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"notifications": {"resourceSubscriptions": [f"opencode://session/{session_id}"]}, "_meta": meta}
    headers = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "subscriptions/listen",
    }
    request = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    return {"json": request, "headers": headers}


async def test_the_shared_opencode_ends_after_the_board(environ: Mapping[str, str], tmp_path: Path) -> None:
    """The first call starts it, as no assistant runs; a board that hangs up leaves nothing."""
    mark = f"TEST_OF_BOARD={tmp_path}"
    shared = {name: value for name, value in without_screen(environ).items() if name != "OPENCODE_MCP_NO_SHARE"}
    shared |= {
        "OPENCODE_MCP_LINGER": "0",
        "XDG_CACHE_HOME": f"{environ['HOME']}/.cache",
        "TEST_OF_BOARD": str(tmp_path),
    }
    with run_in_terminal(shared, "board", cwd=make_project(tmp_path / "project", shared)) as terminal:
        url, token = await read_address(terminal)
        opencode = [line for line in find_processes(mark).values() if " serve " in line]
        assert opencode == []
        async with (
            authorized(url, token) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
        ):
            await client.call_tool("run_task", {"prompt": "script:text fine"})
        assert [line for line in find_processes(mark).values() if " serve " in line] != []
        terminal.close()
        assert await terminal.wait() == 0
    await eventually(lambda: not find_processes(mark))


async def test_enter_prints_another_address(alone: Mapping[str, str]) -> None:
    """The one before is void; each opens the board once, and what is open stays so."""
    with run_in_terminal(alone, "board") as terminal:
        url, first = await read_address(terminal)
        await terminal.type("\n")
        assert (await read_address(terminal, 2))[0] == url
        second = (await read_address(terminal, 2))[1]
        statuses = [(await post_token(url, token)).status_code for token in (first, second, second)]
        await terminal.type("\n")
        third = (await read_address(terminal, 3))[1]
        again = await post_token(url, third)
        await terminal.interrupt()
        assert await terminal.wait() == 0

    assert len({first, second, third}) == 3
    assert statuses == [403, 200, 403]
    assert again.status_code == 200


async def test_two_boards_know_nothing_of_each_other(alone: Mapping[str, str]) -> None:
    """Each has a port and tokens of its own."""
    with run_in_terminal(alone, "board") as left, run_in_terminal(alone, "board") as right:
        (url, token), (other_url, other_token) = await read_address(left), await read_address(right)
        crossed = [await post_token(url, other_token), await post_token(other_url, token)]
        bearer = (await post_token(url, token)).text
        other_bearer = (await post_token(other_url, other_token)).text
        headers = {"authorization": f"Bearer {bearer}"}
        foreign = httpx2.post(f"{other_url}/mcp", json={}, headers=headers)
        foreign_page = httpx2.post(f"{url}/mcp", json={}, headers={**headers, "origin": other_url})

    assert url != other_url
    assert bearer != other_bearer
    assert [response.status_code for response in crossed] == [403, 403]
    assert (foreign.status_code, foreign_page.status_code) == (401, 403)


async def test_other_users_do_not_see_the_address(alone: Mapping[str, str], tmp_path: Path) -> None:
    """It is in no arguments of a process, but in a private file, which ends with its use."""
    record, recorder = tmp_path / "record", tmp_path / "browser"
    recorder.write_text(RECORDER.format(python=sys.executable, record=str(record)))
    recorder.chmod(0o700)
    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / "webbrowser.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\n")
    mark = f"TEST_OF_BOARD={tmp_path}"
    shown = {**alone, "BROWSER": f"{recorder} %s &", "TEST_OF_BOARD": str(tmp_path)}
    with run_in_terminal(shown, "board", cwd=folder) as terminal:
        url, token = await read_address(terminal)
        await eventually(record.exists)
        commands = find_processes(mark).values()
        address, folder_mode, file_mode, *page = record.read_text().splitlines()
        assert (await post_token(url, token)).status_code == 200
        await eventually(lambda: not Path(address.removeprefix("file://")).parent.exists())
        await terminal.interrupt()
        assert await terminal.wait() == 0
    await eventually(lambda: not find_processes(mark))

    assert any(str(recorder) in line for line in commands)
    assert [line for line in commands if token in line] == []
    assert address.startswith("file:///")
    assert (folder_mode, file_mode) == ("0o700", "0o600")
    assert f"{url}/#{token}" in "".join(page)
    assert not (tmp_path / "imported").exists()


async def test_a_board_in_the_background_stays(alone: Mapping[str, str], tmp_path: Path) -> None:
    """Only the foreground may read the terminal, which would stop it; it still ends with the terminal."""
    mark = f"TEST_OF_BOARD={tmp_path}"
    program = (sys.executable, "-c", IN_BACKGROUND)
    with run_in_terminal({**alone, "TEST_OF_BOARD": str(tmp_path)}, "board", program=program) as terminal:
        url, token = await read_address(terminal)
        await terminal.wait_for_text(command.TERMINAL_HELP)
        await terminal.type("\n")
        await anyio.sleep(2 * command.BACKGROUND_SECONDS)  # by then it would have read
        assert (await post_token(url, token)).status_code == 200
        boards = [pid for pid, line in find_processes(mark).items() if " board" in line and "-c" not in line]
        states = [*map(process_state, boards)]
        terminal.close()
        await eventually(lambda: not find_processes(mark))

    assert len(states) == 1
    assert "T" not in states


def process_state(pid: int) -> str:
    """The state of a process, as the kernel has it: T if it is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_without_a_terminal_a_signal_ends_it(alone: Mapping[str, str]) -> None:
    """A supervisor gives it no stdin, whose end means nothing; the address is the only line on stdout."""
    board = [sys.executable, "-m", "opencode_mcp", "board"]
    async with await anyio.open_process(board, env=alone, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        stdout = BufferedByteReceiveStream(process.stdout)
        with anyio.fail_after(60):
            line = await stdout.receive_until(b"\n", 1_000)
            found = ADDRESS.fullmatch(f"{line.decode()}\n")
            assert found is not None
            assert (await post_token(found[1], found[2])).status_code == 200
            process.terminate()
            assert await process.wait() == 0
        assert [chunk async for chunk in stdout] == []


def test_a_port_that_is_taken_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """As is one that cannot be; nothing is printed that would look like an address."""
    with closing(command.listen(0)) as listener:
        taken = main(["board", "--port", str(listener.getsockname()[1])])
    impossible = main(["board", "--port", "65536"])

    printed = capsys.readouterr()
    assert (taken, impossible, printed.out) == (2, 2, "")
    assert "cannot be listened on: Address already in use" in printed.err
    assert "--port takes a number from 0 to 65535" in printed.err


def test_the_board_listens_on_this_machine_alone() -> None:
    """Whatever the settings say."""
    with closing(command.listen(0)) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
