"""The supervisor of an OpenCode that all bridges of a user share. It is a child of none of them.

shared_supervisor.py FOLDER NAME COMMAND… detaches from its parent, runs the command, writes the registration
FOLDER/NAME.json and serves the bridges that connect to the address in it. A lock admits one supervisor per name. It
ends some seconds after the last bridge has disconnected, later only while sessions run that a bridge has promised to
its client, and at most PROMISED_SECONDS later. Without a command it only ends what killed supervisors have left.

Messages are JSON objects, one per line. A bridge sends {"token": …} first ("observe": true makes it no bridge: it is
not announced, and OpenCode does not stay for it), then

    {"set": {"client": …, "directory": …, "pid": …, "active": […], "waits": …, "promised": {…}, "linger": …}}
    {"stop": "reason", "force": false}

and receives {"output": …} (OpenCode's output since its start), {"bridges": […], "promised": […], "address": …} (every
bridge, the promised sessions of disconnected ones, and where OpenCode listens, after changes) and last
{"exit": status, "reason": …}.

Run as a script, on the standard library alone.
"""

from __future__ import annotations

import json
import math
import os
import queue
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import leftovers
import supervisor
from bridge_connection import CHUNK_BYTES, LINGER_SECONDS, MAX_UNSENT_BYTES, BridgeConnection
from private_file import read_private_file, write_private_file
from promised_sessions import PromisedSessions
from start_error import explain

PROMISED_SECONDS = 3_600.0
"""How long OpenCode runs without a bridge while promised sessions run."""
TOKEN_SECONDS = 10.0
"""A connection that has sent no token by then is closed."""
REPORT_EXIT_SECONDS = 2.0
"""How long the bridges may take to receive the exit status."""
MAX_CONNECTIONS = 200
"""Below the limit of open files of macOS, 256."""
OUTPUT_BYTES = 64_000
"""How much of the end of OpenCode's output a new bridge receives."""
STOPPED_STATUS = -signal.SIGKILL if hasattr(signal, "SIGKILL") else 1


