"""Show the OpenCode servers that this user's assistants share: for whom, since when, memory; or stop them."""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

import anyio

from opencode_mcp.cli.output import ignore_broken_pipe, print_json, printable
from opencode_mcp.opencode.endpoint import OtherBridge
from opencode_mcp.opencode.process.cache import shared_folder
from opencode_mcp.opencode.process.registration import Registration, read_registration
from opencode_mcp.opencode.process.shared import SharedProcess, connect_shared
from opencode_mcp.opencode.process.supervisor import descendants
from opencode_mcp.settings import Settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the format, and what to do."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--stop", action="store_true", help="stop those in which no assistant has work")
    parser.add_argument("--force", action="store_true", help="with --stop: stop all, and abort the work in them")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Print what runs, and stop it if asked; return 1 if something was to be stopped and has work."""
    servers = anyio.run(read_servers, settings.environ, options.stop, options.force)
    if options.json:
        print_json({"servers": servers})
    else:
        with ignore_broken_pipe():
            print(printable("\n".join(map(format_server, servers)) or "No shared OpenCode runs."))  # noqa: T201
    return 1 if options.stop and not all(server["stopped"] for server in servers) else 0


async def read_servers(environ: Mapping[str, str], stop: bool, force: bool) -> list[dict[str, Any]]:
    """Read what every shared server says of itself, and stop those without work, or all with `force`."""
    servers: list[dict[str, Any]] = []
    for path in sorted(shared_folder(environ).glob("*.json")):
        async with connect_shared(path) as process:
            registration = read_registration(path)
            if process is not None and registration is not None:
                may_stop = stop and (force or not any(other.active for other in process.others))
                servers.append({**describe(registration, process), "stopped": may_stop})
                if may_stop:
                    process.stop(force)
    return servers


def describe(registration: Registration, process: SharedProcess) -> dict[str, Any]:
    """Return what is known about a server."""
    pids = [registration.pid, *descendants(registration.pid)]
    return {
        "pid": registration.opencode_pid,
        "supervisor_pid": registration.pid,
        "since": registration.since,
        "memory_mb": round(resident_kilobytes(pids) / 1024),
        "registration": str(registration.path),
        "assistants": [describe_bridge(other) for other in process.others],
    }


def describe_bridge(bridge: OtherBridge) -> dict[str, Any]:
    """Return what a bridge has told about itself."""
    return {
        "client": bridge.client,
        "pid": bridge.pid,
        "since": bridge.since,
        "directory": bridge.directory,
        "active": list(bridge.active),
    }


def resident_kilobytes(pids: Sequence[int]) -> int:
    """Return the resident memory of processes."""
    command = ["ps", "-o", "rss=", "-p", ",".join(map(str, pids))]
    return sum(map(int, subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()))


def format_server(server: Mapping[str, Any]) -> str:
    """Return the lines about a server."""
    lines = [
        f"OpenCode, process {server['pid']} (supervisor {server['supervisor_pid']}): "
        f"{format_age(server['since'])}, {server['memory_mb']} MB{', stopped' if server['stopped'] else ''}"
    ]
    for bridge in server["assistants"]:
        work = f": {len(bridge['active'])} sessions or terminals active" if bridge["active"] else ""
        where = f", in {bridge['directory']}" if bridge["directory"] else ""
        name = bridge["client"] or "a client that has made no call"
        lines.append(f"  {name} (bridge {bridge['pid']}), {format_age(bridge['since'])}{where}{work}")
    return "\n".join(
        lines if server["assistants"] else [*lines, "  no assistant: it ends soon, or when its tasks have"]
    )


def format_age(since: float) -> str:
    """Return the time since a time of the epoch."""
    minutes, seconds = divmod(int(time.time() - since), 60)
    return f"for {minutes} min" if minutes else f"for {seconds} s"
