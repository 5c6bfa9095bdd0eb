"""How an OpenCode of each generation is started, and how it says where it listens."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import anyio
import httpx2

from opencode_mcp.openapi.snapshots import SNAPSHOTS
from opencode_mcp.opencode.endpoint import Endpoint

from .executable import Program

LISTENING_LINE = re.compile(r"opencode server listening on (http://\S+)")
OPENCODE_2_LISTENING_LINE = re.compile(r"server listening on (http://\S+)")
READY_SECONDS = 0.1
"""Pause between two questions whether an OpenCode 2 is ready."""
INFO_SECONDS = 10.0
STARTING_STATUS = 503
FAILED_STATUS = 500


WaitUntilReady = Callable[[Endpoint], Awaitable[str]]


@dataclass(frozen=True)
class Launch:
    """How a program of one generation is started.

    - arguments: follow the command.
    - keeps_input: it ends when its standard input closes, so that is kept open.
    - environ: the variables to set for a password, None to remove one.
    - find_url: returns the address in a line of its output, None if there is none.
    - wait_until_ready: returns "" when the server at an address serves requests, or why it never will; None if it does
      so as soon as it listens.
    - start_seconds: how long it may take until it listens.
    """

    arguments: tuple[str, ...]
    keeps_input: bool
    environ: Callable[[str], Mapping[str, str | None]]
    find_url: Callable[[str], str | None]
    wait_until_ready: WaitUntilReady | None
    start_seconds: float

    def command(self, program: Program) -> tuple[str, ...]:
        """Return the command that serves the API on a free port of 127.0.0.1."""
        return (*program.command, *self.arguments)

    def environment(self, program: Program, environ: Mapping[str, str], password: str) -> dict[str, str]:
        """Return the environment of a program's process."""
        path = os.pathsep.join([*program.path, environ.get("PATH", os.defpath)])
        variables = {**environ, "PATH": path, **dict(program.environ), **self.environ(password)}
        return {name: value for name, value in variables.items() if value is not None}


def environ_1(password: str) -> Mapping[str, str | None]:
    """Return the variables of OpenCode 1."""
    return {
        "OPENCODE_SERVER_USERNAME": "opencode",
        "OPENCODE_SERVER_PASSWORD": password,
        # Without it experimental_workspace_create fails and leaks a worktree, and sync_steal has no target.
        "OPENCODE_EXPERIMENTAL_WORKSPACES": "true",
    }


def environ_2(password: str) -> Mapping[str, str | None]:
    """Return the variables of OpenCode 2, without those of another server's credentials."""
    return {"OPENCODE_PASSWORD": password, "OPENCODE_SERVER_PASSWORD": None, "OPENCODE_SERVER_USERNAME": None}


def find_url_1(line: str) -> str | None:
    """Return the address in `opencode server listening on http://127.0.0.1:4096`."""
    match = LISTENING_LINE.search(line)
    return match[1] if match else None


def find_url_2(line: str) -> str | None:
    """Return the address in `{"url":"http://127.0.0.1:4096"}`, or in `server listening on http://127.0.0.1:4096`, which
    it prints without --stdio."""
    if match := OPENCODE_2_LISTENING_LINE.fullmatch(line.strip()):
        return match[1]
    try:
        value: Any = json.loads(line)
    except ValueError:
        return None
    url: Any = cast("dict[str, Any]", value).get("url") if isinstance(value, dict) else None
    return url if isinstance(url, str) and url.startswith("http://") else None


async def wait_until_ready_2(endpoint: Endpoint) -> str:
    """Wait until OpenCode 2 serves requests; return "", or why its start failed.

    Until then it answers 503. It may import the data of OpenCode 1, which no time limit interrupts.
    """
    url = endpoint.base_url + SNAPSHOTS[2].version_path
    async with httpx2.AsyncClient(auth=endpoint.auth, timeout=INFO_SECONDS, trust_env=False) as http:
        while True:
            try:
                status = (await http.get(url)).status_code
            except httpx2.TransportError:  # it accepts no connection yet, or is busy
                status = STARTING_STATUS
            if status == FAILED_STATUS:
                return "OpenCode 2 did not start: it answers /api/info with HTTP 500; its log says why"
            if status != STARTING_STATUS:
                return ""
            await anyio.sleep(READY_SECONDS)


SERVE = ("serve", "--hostname", "127.0.0.1", "--port", "0")
LAUNCHES: Mapping[int, Launch] = {
    1: Launch(SERVE, False, environ_1, find_url_1, None, 60.0),
    2: Launch((SERVE[0], "--stdio", *SERVE[1:]), True, environ_2, find_url_2, wait_until_ready_2, 600.0),
}
"""By generation."""
