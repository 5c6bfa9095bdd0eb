"""The stdio transport: pipes without threads, and files that are not pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCResponse

from opencode_mcp.server.stdio import streams as pipes_module
from opencode_mcp.server.stdio.streams import PipeReader, PipeWriter
from opencode_mcp.server.stdio.transport import message_streams, send_lines
from tests.bridge import CLIENT

pytestmark = pytest.mark.anyio

LIMIT_SECONDS = 60
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT},
}


@pytest.fixture
def pipe_ends() -> tuple[int, int]:
    """The two ends of a pipe."""
    return os.pipe()


async def test_lines_are_whole_however_they_are_split(pipe_ends: tuple[int, int]) -> None:
    """A character may be cut in two, a line may come in pieces, and several at once; the last needs no end."""
    receive, send = pipe_ends
    got: list[str] = []

    async def read() -> None:
        got.extend([line async for line in PipeReader(receive)])

    with anyio.fail_after(LIMIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            for piece in (b"one\ntw", b"o \xc3", b"\xa9\nthree\n\nfo", b"ur"):
                os.write(send, piece)
                await anyio.wait_all_tasks_blocked()
            os.close(send)
    os.close(receive)

    assert got == ["one", "two é", "three", "", "four"]


async def test_requests_that_were_read_together_are_received_together(pipe_ends: tuple[int, int]) -> None:
    """Without a pass of the event loop between them, in which the first would be handled and answered by itself."""
    receive, send = pipe_ends
    os.write(send, b"".join(b'{"jsonrpc":"2.0","id":%d,"method":"ping"}\n\n' % number for number in range(3)))
    with anyio.fail_after(LIMIT_SECONDS):
        async with message_streams(PipeReader(receive), PipeWriter(send)) as (reader, writer), reader, writer:
            received = [await reader.receive()]
            for _ in range(2):
                with pytest.raises(StopIteration) as returned:  # the coroutine returned; it did not wait
                    reader.receive().send(None)
                received.append(returned.value.value)
    for end in pipe_ends:
        os.close(end)

    assert [item.message.id for item in received] == [0, 1, 2]


async def test_a_reader_that_is_ended_returns_no_more(pipe_ends: tuple[int, int]) -> None:
    """Lines that wait and lines that come later are dropped, and a pending receive ends."""
    receive, send = pipe_ends
    waiting, full = PipeReader(receive), PipeReader(receive, b"one\ntwo\n")
    assert await full.receive() == "one"
    full.end()
    got: list[str] = []

    async def read() -> None:
        got.extend([line async for line in waiting])

    with anyio.fail_after(LIMIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            waiting.end()
        os.write(send, b"three\n")
        for ended in (waiting, full):
            with pytest.raises(anyio.EndOfStream):
                await ended.receive()
    for end in pipe_ends:
        os.close(end)

    assert got == []


async def test_a_slow_reader_blocks_only_its_writer(pipe_ends: tuple[int, int]) -> None:
    """What does not fit into the pipe waits, whole and in order, while other tasks run."""
    receive, send = pipe_ends
    text = "0123456789" * 100_000
    written = anyio.Event()

    async def write() -> None:
        await PipeWriter(send).write(text)
        written.set()

    got = b""
    with anyio.fail_after(LIMIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            await anyio.wait_all_tasks_blocked()
            assert not written.is_set()
            while len(got) < len(text):
                await anyio.wait_readable(receive)
                got += os.read(receive, 65536)
    for end in pipe_ends:
        os.close(end)

    assert written.is_set()
    assert got.decode() == text


async def test_messages_that_wait_are_written_together() -> None:
    """In their order, each as a line; a later one is another write."""
    written: list[str] = []

    class Writer(PipeWriter):
        def __init__(self) -> None:
            """Have no pipe."""

        async def write(self, text: str) -> None:
            written.append(text)
            await anyio.lowlevel.checkpoint()

    send, receive = anyio.create_memory_object_stream[SessionMessage](0)
    async with receive, anyio.create_task_group() as tasks:
        tasks.start_soon(send_lines, receive, Writer())
        async with send:
            for numbers in ((1, 2, 3), (4,)):
                async with anyio.create_task_group() as senders:
                    for number in numbers:
                        message = JSONRPCResponse(jsonrpc="2.0", id=number, result={})
                        senders.start_soon(send.send, SessionMessage(message))
                await anyio.wait_all_tasks_blocked()

    assert [[json.loads(line)["id"] for line in text.splitlines()] for text in written] == [[1, 2, 3], [4]]


async def test_a_writer_without_a_reader_raises(pipe_ends: tuple[int, int]) -> None:
    """It does not wait without limit."""
    receive, send = pipe_ends
    os.close(receive)
    with pytest.raises(BrokenPipeError):
        await PipeWriter(send).write("nobody reads this")
    os.close(send)


async def test_a_client_that_closed_stdin_and_does_not_read_is_disconnected(
    pipe_ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow one that keeps them open has not."""
    monkeypatch.setattr(pipes_module, "UNREAD_SECONDS", 0.2)
    receive, send = pipe_ends
    source, requests = os.pipe()
    text = "0123456789" * 100_000
    outcomes: list[str] = []
    done = anyio.Event()

    async def write() -> None:
        for _ in range(2):
            try:
                await PipeWriter(send, source).write(text)
                outcomes.append("written")
            except BrokenPipeError as error:
                outcomes.append(str(error))
        done.set()

    got = 0
    with anyio.fail_after(LIMIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            with anyio.move_on_after(1):
                await done.wait()
            assert outcomes == []
            while got < len(text):
                await anyio.wait_readable(receive)
                got += len(os.read(receive, 65536))
            await anyio.wait_all_tasks_blocked()
            os.write(requests, b"not read either")
            os.close(requests)
            await done.wait()
    for end in (receive, send, source):
        os.close(end)

    assert outcomes[0] == "written"
    assert "closed stdin and read nothing for 0.2 s" in outcomes[1]


@pytest.mark.parametrize("flood", [1, 4000], ids=["one request", "more than a pipe holds"])
async def test_no_process_is_left_when_a_client_stops_reading_and_closes_stdin(
    environ: Mapping[str, str], tmp_path: Path, flood: int
) -> None:
    """The bridge ends, whether its write is blocked by one long list or its reading by what it cannot answer."""
    listing = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {"x": "y" * 500}}).encode()
    command = (sys.executable, "-m", "opencode_mcp")
    receive, send = os.pipe()
    async with await anyio.open_process(command, env=environ, cwd=tmp_path, stdout=send, stderr=None) as process:
        os.close(send)
        try:
            assert process.stdin is not None
            await process.stdin.send(json.dumps(INITIALIZE).encode() + b"\n" + listing + b"\n")
            await anyio.wait_readable(receive)
            with anyio.move_on_after(10):
                await process.stdin.send((listing + b"\n") * flood)
            await process.stdin.aclose()
            with anyio.fail_after(LIMIT_SECONDS):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
    os.close(receive)


