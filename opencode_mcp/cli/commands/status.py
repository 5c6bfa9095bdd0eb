"""Show the OpenCode servers that this user's assistants share, who uses them and what runs in them, or stop them.

The exit code is 1 if --stop has left one running.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import anyio

from opencode_mcp.cli.output import format_age, print_json, print_lines, printable
from opencode_mcp.cli.shared_servers import Assistant, SharedServer, read_shared_servers
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.settings import Settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the format, and what to do."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--stop", action="store_true", help="stop those in which nothing runs")
    parser.add_argument("--force", action="store_true", help="with --stop: stop all of them, and abort what runs")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Print what runs, and stop it with --stop; return 1 if --stop has left one running.

    Raises:
        SettingsError: --force without --stop.
    """
    if options.force and not options.stop:
        raise SettingsError("--force needs --stop")
    servers = anyio.run(read_shared_servers, settings.environ, settings.child_environ, options.stop, options.force)
    if options.json:
        print_json({"servers": [server.as_data() for server in servers]})
    else:
        lines = [printable(line) for server in servers for line in format_server(server)]
        print_lines(lines or ["No shared OpenCode runs."])
    return 1 if options.stop and not all(server.is_stopped for server in servers) else 0


def format_server(server: SharedServer) -> Iterator[str]:
    """Yield the lines about a server."""
    name = f"OpenCode {server.version}" if server.version else "OpenCode"
    stopped = ", stopped" if server.is_stopped else ""
    yield (
        f"{name}, process {server.pid} (supervisor {server.supervisor_pid}): started {format_age(server.since)} ago, "
        f"{server.memory_mb} MB{stopped}"
    )
    if server.state != "running":
        yield f"  {describe_fault(server)}"
        return
    yield from map(format_assistant, server.assistants)
    if server.work_of_disconnected_clients:
        yield f"  disconnected clients{format_work(server.work_of_disconnected_clients)}"
    elif not server.assistants:
        yield "  no assistant uses it: it ends soon"
    if server.differing_variables:
        yield f"  this shell would not share it; these variables differ: {', '.join(server.differing_variables)}"


def describe_fault(server: SharedServer) -> str:
    """Describe why nothing is known about what runs in a server."""
    if server.state == "dead":
        return "its supervisor was killed, or runs in another container; --stop ends what a killed one has left"
    return "its supervisor does not answer; --stop --force stops it, and aborts what runs"


def format_assistant(assistant: Assistant) -> str:
    """Return the line about an assistant."""
    name = assistant.client or "a client that has made no call"
    where = f", in {assistant.directory}" if assistant.directory else ""
    age = format_age(assistant.since)
    return f"  {name} (bridge {assistant.pid}), connected for {age}{where}{format_work(assistant.work)}"


def format_work(names: tuple[str, ...]) -> str:
    """Return which sessions and terminals run."""
    return f"; running: {', '.join(names)}" if names else ""
