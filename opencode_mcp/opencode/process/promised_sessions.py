"""The promised sessions of bridges that have disconnected: while they run, the shared OpenCode keeps running.

On the standard library alone, for the supervisor's script.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import supervisor

INTERVAL_SECONDS = 5.0
ANSWER_SECONDS = 5.0
MAX_SESSIONS = 1_000


@dataclass
class PromisedSessions:
    """The directories of promised sessions, by session. Another thread asks OpenCode which of them still run, and then
    calls `report_check` with whether any has ended. `next_check` is by the monotonic clock."""

    report_check: Callable[[bool], None]
    directories: dict[str, str] = field(default_factory=dict[str, str])
    next_check: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, directories: Mapping[str, str]) -> None:
        """Add the sessions of a bridge that has disconnected; of too many, the oldest are forgotten."""
        with self._lock:
            self.directories = dict([*{**self.directories, **directories}.items()][-MAX_SESSIONS:])

    def remove(self, names: Collection[str]) -> None:
        """Remove sessions."""
        with self._lock:
            self.directories = {name: where for name, where in self.directories.items() if name not in names}

    def check(self, address: tuple[str, int] | None) -> None:
        """Ask OpenCode at its address, in another thread and every INTERVAL_SECONDS, which sessions still run."""
        if self.directories and time.monotonic() >= self.next_check:
            self.next_check = float("inf")
            threading.Thread(target=self._remove_ended, args=(address,), daemon=True).start()

    def _remove_ended(self, address: tuple[str, int] | None) -> None:
        has_changed = False
        for name, where in self.directories.items():
            if not is_running(address, name, where):
                self.remove({name})  # at once: while others are checked, it can be promised again
                has_changed = True
        self.next_check = time.monotonic() + INTERVAL_SECONDS
        self.report_check(has_changed)


def is_running(address: tuple[str, int] | None, session: str, directory: str) -> bool:
    """Whether OpenCode reports that a session runs; True if it does not answer."""
    if address is None:
        return False
    path = f"/session/status?directory={quote(directory, safe='')}"
    connection = http.client.HTTPConnection(*address, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path, headers={"Authorization": supervisor.authorization()})
        response = connection.getresponse()
        statuses = json.loads(response.read())
        return response.status != 200 or statuses.get(session, {}).get("type", "idle") != "idle"
    except (OSError, http.client.HTTPException, ValueError, AttributeError):
        return True
    finally:
        connection.close()
