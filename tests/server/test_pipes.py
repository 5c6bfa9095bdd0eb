"""The wire of stdio: pipes without threads, and what is no pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from opencode_mcp.server.pipes import Lines, Writer
from tests.bridge import CLIENT

pytestmark = pytest.mark.anyio

PATIENCE = 60
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT},
}


@pytest.fixture
def ends() -> tuple[int, int]:
    """The two ends of a pipe."""
    return os.pipe()


async def test_lines_come_whole_however_they_are_cut(ends: tuple[int, int]) -> None:
    """A character may be cut in two, a line may come in pieces, and several at once; the last needs no end."""
    receive, send = ends
    got: list[str] = []

    async def read() -> None:
        got.extend([line async for line in Lines(receive)])

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            for piece in (b"one\ntw", b"o \xc3", b"\xa9\nthree\n\nfo", b"ur"):
                os.write(send, piece)
                await anyio.wait_all_tasks_blocked()
            os.close(send)
    os.close(receive)

    assert got == ["one", "two é", "three", "", "four"]


async def test_a_slow_reader_holds_up_the_writer_alone(ends: tuple[int, int]) -> None:
    """What does not fit into the pipe waits, whole and in order, while other tasks run."""
    receive, send = ends
    text = "0123456789" * 100_000
    written = anyio.Event()

    async def write() -> None:
        await Writer(send).write(text)
        written.set()

    got = b""
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            await anyio.wait_all_tasks_blocked()
            assert not written.is_set()
            while len(got) < len(text):
                await anyio.wait_readable(receive)
                got += os.read(receive, 65536)
    for end in ends:
        os.close(end)

    assert written.is_set()
    assert got.decode() == text


async def test_a_writer_whose_reader_has_gone_says_so(ends: tuple[int, int]) -> None:
    """It does not wait for ever."""
    receive, send = ends
    os.close(receive)
    with pytest.raises(BrokenPipeError):
        await Writer(send).write("nobody reads this")
    os.close(send)


def test_standard_input_may_be_a_file(environ: Mapping[str, str], tmp_path: Path) -> None:
    """What cannot be waited for is read by the SDK's own threads."""
    requests = tmp_path / "requests"
    requests.write_text(json.dumps(INITIALIZE) + "\n")
    with requests.open() as file:
        command = (sys.executable, "-m", "opencode_mcp")
        done = subprocess.run(
            command, stdin=file, capture_output=True, env=dict(environ), cwd=tmp_path, timeout=PATIENCE, check=True
        )
    assert json.loads(done.stdout)["result"]["protocolVersion"] == "2025-11-25"


def test_what_is_printed_does_not_reach_the_wire(environ: Mapping[str, str], tmp_path: Path) -> None:
    """Descriptor 1 is stderr while the server serves, for children as well, and it is stdout again afterwards."""
    script = (
        "import os, subprocess\n"
        "from opencode_mcp.server.pipes import pipes\n"
        "with pipes() as streams:\n"
        "    assert streams\n"
        "    print('stray', flush=True)\n"
        "    subprocess.run(['echo', 'of a child'])\n"
        "    assert os.read(0, 1) == b''\n"
        "print('afterwards')\n"
    )
    done = subprocess.run(
        (sys.executable, "-c", script), input=b"for the wire\n", capture_output=True, timeout=PATIENCE, check=True
    )
    assert done.stdout == b"afterwards\n"
    assert done.stderr == b"stray\nof a child\n"
