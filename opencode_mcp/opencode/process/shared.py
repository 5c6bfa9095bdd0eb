"""One OpenCode for all bridges of a user: find the running one by its registration, or start it.

The bridges that share it have the same program, version and environment (but for VOLATILE_VARIABLES): the model's shell
commands inherit the server's environment. The key is a hash of all that; see `shared_supervisor.py` for the protocol.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL
from typing import Any, cast

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.opencode.endpoint import OtherBridge

from .cache import is_owned_by_user, shared_folder
from .executable import Program
from .supervised import STOP_SECONDS
from .supervisor import process_start

PROTOCOL = 1
"""Part of the key, so that only bridges that speak the same protocol share a supervisor."""
CONNECT_SECONDS = 20.0
"""How long a bridge tries to reach or start the supervisor."""
RETRY_SECONDS = 0.05
SEND_SECONDS = 2.0
QUIET_SLOTS = 2
"""Slots of a bridge whose requests do not wait, while those of others do."""
MAX_LINE_BYTES = 4_000_000
ENDED = (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError)
"""What is raised when the supervisor has closed the connection, or was killed."""
LOST_STATUS = -9
"""The exit status when the supervisor was killed."""

VOLATILE_VARIABLES = frozenset(
    {
        # Shells
        "_",
        "COLUMNS",
        "LINES",
        "OLDPWD",
        "PWD",
        "SHLVL",
        # Terminals and multiplexers
        "COLORTERM",
        "LC_TERMINAL",
        "LC_TERMINAL_VERSION",
        "SSH_CLIENT",
        "SSH_CONNECTION",
        "SSH_TTY",
        "STY",
        "TERM",
        "TERM_PROGRAM",
        "TERM_PROGRAM_VERSION",
        "TERM_SESSION_ID",
        "TMUX",
        "TMUX_PANE",
        "VTE_VERSION",
        "WINDOW",
        "WINDOWID",
        # Desktops and service managers
        "DESKTOP_STARTUP_ID",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "MEMORY_PRESSURE_WATCH",
        "MEMORY_PRESSURE_WRITE",
        "SECURITYSESSIONID",
        "SYSTEMD_EXEC_PID",
        "XDG_ACTIVATION_TOKEN",
        "XDG_SESSION_ID",
        "XPC_FLAGS",
        "XPC_SERVICE_NAME",
        "__CFBundleIdentifier",
        # Package runners
        "INIT_CWD",
        "UV",
        "UV_RUN_RECURSION_DEPTH",
    }
)
"""Variables that do not keep bridges apart: the shared OpenCode has the values of the bridge that started it."""
VOLATILE_PREFIXES = (
    "ALACRITTY_",
    "GHOSTTY_",
    "GIO_LAUNCHED_DESKTOP_FILE",
    "GNOME_TERMINAL_",
    "ITERM_",
    "KITTY_",
    "KONSOLE_",
    "OPENCODE_MCP_",
    "VSCODE_",
    "WEZTERM_",
    "WT_",
    "ZELLIJ",
    "npm_",
)
"""Variables with these prefixes do not either. `OPENCODE_MCP_` are settings of the bridge, not of OpenCode."""

log = logging.getLogger(__name__)


def is_volatile(name: str) -> bool:
    """Whether a variable differs between windows of the same user, and does not change how commands run."""
    return name in VOLATILE_VARIABLES or name.startswith(VOLATILE_PREFIXES)


@dataclass(frozen=True)
class Registration:
    """The registration of a supervisor. `address` is a path, or a host and port; `since` is in seconds of the epoch."""

    pid: int
    started: str
    address: str | tuple[str, int]
    token: str = field(repr=False)
    password: str = field(repr=False)
    opencode_pid: int
    since: float


def make_shared_folder(environ: Mapping[str, str]) -> Path:
    """Create the folder of registrations, private to the user, and return it.

    Raises:
        ServerStartError: it cannot be created, or belongs to another user.
    """
    folder = shared_folder(environ)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name != "nt":
            if not is_owned_by_user(folder):
                raise ServerStartError(f"{folder} belongs to another user. Remove it, or use --no-share.")
            folder.chmod(0o700)
    except OSError as error:
        raise ServerStartError(f"cannot use {folder}: {error}. Free it, or use --no-share.") from error
    return folder


def compute_key(program: Program, environ: Mapping[str, str]) -> str:
    """Return the name under which bridges with this program and environment find each other."""
    variables = sorted((name, value) for name, value in environ.items() if not is_volatile(name))
    facts = [PROTOCOL, program.command, program.path, program.version, variables]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def read_registration(path: Path) -> Registration | None:
    """Read a registration; None if there is none, or its supervisor does not run any more."""
    try:
        status = path.stat()
        record: dict[str, Any] = json.loads(path.read_bytes())
        address = record["address"]
        registration = Registration(
            record["pid"],
            record["started"],
            address if isinstance(address, str) else tuple(cast("list[Any]", address)),  # type: ignore[arg-type]
            record["key"]["token"],
            record["key"]["password"],
            record["opencode_pid"],
            record["since"],
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if os.name != "nt" and (status.st_uid != os.geteuid() or status.st_mode & 0o077):
        log.warning("%s is not believed: it is not this user's alone", path)
        return None
    return registration if process_start(registration.pid) == registration.started else None


class SharedProcess:
    """A connection to the OpenCode that bridges share; it has what a process of its own has.

    `pid` is the supervisor's, which a user kills to stop OpenCode. `bridges` are all bridges, this one with `you`.
    """

    def __init__(self, registration: Registration) -> None:
        self.pid = registration.pid
        self.password = registration.password
        self.bridges: list[dict[str, Any]] = []
        self.stdout: MemoryObjectReceiveStream[bytes]
        self._output: MemoryObjectSendStream[bytes]
        self._output, self.stdout = anyio.create_memory_object_stream[bytes](1000)
        self._since = registration.since
        self._facts: dict[str, Any] = {}
        self._sent_facts: dict[str, Any] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._last_words: dict[str, Any] = {}
        self._changed = anyio.Event()
        self._exit_status: int | None = None
        self._exited = anyio.Event()

    @property
    def age_seconds(self) -> float:
        """The time since its start."""
        return time.time() - self._since

    @property
    def others(self) -> tuple[OtherBridge, ...]:
        """The other bridges."""
        return tuple(
            OtherBridge(
                str(entry.get("client", "")),
                int(entry.get("pid", 0)),
                float(entry.get("since", 0)),
                str(entry.get("directory", "")),
                tuple(entry.get("active", ())),
                bool(entry.get("waits")),
            )
            for entry in self.bridges
            if not entry.get("you")
        )

    def publish(self, **facts: Any) -> None:
        """Tell the other bridges about this one."""
        if not facts.items() <= self._facts.items():
            self._facts |= facts
            self._changed.set()

    def share_of(self, slots: int) -> int:
        """Return how many slots this bridge may use: the bridges whose requests wait share what the others leave."""
        waiting = sum(other.waits for other in self.others)
        if self._facts.get("waits"):
            quiet = len(self.others) - waiting
            return max(QUIET_SLOTS, (slots - QUIET_SLOTS * quiet) // (waiting + 1))
        return QUIET_SLOTS if waiting else max(QUIET_SLOTS, slots // (len(self.others) + 1))

    def on_bridges_changed(self, callback: Callable[[], None]) -> None:
        """Call a function whenever another bridge has come, gone, or told something."""
        self._callbacks.append(callback)

    async def wait(self) -> int:
        """Wait until OpenCode has exited; return its status."""
        await self._exited.wait()
        assert self._exit_status is not None
        return self._exit_status

    def stop(self, force: bool = False) -> None:
        """Stop OpenCode at the end of the block, unless other bridges have active work in it or `force` is given."""
        self._last_words = {"stop": "", "force": force}

    async def send_facts(self, stream: ByteStream) -> None:
        """Send what this bridge tells about itself, after each change."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                await self._changed.wait()
                self._changed = anyio.Event()
                await self._send_facts_once(stream)

    async def _send_facts_once(self, stream: ByteStream) -> None:
        facts = self._facts.copy()
        await stream.send(encode({"set": facts}))
        self._sent_facts = facts

    async def send_rest(self, stream: ByteStream) -> None:
        """Send what is left to say before the connection is closed."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            if self._sent_facts != self._facts:
                await self._send_facts_once(stream)
            if self._last_words:
                await stream.send(encode(self._last_words))

    async def receive(self, lines: BufferedByteReceiveStream) -> None:
        """Receive until OpenCode or its supervisor has exited."""
        try:
            while self._exit_status is None:
                self.handle(json.loads(await lines.receive_until(b"\n", MAX_LINE_BYTES)))
        except ENDED:
            self._exit_status = LOST_STATUS
        self._exited.set()
        self._output.close()

    def handle(self, message: dict[str, Any]) -> None:
        """Handle a message of the supervisor."""
        if "output" in message:
            with suppress(anyio.WouldBlock, anyio.BrokenResourceError):  # it is for the log
                self._output.send_nowait(message["output"].encode())
        elif "bridges" in message:
            self.bridges = message["bridges"]
            for callback in self._callbacks:
                callback()
        elif "exit" in message:
            self._exit_status = int(message["exit"])

    def close(self) -> None:
        """Close the stream of OpenCode's output."""
        self._output.close()
        self.stdout.close()

    @property
    def was_lost(self) -> bool:
        """Whether the supervisor has gone without a word."""
        return self._exit_status == LOST_STATUS


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
        while (connection := await connect_once(path)) is None:
            await start_supervisor(folder, key, command, environ, directory)
            await anyio.sleep(RETRY_SECONDS)
    if connection is None:
        raise ServerStartError(describe_silence(path))
    process, stream, lines = connection
    try:
        async with background_task_group() as tasks:
            tasks.start_soon(process.send_facts, stream)
            tasks.start_soon(process.receive, lines)
            yield process
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(SEND_SECONDS):
            await process.send_rest(stream)
            await stream.aclose()
        process.close()
    if process.was_lost:
        await start_supervisor(folder, key, (), environ, directory)


