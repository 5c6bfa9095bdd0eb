"""One OpenCode for all bridges of a user: find the running one by its registration, or start it.

See `registration.py` for which bridges share one, and `shared_supervisor.py` for the protocol.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import chain, repeat
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.opencode.endpoint import OtherBridge

from .private_file import read_private_file
from .registration import Registration, read_registration
from .socket_stream import SocketStream
from .supervised import STOP_SECONDS

SUPERVISOR = (sys.executable, "-I", "-S", "-B", str(Path(__file__).with_name("shared_supervisor.py")))
"""Without -B, Python 3.11 leaves truncated bytecode on a full disk, and no later start succeeds."""
CONNECT_SECONDS = 20.0
"""How long a bridge tries to reach or start the supervisor."""
RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses between attempts to start it; the last one repeats."""
SEND_SECONDS = 2.0
QUIET_SLOTS = 2
"""Slots of a bridge whose requests do not wait, while those of others do."""
MAX_LINE_BYTES = 4_000_000
CLOSED = (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError)
"""What is raised when the supervisor has closed the connection, or was killed."""
MALFORMED = (anyio.DelimiterNotFound, AttributeError, KeyError, RecursionError, TypeError, ValueError)
"""What is raised by messages that a supervisor does not send."""
LOST_STATUS = -9
"""The exit status when the supervisor was killed."""


