"""The supervisor of an OpenCode that all bridges of a user share. It is a child of none of them.

shared_supervisor.py FOLDER NAME COMMAND… detaches from its parent, runs the command, writes the registration
FOLDER/NAME.json and serves the bridges that connect to the address in it. A lock admits one supervisor per name. It
ends some seconds after the last bridge has disconnected, later only while sessions run that a bridge has promised to
its client, and at most PROMISED_SECONDS later.

Messages are JSON objects, one per line. A bridge sends {"token": …} first ("observe": true makes it no bridge: it is
not announced, and OpenCode does not stay for it), then

    {"set": {"client": …, "directory": …, "active": […], "waiting": …, "promised": […], "linger": …}}
    {"stop": "reason", "force": false}

and receives {"output": …} (OpenCode's output since its start), {"bridges": […], "promised": […], "address": …} (every
bridge, what bridges that have gone have promised, and where OpenCode listens, after each change) and last
{"exit": status}.

Run as a script, on the standard library alone.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).parent))

import supervisor

LINGER_SECONDS = 15.0
"""How long OpenCode runs without a bridge, if the last one has asked for no other time."""
PROMISED_SECONDS = 3_600.0
"""How long OpenCode runs without a bridge while promised sessions run."""
STATUS_INTERVAL_SECONDS = 5.0
STATUS_SECONDS = 5.0
TOKEN_SECONDS = 10.0
"""A connection that has sent no token by then is closed."""
MAX_LINE_BYTES = 1_000_000
MAX_UNSENT_BYTES = 1_000_000
"""A bridge that does not read loses OpenCode's output beyond this, and beyond twice this its connection."""
OUTPUT_BYTES = 64_000
"""How much of the end of OpenCode's output a new bridge receives."""