class SharedSupervisor:
    """Runs one OpenCode and serves its bridges, in one thread; others wait for OpenCode's output, exit and answers."""

    def __init__(self, folder: Path, name: str, command: list[str]) -> None:
        self.about: dict[str, Any] = json.loads(os.environ.pop("OPENCODE_MCP_REGISTERED", "{}"))
        self.registration = folder / f"{name}.json"
        self.command = command
        self.token = secrets.token_urlsafe(24)
        self.child: subprocess.Popen[bytes] | None = None
        self.bridges: dict[int, BridgeConnection] = {}
        self.has_changed = self.had_bridge = self.has_output_ended = False
        self.output = b""
        self.chunks: queue.Queue[bytes] = queue.Queue(16)
        self.listening_line = b""
        self.listen_address: tuple[str, int] | None = None
        self.exit: tuple[int, str] | None = None
        self.linger = LINGER_SECONDS
        self.idle_since = time.monotonic()
        self.promised = PromisedSessions(self.handle_check)
        self.selector = selectors.DefaultSelector()
        self.wake_reader, self.wake_writer = socket.socketpair()
        self.wake_writer.setblocking(False)
        self.selector.register(self.wake_reader, selectors.EVENT_READ)
        with explain("cannot create a folder for temporary files"):
            self.temporary = Path(tempfile.mkdtemp(prefix=leftovers.PREFIX))

    def listen(self) -> socket.socket:
        """Listen for bridges on a Unix socket in a folder of the user's; on loopback, where the token alone protects
        it, if the system has none or the path is too long for one."""
        try:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self.temporary / "socket"))
        except (AttributeError, OSError):
            listener = socket.create_server(("127.0.0.1", 0))
        listener.listen(128)
        listener.setblocking(False)
        return listener

    def start(self) -> None:
        """Run the command.

        Raises:
            OSError: nothing is left behind.
        """
        try:
            with explain("cannot create a folder for temporary files"):
                (self.temporary / "tmp").mkdir()
                self.listener = self.listen()
            self.selector.register(self.listener, selectors.EVENT_READ)
            self.register()  # before the command runs: a later start ends what this one leaves if it is killed
            with explain(f"cannot run {self.command[0]}"):
                self.child = supervisor.spawn(self.command, str(self.temporary / "tmp"))
            self.register()
        except OSError:
            self.remove_all()
            raise
        threading.Thread(target=self.read_output, args=(self.child,), daemon=True).start()
        threading.Thread(target=self.wait_for_exit, args=(self.child,), daemon=True).start()

    def register(self) -> None:
        """Write the registration, readable by its owner alone.

        Raises:
            OSError: the folder cannot be written.
        """
        password = os.environ.get("OPENCODE_SERVER_PASSWORD", "")
        pid = 0 if self.child is None else self.child.pid
        record = {
            "pid": os.getpid(),
            "started": supervisor.process_start(os.getpid()),
            "address": self.listener.getsockname(),
            "key": {
                "token": self.token,
                "password": password,
                "authorization": supervisor.authorization().removeprefix("Basic "),
            },
            "command": self.command,
            "opencode_pid": pid,
            "opencode_started": supervisor.process_start(pid) if pid else "",
            "temporary": str(self.temporary),
            "since": time.time(),
            "about": self.about,
        }
        with explain(f"cannot write {self.registration} (--no-share does not need it)"):
            write_private_file(self.registration, json.dumps(record))

    def wake(self, number: int = 0, frame: object = None) -> None:
        """Wake the serving thread; as the handler of a signal, let it end."""
        if number:
            self.exit = 128 + number, signal.Signals(number).name
        with suppress(BlockingIOError):  # it is awake
            self.wake_writer.send(b"w")

    def read_output(self, child: subprocess.Popen[bytes]) -> None:
        """Pass OpenCode's output to the serving thread; b"" is its end."""
        assert child.stdout is not None
        chunk = None
        while chunk != b"":
            chunk = os.read(child.stdout.fileno(), CHUNK_BYTES)
            self.chunks.put(chunk)
            self.wake()

    def wait_for_exit(self, child: subprocess.Popen[bytes]) -> None:
        """Wake the serving thread when OpenCode has exited."""
        child.wait()
        self.wake()

    def serve(self) -> None:
        """Serve until OpenCode exits, is stopped, or is no longer needed."""
        while not self.is_over():
            for key, mask in self.selector.select(self.seconds_to_wait()):
                if key.fileobj is self.listener:
                    self.accept()
                elif key.fileobj is self.wake_reader:
                    self.wake_reader.recv(4096)
                elif (bridge := self.bridges.get(key.fd)) is not None:
                    self.exchange(bridge, mask)
            for _ in range(self.chunks.qsize()):
                self.forward(self.chunks.get())
            self.close_silent()
            self.promised.check(self.listen_address)
            if self.has_changed:
                self.announce()

    def is_over(self) -> bool:
        """Whether to end; `exit` then says why."""
        assert self.child is not None
        # Without a bridge yet, the one that has started OpenCode is about to come, and reports its exit.
        if self.had_bridge and (status := self.child.poll()) is not None:
            self.exit = self.exit or (status, "")
        elif not self.known_bridges and time.monotonic() >= self.end_time:
            self.exit = self.exit or (0, "no assistant uses it")
        return self.exit is not None

    @property
    def end_time(self) -> float:
        """When OpenCode ends if no bridge comes and no promised session ends, by the monotonic clock."""
        return self.idle_since + (max(self.linger, PROMISED_SECONDS) if self.promised.directories else self.linger)

    def seconds_to_wait(self) -> float | None:
        """Return the seconds until there is something to do even if no process says anything; None: never."""
        times = [bridge.opened + TOKEN_SECONDS for bridge in self.bridges.values() if bridge.facts is None]
        times += [self.promised.next_check] if self.promised.directories else []
        times += [] if self.known_bridges else [self.end_time]
        seconds = min(times, default=math.inf) - time.monotonic()
        return None if seconds == math.inf else max(0.0, seconds)

    @property
    def known_bridges(self) -> list[BridgeConnection]:
        """The bridges that have sent the token."""
        return [bridge for bridge in self.bridges.values() if bridge.is_known]

    def accept(self) -> None:
        """Accept a connection; of too many, close the oldest that has sent no token, or else the new one."""
        try:
            connection, _ = self.listener.accept()
        except OSError:  # it is gone again, or there are no descriptors
            time.sleep(0.01)
            return
        if len(self.bridges) >= MAX_CONNECTIONS:
            silent = [bridge for bridge in self.bridges.values() if bridge.facts is None]
            if not silent:
                connection.close()
                return
            self.close(min(silent, key=lambda bridge: bridge.opened))
        connection.setblocking(False)
        self.bridges[connection.fileno()] = BridgeConnection(connection)
        self.selector.register(connection, selectors.EVENT_READ)

    def exchange(self, bridge: BridgeConnection, mask: int) -> None:
        """Send what is unsent, and read what has arrived."""
        try:
            if mask & selectors.EVENT_READ:
                for message in bridge.receive():
                    self.handle(bridge, message)
            self.flush(bridge)
        except BlockingIOError:
            pass
        except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
            self.close(bridge)  # it is gone, or speaks another protocol

    def handle(self, bridge: BridgeConnection, message: dict[str, Any]) -> None:
        """Handle a message of a bridge."""
        if bridge.facts is None:
            if not secrets.compare_digest(str(message["token"]), self.token):
                raise ValueError("wrong token")
            bridge.facts, bridge.observes = {}, bool(message.get("observe"))
            self.had_bridge = self.has_changed = True
            head = b"" if self.listening_line in self.output else self.listening_line
            bridge.queue({"output": (head + self.output).decode(errors="replace")})
        elif "set" in message:
            before = bridge.promised
            bridge.update_facts(message["set"])
            self.promised.remove({*before, *bridge.promised})  # they have ended, or are promised by this bridge now
            self.has_changed = True
        elif "stop" in message:
            others_work = any(other.is_active for other in self.known_bridges if other is not bridge)
            if message.get("force") or not (others_work or self.promised.directories):
                self.exit = STOPPED_STATUS, str(message["stop"])

    def announce(self) -> None:
        """Send every bridge and observer the list of bridges; `you` marks the receiver's own entry."""
        self.has_changed = False
        known = self.known_bridges
        facts = {"promised": [*self.promised.directories], "address": self.listen_address}
        for receiver in [bridge for bridge in self.bridges.values() if bridge.facts is not None]:
            bridges = [{**bridge.public_facts(), "you": bridge is receiver} for bridge in known]
            self.send(receiver, {"bridges": bridges, **facts})

    def forward(self, chunk: bytes) -> None:
        """Send OpenCode's output to every bridge, and extract the listen address."""
        self.has_output_ended = not chunk
        self.output = (self.output + chunk)[-OUTPUT_BYTES:]
        match = None if self.listen_address else supervisor.LISTENING.search(self.output)
        if match is not None and match.end() < len(self.output):
            self.listen_address = match[1].decode(), int(match[2])
            start = self.output.rfind(b"\n", 0, match.start()) + 1
            self.listening_line = self.output[start:].partition(b"\n")[0] + b"\n"
        for bridge in self.known_bridges:
            if len(bridge.unsent) < MAX_UNSENT_BYTES:
                self.send(bridge, {"output": chunk.decode(errors="replace")})

    def send(self, bridge: BridgeConnection, message: dict[str, Any]) -> None:
        """Send a message as far as the bridge reads, and the rest later."""
        try:
            bridge.queue(message)
            self.flush(bridge)
        except (OSError, ValueError):  # it is gone, or does not read
            self.close(bridge)

    def flush(self, bridge: BridgeConnection) -> None:
        """Send what the connection takes now, and wait until it takes the rest."""
        bridge.flush()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if bridge.unsent else 0)
        self.selector.modify(bridge.connection, events)

    def close(self, bridge: BridgeConnection) -> None:
        """Close a connection; what the bridge has promised remains promised."""
        if self.bridges.pop(bridge.connection.fileno(), None) is None:
            return
        self.selector.unregister(bridge.connection)
        bridge.connection.close()
        if bridge.is_known:
            self.promised.add(bridge.promised)
            self.linger = bridge.linger
            self.idle_since = time.monotonic()
            self.has_changed = True

    def close_silent(self) -> None:
        """Close the connections that have not sent the token in time."""
        for bridge in list(self.bridges.values()):
            if bridge.facts is None and time.monotonic() - bridge.opened > TOKEN_SECONDS:
                self.close(bridge)

    def handle_check(self, has_changed: bool) -> None:
        """Continue, from another thread, after a check of the promised sessions."""
        self.has_changed |= has_changed
        self.wake()

    def end(self) -> None:
        """End OpenCode and its descendants, and report the exit to the bridges."""
        assert self.child is not None
        if self.child.poll() is None and self.listen_address is not None:
            supervisor.dispose(*self.listen_address)
        self.remove_all()
        deadline = time.monotonic() + supervisor.OUTPUT_SECONDS
        with suppress(queue.Empty):
            while not self.has_output_ended and time.monotonic() < deadline:
                self.forward(self.chunks.get(timeout=supervisor.OUTPUT_SECONDS))
        status, reason = self.exit or (1, "its supervisor failed")
        deadline = time.monotonic() + REPORT_EXIT_SECONDS
        for bridge in [bridge for bridge in self.bridges.values() if bridge.facts is not None]:
            bridge.send_last({"exit": status, "reason": reason}, deadline - time.monotonic())

    def remove_all(self) -> None:
        """End the processes, and remove the files."""
        if self.child is not None:
            supervisor.kill_descendants(self.child.pid)
        with suppress(OSError):  # it was removed
            if self.token.encode() in read_private_file(self.registration):  # else it is another supervisor's by now
                self.registration.unlink()
        shutil.rmtree(self.temporary, ignore_errors=True)


