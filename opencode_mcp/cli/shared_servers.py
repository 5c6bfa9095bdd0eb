"""The OpenCode servers that this user's assistants share: what runs in them, and how they are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx2

from opencode_mcp.catalog import Catalog
from opencode_mcp.catalog.generations import DEFAULT_GENERATION
from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient
from opencode_mcp.opencode.allowlist import DirectoryAllowlist
from opencode_mcp.opencode.endpoint import OtherBridge
from opencode_mcp.opencode.other_work import is_running
from opencode_mcp.opencode.process.cache import shared_folder
from opencode_mcp.opencode.process.registration import Registration, parse_registration
from opencode_mcp.opencode.process.shared_process import SharedProcess, observe_shared, start_supervisor
from opencode_mcp.opencode.process.supervisor import descendants

WORK_SECONDS = 5.0
"""How long OpenCode may take to say which sessions run; if it takes longer, all of them may."""
STOP_SECONDS = 10.0
KILL_SIGNAL = getattr(signal, "SIGKILL", signal.SIGTERM)

State = Literal["running", "unresponsive", "dead"]


@dataclass(frozen=True)
class Assistant:
    """A bridge that shares a server. `work` are its sessions and terminals that run; `since` is in seconds of the
    epoch."""

    client: str
    pid: int
    since: float
    directory: str
    work: tuple[str, ...] = ()


@dataclass(frozen=True)
class SharedServer:
    """A registered server. `pid` is OpenCode's, `since` is in seconds of the epoch.

    `unresponsive`: its supervisor runs and does not answer; `dead`: it was killed, and the next start ends what it has
    left. `work_of_disconnected_clients` are the sessions that still run for them. `differing_variables` are the names
    of the variables that keep a bridge with this process's environment from sharing it.
    """

    state: State
    pid: int
    supervisor_pid: int
    version: str | None
    since: float
    memory_mb: int
    registration: Path
    assistants: tuple[Assistant, ...]
    work_of_disconnected_clients: tuple[str, ...]
    differing_variables: tuple[str, ...]
    is_stopped: bool = False

    @property
    def work(self) -> tuple[str, ...]:
        """The sessions and terminals that run in it."""
        of_assistants = tuple(name for assistant in self.assistants for name in assistant.work)
        return of_assistants + self.work_of_disconnected_clients

    def as_data(self) -> dict[str, Any]:
        """Return it for `--json`."""
        return {**asdict(self), "registration": str(self.registration)}


async def read_shared_servers(
    environ: Mapping[str, str], child_environ: Mapping[str, str], stop: bool = False, force: bool = False
) -> list[SharedServer]:
    """Read the state of every shared server, and with `stop` end those without work, or all with `force`.

    `child_environ` is the environment that a bridge with `environ` gives to OpenCode.
    """
    registrations = map(parse_registration, shared_folder(environ).glob("*.json"))
    servers: list[SharedServer] = []
    for registration in sorted(filter(None, registrations), key=lambda registration: registration.since):
        async with observe_shared(registration.path) as process:
            server = await describe(registration, process, child_environ)
            may_stop = stop and (force or (server.state != "unresponsive" and not server.work))
            if may_stop and process is not None:
                process.stop(force=True, reason="by `opencode-mcp status --stop`")
        if may_stop:
            server = replace(server, is_stopped=await wait_until_stopped(registration, server.state, child_environ))
        servers.append(server)
    return servers


async def describe(
    registration: Registration, process: SharedProcess | None, child_environ: Mapping[str, str]
) -> SharedServer:
    """Return what is known about a server; `process` is None if its supervisor does not answer."""
    running = set[str]() if process is None else await running_work(registration, process)
    others = () if process is None else process.others
    return SharedServer(
        state_of(registration, process),
        registration.opencode_pid,
        registration.pid,
        registration.version,
        registration.since,
        resident_megabytes(registration),
        registration.path,
        tuple(describe_assistant(bridge, running) for bridge in others if not bridge.is_gone),
        tuple(name for bridge in others if bridge.is_gone for name in bridge.active if name in running),
        tuple(registration.differing_variables(child_environ)),
    )


def state_of(registration: Registration, process: SharedProcess | None) -> State:
    """Return the state of a server."""
    if process is not None:
        return "running"
    return "unresponsive" if registration.has_supervisor else "dead"


def describe_assistant(bridge: OtherBridge, running: set[str]) -> Assistant:
    """Return what is known about a bridge."""
    work = tuple(name for name in bridge.active if name in running)
    return Assistant(bridge.client, bridge.pid, bridge.since, bridge.directory, work)


async def running_work(registration: Registration, process: SharedProcess) -> set[str]:
    """Return those of the sessions and terminals that may run which do; all of them if OpenCode does not answer."""
    names = {name for bridge in process.others for name in bridge.active}
    if not names or process.address is None:
        return names
    running = names.copy()
    with anyio.move_on_after(WORK_SECONDS), suppress(OpenCodeError):
        async with open_client(shared_endpoint(process.address, registration.password)) as opencode:
            running = {name for name in names if await is_running(opencode, name)}
    return running


def shared_endpoint(address: tuple[str, int], password: str) -> Endpoint:
    """Return the address and the credentials of a shared server."""
    host, port = address
    return Endpoint(httpx2.URL(f"http://{host}:{port}"), password=password)


@asynccontextmanager
async def open_client(
    endpoint: Endpoint,
    allowlist: DirectoryAllowlist = DirectoryAllowlist(),  # noqa: B008 - frozen
    generation: int = DEFAULT_GENERATION,
) -> AsyncGenerator[OpenCodeClient]:
    """Provide a client of a running server. A shared one is an OpenCode 1: an OpenCode 2 is not shared in this way."""
    catalog = Catalog.from_snapshot(generation)
    async with OpenCodeClient(AttachedServer(endpoint), catalog, allowlist=allowlist) as opencode:
        yield opencode


async def wait_until_stopped(registration: Registration, state: State, child_environ: Mapping[str, str]) -> bool:
    """Wait for the end of a server; kill a supervisor that does not answer. Return whether it has ended."""
    if state == "unresponsive" and registration.started:  # else another process may have its id by now
        with suppress(ProcessLookupError):
            os.kill(registration.pid, KILL_SIGNAL)
    with anyio.move_on_after(STOP_SECONDS):
        while registration.has_supervisor:
            await anyio.sleep(0.05)
        if state != "running":  # nothing has ended OpenCode, but for a bridge that has noticed the same
            folder, key = registration.path.parent, registration.path.stem
            await start_supervisor(folder, key, (), child_environ, str(folder))
        while is_registered(registration):
            await anyio.sleep(0.05)
    return not is_registered(registration)


def is_registered(registration: Registration) -> bool:
    """Whether this very server is still registered: the last thing that is removed."""
    return parse_registration(registration.path) == registration


def resident_megabytes(registration: Registration) -> int:
    """Return the resident memory of a server's processes."""
    pids = {registration.pid, registration.opencode_pid, *descendants(registration.pid)}
    command = ["ps", "-o", "rss=", "-p", ",".join(map(str, pids))]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    except OSError:  # no `ps`, as on Windows
        return 0
    return round(sum(map(int, done.stdout.split())) / 1024)