def test_standard_input_may_be_a_file(environ: Mapping[str, str], tmp_path: Path) -> None:
    """What cannot be waited for is read by the SDK's own threads."""
    requests = tmp_path / "requests"
    requests.write_text(json.dumps(INITIALIZE) + "\n")
    with requests.open() as file:
        command = (sys.executable, "-m", "opencode_mcp")
        done = subprocess.run(
            command, stdin=file, capture_output=True, env=dict(environ), cwd=tmp_path, timeout=LIMIT_SECONDS, check=True
        )
    assert json.loads(done.stdout)["result"]["protocolVersion"] == "2025-11-25"


def test_printed_text_does_not_reach_the_client(environ: Mapping[str, str], tmp_path: Path) -> None:
    """Descriptor 1 is stderr while the server serves, for children as well, and it is stdout again afterwards."""
    script = (
        "import os, subprocess\n"
        "from opencode_mcp.server.stdio.streams import stdio_pipes\n"
        "with stdio_pipes() as streams:\n"
        "    assert streams\n"
        "    print('stray', flush=True)\n"
        "    subprocess.run(['echo', 'of a child'])\n"
        "    assert os.read(0, 1) == b''\n"
        "print('afterwards')\n"
    )
    done = subprocess.run(
        (sys.executable, "-c", script), input=b"for the wire\n", capture_output=True, timeout=LIMIT_SECONDS, check=True
    )
    assert done.stdout == b"afterwards\n"
    assert done.stderr == b"stray\nof a child\n"