class Bridge:
    """The connection of a bridge, or of an observer. `facts` is what the bridge has told about itself."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.facts: dict[str, Any] | None = None
        self.observes = False
        self.received = b""
        self.unsent = b""
        self.since = time.time()
        self.opened = time.monotonic()

    @property
    def is_connected(self) -> bool:
        """Whether it has sent the token, and is a bridge."""
        return self.facts is not None and not self.observes


class SharedSupervisor:
    """Runs one OpenCode and serves its bridges, in one thread; two others wait for OpenCode's output and exit."""

    def __init__(self, folder: Path, name: str, command: list[str]) -> None:
        self.about: dict[str, Any] = json.loads(os.environ.pop("OPENCODE_MCP_REGISTERED", "{}"))
        self.registration = folder / f"{name}.json"
        self.token = secrets.token_urlsafe(24)
        self.temporary = Path(tempfile.mkdtemp(prefix="opencode-mcp-"))
        self.bridges: dict[int, Bridge] = {}
        self.output = b""
        self.linger = LINGER_SECONDS
        self.idle_since = time.monotonic()
        self.had_bridge = False
        self.promised: dict[str, str] = {}
        self.next_status = 0.0
        self.listen_address: list[tuple[str, int]] = []
        self.selector = selectors.DefaultSelector()
        self.wake_reader, self.wake_writer = socket.socketpair()
        self.selector.register(self.wake_reader, selectors.EVENT_READ)
        self.listener = self.listen()
        self.command = command
        (self.temporary / "tmp").mkdir()
        self.child = supervisor.spawn(command, str(self.temporary / "tmp"))
        self.chunks: list[bytes] = []
        threading.Thread(target=self.read_output, daemon=True).start()
        threading.Thread(target=self.wait_for_exit, daemon=True).start()

    def listen(self) -> socket.socket:
        """Listen for bridges: on a Unix socket in a folder of the user's, or on loopback where there is none."""
        if hasattr(socket, "AF_UNIX"):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self.temporary / "socket"))
        else:
            listener = socket.socket(socket.AF_INET)
            listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        listener.setblocking(False)
        self.selector.register(listener, selectors.EVENT_READ)
        return listener

    def register(self) -> None:
        """Write the registration, readable by its owner alone."""
        password = os.environ.get("OPENCODE_SERVER_PASSWORD", "")
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
            "opencode_pid": self.child.pid,
            "opencode_started": supervisor.process_start(self.child.pid),
            "temporary": str(self.temporary),
            "since": time.time(),
            "about": self.about,
        }
        draft = self.registration.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(record, file)
        draft.replace(self.registration)

    def read_output(self) -> None:
        """Pass OpenCode's output to the serving thread."""
        assert self.child.stdout is not None
        while chunk := os.read(self.child.stdout.fileno(), supervisor.CHUNK_BYTES):
            self.chunks.append(chunk)
            self.wake_writer.send(b"o")

    def wait_for_exit(self) -> None:
        """Wake the serving thread when OpenCode has exited."""
        self.child.wait()
        self.wake_writer.send(b"x")

    def serve(self) -> None:
        """Serve until OpenCode exits, or is needed by no bridge; does not return."""
        while True:
            for key, mask in self.selector.select(self.seconds_to_wait()):
                if key.fileobj is self.listener:
                    self.accept()
                elif key.fileobj is self.wake_reader:
                    self.wake_reader.recv(4096)
                elif (bridge := self.bridges.get(key.fd)) is not None:
                    self.exchange(bridge, mask)
            while self.chunks:
                self.forward(self.chunks.pop(0))
            if self.had_bridge and (status := self.child.poll()) is not None:
                self.end(status)  # else the bridge that has started OpenCode is about to come, and reports it
            self.close_silent()
            if self.is_unneeded():
                self.end(0)

    def seconds_to_wait(self) -> float | None:
        """Return the seconds until there is something to do even if no process says anything; None: never."""
        times = [bridge.opened + TOKEN_SECONDS for bridge in self.bridges.values() if bridge.facts is None]
        if not any(bridge.is_connected for bridge in self.bridges.values()):
            times.append(max(self.idle_since + self.linger, self.next_status))
        return max(0.0, min(times) - time.monotonic()) if times else None

    def accept(self) -> None:
        """Accept a connection."""
        with suppress(OSError):  # it is gone again
            connection, _ = self.listener.accept()
            connection.setblocking(False)
            self.bridges[connection.fileno()] = Bridge(connection)
            self.selector.register(connection, selectors.EVENT_READ)

    def exchange(self, bridge: Bridge, mask: int) -> None:
        """Send what is unsent, and read what has arrived."""
        try:
            if mask & selectors.EVENT_WRITE:
                self.flush(bridge)
            if mask & selectors.EVENT_READ:
                data = bridge.connection.recv(supervisor.CHUNK_BYTES)
                *lines, bridge.received = (bridge.received + data).split(b"\n")
                for line in lines:
                    self.handle(bridge, json.loads(line))
                if not data or len(bridge.received) > MAX_LINE_BYTES:
                    self.close(bridge)
        except BlockingIOError:
            pass
        except (OSError, ValueError, TypeError, AttributeError, KeyError):  # it is gone, or speaks another protocol
            self.close(bridge)

    def handle(self, bridge: Bridge, message: dict[str, Any]) -> None:
        """Handle a message of a bridge."""
        if bridge.facts is None:
            if not secrets.compare_digest(str(message["token"]), self.token):
                raise ValueError("wrong token")
            bridge.facts = {}
            bridge.observes = bool(message.get("observe"))
            self.had_bridge = True
            self.send(bridge, {"output": self.output.decode(errors="replace")})
            self.announce()
        elif "set" in message:
            for session in bridge.facts.get("promised", {}).keys() - message["set"].get("promised", {}).keys():
                self.promised.pop(session, None)  # it has ended
            bridge.facts.update(message["set"])
            self.linger = float(bridge.facts.get("linger", LINGER_SECONDS))
            self.announce()
        elif "stop" in message:
            others = [other.facts or {} for other in self.bridges.values() if other is not bridge]
            if message.get("force") or not any(facts.get("active") for facts in others):
                self.end(-signal.SIGKILL if os.name != "nt" else 1)

    def announce(self) -> None:
        """Send every bridge the list of bridges; `you` marks the receiver's own entry."""
        known = [bridge for bridge in self.bridges.values() if bridge.is_connected]
        for receiver in [bridge for bridge in self.bridges.values() if bridge.facts is not None]:
            entries = [{**(bridge.facts or {}), "since": bridge.since, "you": bridge is receiver} for bridge in known]
            address = self.listen_address[0] if self.listen_address else None
            self.send(receiver, {"bridges": entries, "promised": [*self.promised], "address": address})

    def forward(self, chunk: bytes) -> None:
        """Send OpenCode's output to every bridge, and extract the listen address."""
        self.output = (self.output + chunk)[-OUTPUT_BYTES:]
        match = None if self.listen_address else supervisor.LISTENING.search(self.output)
        if match is not None and match.end() < len(self.output):
            self.listen_address.append((match[1].decode(), int(match[2])))
        for bridge in list(self.bridges.values()):
            if bridge.facts is not None and len(bridge.unsent) < MAX_UNSENT_BYTES:
                self.send(bridge, {"output": chunk.decode(errors="replace")})

    def send(self, bridge: Bridge, message: dict[str, Any]) -> None:
        """Send a message as far as the bridge reads, and the rest later."""
        bridge.unsent += json.dumps(message).encode() + b"\n"
        if len(bridge.unsent) > 2 * MAX_UNSENT_BYTES:
            self.close(bridge)
            return
        with suppress(OSError):  # its end is seen when it is read
            self.flush(bridge)

    def flush(self, bridge: Bridge) -> None:
        """Send what the connection takes now."""
        with suppress(BlockingIOError):
            while bridge.unsent:
                bridge.unsent = bridge.unsent[bridge.connection.send(bridge.unsent) :]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if bridge.unsent else 0)
        self.selector.modify(bridge.connection, events)

    def close(self, bridge: Bridge) -> None:
        """Close a connection; what the bridge has promised remains promised."""
        if self.bridges.pop(bridge.connection.fileno(), None) is None:
            return
        self.selector.unregister(bridge.connection)
        bridge.connection.close()
        if bridge.is_connected and bridge.facts is not None:
            self.promised |= dict(bridge.facts.get("promised", ()))
            self.idle_since = time.monotonic()
            self.announce()

    def close_silent(self) -> None:
        """Close the connections that have sent no token in time."""
        for bridge in list(self.bridges.values()):
            if bridge.facts is None and time.monotonic() - bridge.opened > TOKEN_SECONDS:
                self.close(bridge)

    def is_unneeded(self) -> bool:
        """Whether no bridge is connected, the time to linger has passed, and no promised session runs."""
        idle_seconds = time.monotonic() - self.idle_since
        if any(bridge.is_connected for bridge in self.bridges.values()) or idle_seconds < self.linger:
            return False
        if not self.promised or idle_seconds > PROMISED_SECONDS:
            return True
        if time.monotonic() < self.next_status:
            return False
        self.next_status = time.monotonic() + STATUS_INTERVAL_SECONDS
        self.promised = {session: where for session, where in self.promised.items() if self.runs(session, where)}
        return not self.promised

    def runs(self, session: str, directory: str) -> bool:
        """Whether a session runs, by OpenCode's word; True if OpenCode does not answer."""
        if not self.listen_address:
            return False
        path = f"/session/status?directory={quote(directory, safe='')}"
        connection = http.client.HTTPConnection(*self.listen_address[0], timeout=STATUS_SECONDS)
        try:
            connection.request("GET", path, headers={"Authorization": supervisor.authorization()})
            return json.loads(connection.getresponse().read()).get(session, {}).get("type", "idle") != "idle"
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            return True
        finally:
            connection.close()

    def end(self, status: int) -> None:
        """Report the exit to the bridges, end OpenCode and its descendants, and exit."""
        if self.child.poll() is None and self.listen_address:
            supervisor.dispose(*self.listen_address[0])
        supervisor.kill_descendants(self.child.pid)
        while self.chunks:
            self.forward(self.chunks.pop(0))
        self.registration.unlink(missing_ok=True)
        shutil.rmtree(self.temporary, ignore_errors=True)
        for bridge in list(self.bridges.values()):
            with suppress(OSError):
                bridge.connection.setblocking(True)
                bridge.connection.settimeout(1)
                bridge.connection.sendall(bridge.unsent + json.dumps({"exit": status}).encode() + b"\n")
        os._exit(0)