Connection = tuple[SharedProcess, ByteStream, BufferedByteReceiveStream]


async def connect_once(path: Path) -> Connection | None:
    """Connect to a registered supervisor; None if there is none, or it ends."""
    registration = read_registration(path)
    if registration is None:
        return None
    try:
        if isinstance(registration.address, str):
            stream = await anyio.connect_unix(registration.address)
        else:
            stream = await anyio.connect_tcp(*registration.address)
    except OSError:
        return None
    process, lines = SharedProcess(registration), BufferedByteReceiveStream(stream)
    try:
        await stream.send(encode({"token": registration.token}))
        while not process.bridges:
            process.handle(json.loads(await lines.receive_until(b"\n", MAX_LINE_BYTES)))
    except BaseException as error:
        process.close()
        await anyio.aclose_forcefully(stream)
        if isinstance(error, ENDED):
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
    script = Path(__file__).with_name("shared_supervisor.py")
    process = await anyio.open_process(
        (sys.executable, "-I", "-S", str(script), str(folder), key, *command),
        env=environ,
        cwd=directory,
        stdin=DEVNULL,
        stderr=DEVNULL,
        start_new_session=True,
    )
    with anyio.CancelScope(shield=True), anyio.move_on_after(STOP_SECONDS):
        assert process.stdout is not None
        output = b"".join([chunk async for chunk in process.stdout])
        await process.wait()
        if output:
            raise ServerStartError(output.decode(errors="replace").strip())


def describe_silence(path: Path) -> str:
    """Describe a supervisor that can be neither reached nor replaced."""
    registration = read_registration(path)
    if registration is None:
        return f"OpenCode did not start within {CONNECT_SECONDS:g} s (its registration would be {path}); use --no-share"
    return (
        f"the supervisor of the shared OpenCode (process {registration.pid}) has not answered for "
        f"{CONNECT_SECONDS:g} s. `kill {registration.pid}` stops it and the work in it. --no-share starts an OpenCode "
        "of this bridge alone."
    )
