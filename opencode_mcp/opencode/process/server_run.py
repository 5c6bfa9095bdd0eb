"""One run of a managed OpenCode: its state, how it ended, and when the next one may start."""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial

import anyio

from opencode_mcp.opencode.endpoint import Endpoint
from opencode_mcp.opencode.os_limits import find_shortage
from opencode_mcp.opencode.responses import strip_stack_trace

from .executable import Program
from .launch import LAUNCHES, Launch
from .liveness import Liveness
from .opencode_process import OpenCodeProcess
from .service import Service

OUTPUT_CHARS = 4_000
"""How much of the end of its output an error shows."""
SHORT_LIFE_SECONDS = 10.0
"""A server that exits sooner than this after it listened counts as not started."""
RESTART_DELAY_SECONDS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds between an early exit and the next start, by the number of early exits before it."""


log = logging.getLogger(__name__)


class Backoff:
    """Counts early exits in a row. Times are those of the monotonic clock."""

    def __init__(self) -> None:
        self.short_lives = 0
        self._next_start = float("-inf")

    def record_exit(self, listened_seconds: float | None) -> None:
        """Record an exit and for how long the server had listened, None if it never did."""
        if listened_seconds is not None and listened_seconds >= SHORT_LIFE_SECONDS:
            self.short_lives = 0
            return
        delay = RESTART_DELAY_SECONDS[min(self.short_lives, len(RESTART_DELAY_SECONDS) - 1)]
        self.short_lives += 1
        self._next_start = time.monotonic() + delay

    @property
    def remaining_seconds(self) -> float:
        """Seconds until the next start may be tried."""
        return max(0.0, self._next_start - time.monotonic()) if self.short_lives else 0.0


@dataclass
class ServerRun:
    """One run of the server process. `start_finished` is set once it serves (`endpoint`) or has failed (`failure`). It
    listens once `url` is set. `process_ended` is set when its process is gone as well.

    `process` and `liveness` are set while it runs; cancelling `scope` stops it for `stop_reason`. `service` is set if
    nothing was started, as the background service is used.
    """

    start_finished: anyio.Event = field(default_factory=anyio.Event)
    process_ended: anyio.Event = field(default_factory=anyio.Event)
    url: str | None = None
    endpoint: Endpoint | None = None
    listening_since: float | None = None
    failure: str | None = None
    stop_reason: str = ""
    status: str = "starting"
    program: Program = field(default_factory=partial(Program, ()))
    service: Service | None = None
    process: OpenCodeProcess | None = None
    liveness: Liveness | None = None
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    output: deque[str] = field(default_factory=lambda: deque[str](maxlen=40))

    @property
    def launch(self) -> Launch:
        """How its program is started."""
        return LAUNCHES[self.program.generation]

    def serve(self, endpoint: Endpoint, age_seconds: float = 0.0) -> None:
        """Record that the server serves requests, and listens for some time already."""
        self.endpoint = endpoint
        self.listening_since = time.monotonic() - age_seconds
        self.start_finished.set()
        log.info("OpenCode serves at %s", endpoint.display_url)

    @property
    def has_ended(self) -> bool:
        """Whether the server has exited, or failed to start."""
        return self.failure is not None


def describe_exit(run: ServerRun, status: int, stop_reason: str) -> str:
    """Describe the server's exit."""
    subject = "it" if run.endpoint else "OpenCode did not start: it"
    event = f"was stopped ({stop_reason})" if stop_reason else f"exited with status {status}"
    return f"{subject} {event}{last_output(run)}"


def last_output(run: ServerRun) -> str:
    """Return the server's last lines."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in run.output]
    output = strip_stack_trace("\n".join(line for line in lines if line)[-OUTPUT_CHARS:])
    advice = find_shortage(output)
    return (f"; its output:\n{output}" if output else "") + (f"\n{advice}" if advice else "")
