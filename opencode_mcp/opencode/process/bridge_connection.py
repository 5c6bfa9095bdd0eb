"""The connection of a bridge to the supervisor of the shared OpenCode: lines of JSON, sent and received in parts.

On the standard library alone, for the supervisor's script.
"""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from typing import Any

CHUNK_BYTES = 65_536
TOKEN_BYTES = 1_000
"""The longest first line, which has the token."""
MAX_LINE_BYTES = 1_000_000
MAX_FACTS_BYTES = 200_000
"""A bridge that publishes more is disconnected."""
LINGER_SECONDS = 15.0
"""How long OpenCode runs without a bridge, if the last one has published no other time."""
MAX_LINGER_SECONDS = 86_400.0
MAX_UNSENT_BYTES = 1_000_000
"""A bridge that does not read loses OpenCode's output beyond this, and beyond twice this its connection."""

FACT_TYPES: dict[str, type | tuple[type, ...]] = {
    "active": list,
    "client": str,
    "directory": str,
    "linger": (int, float),
    "pid": int,
    "promised": dict,
    "waits": bool,
}
"""What a bridge may publish; anything else is ignored."""
PUBLIC_FACTS = ("active", "client", "directory", "pid", "waits")
"""What the other bridges receive."""


class BridgeConnection:
    """The connection of a bridge, or of an observer. `facts` are those that it has published, None before its token."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.facts: dict[str, Any] | None = None
        self.observes = False
        self.since = time.time()
        self.opened = time.monotonic()
        self._received = b""
        self.unsent = b""

    @property
    def is_known(self) -> bool:
        """Whether it has sent the token, and is a bridge."""
        return self.facts is not None and not self.observes

    @property
    def linger(self) -> float:
        """How long OpenCode stays if this is the last bridge, in seconds."""
        return float((self.facts or {}).get("linger", LINGER_SECONDS))

    @property
    def promised(self) -> dict[str, str]:
        """The directories of the sessions whose results the bridge has promised to its client, by session."""
        return {} if self.facts is None else self.facts.get("promised", {})

    @property
    def is_active(self) -> bool:
        """Whether sessions or terminals that this bridge has started may run."""
        return self.facts is not None and bool(self.facts.get("active"))

    def public_facts(self) -> dict[str, Any]:
        """Return what the other bridges receive."""
        facts = self.facts or {}
        return {name: facts[name] for name in PUBLIC_FACTS if name in facts} | {"since": self.since}

    def update_facts(self, facts: dict[str, Any]) -> None:
        """Record what the bridge publishes.

        Raises:
            ValueError: it is malformed, or too much.
        """
        known = {name: value for name, value in facts.items() if name in FACT_TYPES}
        if not all(isinstance(value, FACT_TYPES[name]) for name, value in known.items()):
            raise ValueError("a malformed fact")
        names = [*known.get("active", ()), *known.get("promised", {}).values()]
        if not all(isinstance(name, str) for name in names) or not 0 <= known.get("linger", 0) <= MAX_LINGER_SECONDS:
            raise ValueError("a malformed fact")
        updated = {**(self.facts or {}), **known}
        if len(json.dumps(updated)) > MAX_FACTS_BYTES:
            raise ValueError("too many facts")
        self.facts = updated

    def receive(self) -> list[dict[str, Any]]:
        """Return the messages that have arrived.

        Raises:
            OSError, ValueError, RecursionError: the connection is closed, or speaks another protocol.
        """
        data = self.connection.recv(CHUNK_BYTES)
        if not data:
            raise ConnectionResetError("it was closed")
        *lines, self._received = (self._received + data).split(b"\n")
        if len(self._received) > (TOKEN_BYTES if self.facts is None else MAX_LINE_BYTES):
            raise ValueError("a line is too long")
        messages = [json.loads(line) for line in lines]
        if not all(isinstance(message, dict) for message in messages):
            raise ValueError("a message is not an object")
        return messages

    def queue(self, message: dict[str, Any]) -> None:
        """Queue a message.

        Raises:
            ValueError: the bridge has not read for too long.
        """
        self.unsent += json.dumps(message).encode() + b"\n"
        if len(self.unsent) > 2 * MAX_UNSENT_BYTES:
            raise ValueError("it does not read")

    def flush(self) -> None:
        """Send what the connection takes now; nothing if the bridge has closed it, whose last messages are still read.

        Raises:
            OSError: the connection is broken.
        """
        try:
            while self.unsent:
                self.unsent = self.unsent[self.connection.send(self.unsent) :]
        except BlockingIOError:
            pass
        except ConnectionError:
            self.unsent = b""

    def send_last(self, message: dict[str, Any], seconds: float) -> None:
        """Send a last message, waiting for the bridge for some seconds."""
        self.connection.setblocking(True)
        self.connection.settimeout(max(0.01, seconds))
        with suppress(OSError):  # it is gone, or does not read
            self.connection.sendall(self.unsent + json.dumps(message).encode() + b"\n")