def run(folder: Path, name: str, command: list[str]) -> None:
    """End the processes that killed supervisors have left; with a command, run the supervisor."""
    lock = folder / f"{name}.lock"
    with explain(f"cannot write {lock} (--no-share does not need it)"):
        file = leftovers.acquire_lock(lock)
    if file is None:
        return
    try:
        supervisor.adopt_orphans()
        leftovers.end_all_leftovers(folder, name)
        if command:
            serve(SharedSupervisor(folder, name, command))
    finally:
        leftovers.release_lock(lock, file)


def serve(shared: SharedSupervisor) -> None:
    """Run OpenCode and serve its bridges until it ends; nothing that it has started remains."""
    supervisor.ignore_terminal_signals()
    signal.signal(signal.SIGTERM, shared.wake)
    shared.start()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)  # the end of its output tells the bridge that it has registered
    try:
        shared.serve()
    finally:
        shared.end()


def main(folder: Path, name: str, command: list[str]) -> int:
    """Run the supervisor. What it prints before it has registered is the reason of a failure."""
    supervisor.detach()
    try:
        run(folder, name, command)
    except OSError as error:
        sys.stdout.write(f"{error}\n")
        return 127
    except Exception:
        sys.stdout.write(traceback.format_exc())
        return 1
    return 0


if __name__ == "__main__":
    exit_status = main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
    sys.stdout.flush()
    os._exit(exit_status)  # threads may still wait