def end_leftovers(registration: Path) -> None:
    """End the processes and remove the files that a killed supervisor has left. The caller holds the lock."""
    try:
        record = json.loads(registration.read_bytes())
        temporary, pid, started = record["temporary"], record["opencode_pid"], record["opencode_started"]
    except (OSError, ValueError, TypeError, KeyError):
        registration.unlink(missing_ok=True)
        return
    deadline = time.monotonic() + supervisor.KILL_SECONDS
    while time.monotonic() < deadline:
        left = {found for found in find_by_folder(temporary) if found != os.getpid()}
        if started and supervisor.process_start(pid) == started:
            left |= {pid, *supervisor.descendants(pid)}
        if not left:
            break
        for found in left:
            with suppress(OSError):  # it ended meanwhile
                os.kill(found, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
        time.sleep(0.02)
    if Path(temporary).name.startswith("opencode-mcp-"):
        shutil.rmtree(temporary, ignore_errors=True)
    registration.unlink(missing_ok=True)


def find_by_folder(temporary: str) -> list[int]:
    """Return the processes whose folder for temporary files is in this one, as far as /proc shows them."""
    mark = b"TMPDIR=" + os.fsencode(temporary) + b"/"
    found: list[int] = []
    for pid, _ in supervisor.list_processes():
        with suppress(OSError):  # it has ended, or is another user's
            if any(entry.startswith(mark) for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")):
                found.append(pid)
    return found


def acquire_lock(path: Path) -> bool:
    """Acquire the lock of a name for the life of this process; False if another process has it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def main(folder: Path, name: str, command: list[str]) -> int:
    """Run the supervisor, or only clean up if there is no command. What it prints is the reason of a failure."""
    if hasattr(os, "fork") and os.fork():
        os._exit(0)  # so that the supervisor is a child of no bridge
    if not acquire_lock(folder / f"{name}.lock"):
        return 0
    supervisor.adopt_orphans()
    end_leftovers(folder / f"{name}.json")
    if not command:
        return 0
    for number in {signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)}:
        signal.signal(number, signal.SIG_IGN)
    try:
        shared = SharedSupervisor(folder, name, command)
        signal.signal(signal.SIGTERM, lambda number, frame: shared.end(128 + number))
        shared.register()
    except OSError as error:
        return supervisor.report_start_failure(f"cannot run {command[0]}", error)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)  # the end of its output tells the bridge that it has registered
    shared.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