class SharedProcess:
    """A connection to the shared OpenCode, with the interface of `OpenCodeProcess`.

    `pid` is the supervisor's, which a user kills to stop OpenCode. `bridges` are all bridges, this one with `you`;
    None before the supervisor has named them. `address` is where OpenCode listens, None if it did not yet when a bridge
    last connected, disconnected or published something.
    `stop_reason` is why OpenCode was stopped, "" if it exited by itself. `was_lost`: its supervisor gave no reason.
    """

    def __init__(self, registration: Registration) -> None:
        self.pid = registration.pid
        self.password = registration.password
        self.bridges: list[dict[str, Any]] | None = None
        self.address: tuple[str, int] | None = None
        self._abandoned: tuple[str, ...] = ()
        self.stdout: MemoryObjectReceiveStream[bytes]
        self._output: MemoryObjectSendStream[bytes]
        self._output, self.stdout = anyio.create_memory_object_stream[bytes](1000)
        self._since = registration.since
        self._facts: dict[str, Any] = {}
        self._sent_facts: dict[str, Any] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._stop_message: dict[str, Any] = {}
        self._changed, self._sent = anyio.Event(), anyio.Event()
        self._exit_status: int | None = None
        self._exited = anyio.Event()
        self.stop_reason = ""
        self.was_lost = False

    @property
    def age_seconds(self) -> float:
        """The time since its start; 0 if the clock was set back meanwhile."""
        return max(0.0, time.time() - self._since)

    @property
    def others(self) -> tuple[OtherBridge, ...]:
        """The other bridges; one entry stands for all disconnected bridges with promised sessions."""
        gone = (OtherBridge("", 0, 0.0, active=self._abandoned, is_gone=True),) if self._abandoned else ()
        return gone + tuple(
            OtherBridge(
                str(entry.get("client", "")),
                int(entry.get("pid", 0)),
                float(entry.get("since", 0)),
                str(entry.get("directory", "")),
                tuple(entry.get("active", ())),
                bool(entry.get("waits")),
            )
            for entry in self.bridges or ()
            if not entry.get("you")
        )

    def publish(self, **facts: Any) -> None:
        """Publish facts about this bridge to the other bridges."""
        if not facts.items() <= self._facts.items():
            self._facts |= facts
            self._changed.set()

    async def wait_until_published(self) -> None:
        """Wait until the supervisor's connection has taken what was published; it is read even if this process ends."""
        with anyio.move_on_after(SEND_SECONDS):
            while self._sent_facts != self._facts and not self._exited.is_set():
                await self._sent.wait()

    def share_of(self, slots: int) -> int:
        """Return how many slots this bridge may use: the bridges whose requests wait share what the others leave."""
        others = [other for other in self.others if not other.is_gone]
        waiting = sum(other.waits for other in others)
        if self._facts.get("waits"):
            quiet = len(others) - waiting
            return max(QUIET_SLOTS, (slots - QUIET_SLOTS * quiet) // (waiting + 1))
        return QUIET_SLOTS if waiting else max(QUIET_SLOTS, slots // (len(others) + 1))

    def on_bridges_changed(self, callback: Callable[[], None]) -> None:
        """Call a function whenever another bridge has connected, disconnected or published something."""
        self._callbacks.append(callback)

    async def wait(self) -> int:
        """Wait until OpenCode has exited; return its status."""
        await self._exited.wait()
        assert self._exit_status is not None
        return self._exit_status

    def stop(self, force: bool = False, reason: str = "") -> None:
        """Stop OpenCode at the end of the block, unless other bridges have active work in it or `force` is given.

        The other bridges report the reason.
        """
        self._stop_message = {"stop": reason, "force": force}

    async def send_facts(self, stream: ByteStream) -> None:
        """Send the facts that this bridge publishes, after each change."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                await self._changed.wait()
                self._changed = anyio.Event()
                await self._send_facts_once(stream)

    async def _send_facts_once(self, stream: ByteStream) -> None:
        facts = self._facts.copy()
        await stream.send(encode({"set": facts}))
        self._sent_facts = facts
        self._sent.set()
        self._sent = anyio.Event()

    async def send_rest(self, stream: ByteStream) -> None:
        """Send the last facts, and the request to stop, before the connection is closed."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            if self._sent_facts != self._facts:
                await self._send_facts_once(stream)
            if self._stop_message:
                await stream.send(encode(self._stop_message))

    async def receive(self, lines: BufferedByteReceiveStream) -> None:
        """Receive until OpenCode or its supervisor has exited."""
        while self._exit_status is None:
            try:
                message = json.loads(await lines.receive_until(b"\n", MAX_LINE_BYTES))
                self.handle(message)
            except (*CLOSED, *MALFORMED):
                self._exit_status, self.was_lost = LOST_STATUS, True
                self.stop_reason = "the connection to its supervisor was lost"
            else:
                for callback in self._callbacks if "bridges" in message else ():
                    callback()
        self._exited.set()
        self._output.close()

    def handle(self, message: dict[str, Any]) -> None:
        """Handle a message of the supervisor."""
        if "output" in message:
            with suppress(anyio.WouldBlock, anyio.BrokenResourceError):  # it is for the log
                self._output.send_nowait(message["output"].encode())
        elif "bridges" in message:
            self.bridges = message["bridges"]
            self._abandoned = tuple(message["promised"])
            self.address = tuple(message["address"]) if message["address"] else None  # type: ignore[assignment]
        elif "exit" in message:
            self.stop_reason = str(message.get("reason", ""))
            self._exit_status = int(message["exit"])

    def close(self) -> None:
        """Close the stream of OpenCode's output."""
        self._output.close()
        self.stdout.close()


def encode(message: dict[str, Any]) -> bytes:
    """Return a message as it is sent."""
    return json.dumps(message).encode() + b"\n"


@asynccontextmanager
async def open_shared_process(
    key: str, folder: Path, command: Sequence[str], environ: Mapping[str, str], directory: str
) -> AsyncGenerator[SharedProcess]:
    """Connect to the OpenCode of a key for the block, after starting it if it does not run.

    Raises:
        ServerStartError: it cannot be started, or its supervisor does not answer.
    """
    path = folder / f"{key}.json"
    connection: Connection | None = None
    with anyio.move_on_after(CONNECT_SECONDS):
        pauses = chain(RETRY_SECONDS, repeat(RETRY_SECONDS[-1]))
        while (connection := await connect_once(path)) is None:
            await start_supervisor(folder, key, command, environ, directory)
            if (connection := await connect_once(path)) is not None:
                break
            await anyio.sleep(next(pauses))
    if connection is None:
        raise ServerStartError(describe_unreachable(path))
    async with follow(*connection) as process:
        yield process
    if process.was_lost:
        await start_supervisor(folder, key, (), environ, directory)


Connection = tuple[SharedProcess, SocketStream, BufferedByteReceiveStream]


@asynccontextmanager
async def follow(
    process: SharedProcess, stream: SocketStream, lines: BufferedByteReceiveStream
) -> AsyncGenerator[SharedProcess]:
    """Exchange messages with the supervisor for the block."""
    try:
        async with background_task_group() as tasks:
            tasks.start_soon(process.send_facts, stream)
            tasks.start_soon(process.receive, lines)
            yield process
    finally:
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(SEND_SECONDS):
                await process.send_rest(stream)
            await stream.aclose()
        process.close()


@asynccontextmanager
async def observe_shared(path: Path) -> AsyncGenerator[SharedProcess | None]:
    """Observe a registered OpenCode for the block, without keeping it; None if its supervisor does not answer."""
    connection: Connection | None = None
    with anyio.move_on_after(SEND_SECONDS):
        connection = await connect_once(path, observe=True)
    if connection is None:
        yield None
    else:
        async with follow(*connection) as process:
            yield process


async def connect_once(path: Path, observe: bool = False) -> Connection | None:
    """Connect to a registered supervisor; None if there is none, or it ends. With `observe` not as a bridge."""
    registration = read_registration(path)
    if registration is None:
        return None
    stream = SocketStream.connect(registration.address)
    if stream is None:
        return None
    process, lines = SharedProcess(registration), BufferedByteReceiveStream(stream)
    try:
        await stream.send(encode({"token": registration.token, "observe": observe}))
        while process.bridges is None:
            process.handle(json.loads(await lines.receive_until(b"\n", MAX_LINE_BYTES)))
    except BaseException as error:
        process.close()
        await stream.aclose()
        if isinstance(error, (*CLOSED, *MALFORMED)):
            return None
        raise
    return process, stream, lines


async def start_supervisor(
    folder: Path, key: str, command: Sequence[str], environ: Mapping[str, str], directory: str
) -> None:
    """Start the supervisor of a key, if none runs; without a command, end what a killed one has left.

    Raises:
        ServerStartError: with the reason that it gives.
    """
    process = await anyio.open_process(
        (*SUPERVISOR, str(folder), key, *command),
        env=environ,
        cwd=directory,
        stdin=DEVNULL,
        stderr=DEVNULL,
        start_new_session=True,
    )
    output = b""
    assert process.stdout is not None
    with anyio.CancelScope(shield=True), anyio.move_on_after(STOP_SECONDS):
        async with process.stdout:  # the supervisor closes it when it has registered
            async for chunk in process.stdout:
                output += chunk
        await process.wait()  # it has started another process, and has exited
    if output or process.returncode:
        reason = output.decode(errors="replace").strip()
        raise ServerStartError(reason or f"the supervisor of the shared OpenCode exited with {process.returncode}")


def describe_unreachable(path: Path) -> str:
    """Describe why a supervisor can be neither reached nor replaced."""
    registration = read_registration(path)
    if registration is None:
        reason = describe_untrusted(path) or f"nothing was registered at {path}"
        return f"OpenCode did not start within {CONNECT_SECONDS:g} s ({reason}); use --no-share"
    return (
        f"the supervisor of the shared OpenCode (process {registration.pid}) has not answered for "
        f"{CONNECT_SECONDS:g} s. `kill {registration.pid}` stops it, and aborts what runs. --no-share starts an "
        "OpenCode for this bridge alone."
    )


def describe_untrusted(path: Path) -> str:
    """Describe why a registration is not trusted though its supervisor runs; "" if it is, or does not exist."""
    try:
        read_private_file(path)
    except PermissionError as error:
        return str(error)
    except OSError:
        pass
    return ""
