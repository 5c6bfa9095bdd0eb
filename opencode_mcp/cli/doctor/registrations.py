"""Checks of the registrations: whether each known MCP client has an entry, and whether it works."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from opencode_mcp.cli.clients import CLIENTS, Client, Machine
from opencode_mcp.cli.clients.edit import read_entry
from opencode_mcp.cli.clients.plugins import has_plugin
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.opencode.process.executable import which
from opencode_mcp.settings import Settings

from .check_result import CheckResult

DEFAULT_NAME = "opencode"
"""The default of `install --name`."""

CONNECT_SECONDS = 2.0

Entry = Mapping[str, Any]


def check_registrations(settings: Settings) -> Iterator[CheckResult]:
    """Check the files of every client, the user's and the project's; name the clients that are not installed."""
    machine = Machine.current(settings.environ)
    others: list[str] = []
    for client in CLIENTS.values():
        check = f"client {client.name}"
        try:
            entries = list(find_entries(client, machine, settings))
        except SettingsError as error:
            yield CheckResult(check, "warning", str(error), f"{client.title} may fail to read it too")
            continue
        for path, entry in entries:
            yield check_entry(client, path, entry, settings)
        if has_plugin(client.name, machine):
            yield check_plugin(client, entries)
        elif not entries and is_installed(client, machine):
            yield CheckResult(check, "skipped", "not registered", f"`opencode-mcp install {client.name}` registers it")
        elif not entries:
            others.append(client.name)
    if others:
        message, facts = f"not found here: {', '.join(others)}", {"clients": others}
        yield CheckResult("other clients", "skipped", message, "`opencode-mcp install CLIENT` registers one", facts)


def is_installed(client: Client, machine: Machine) -> bool:
    """Whether a client's file, the folder of that file or its program exists."""
    files = [*map(Path, client.user(machine))]
    folders = [file.parent for file in files if file.parent != Path(machine.home)]
    return any(map(os.path.exists, (*files, *folders))) or any(
        which(program, machine.environ) for program in client.programs
    )


def find_entries(client: Client, machine: Machine, settings: Settings) -> Iterator[tuple[Path, Entry]]:
    """Yield every entry of this server with its file.

    Raises:
        SettingsError: a file cannot be read.
    """
    project = Path(settings.directory or ".").absolute()
    files = [*map(Path, client.user(machine)), *(project / name for name in client.project)]
    for path in files:
        servers = read_entry(client.format, path, [client.container]) or {}
        for name, entry in servers.items():
            if isinstance(entry, dict):
                fields = cast("Entry", entry)
                if name == DEFAULT_NAME or "opencode-mcp" in entry_command(fields):
                    yield path, fields


def entry_command(entry: Entry) -> str:
    """Return the program of an entry, "" if it has none; a command is a text or a list."""
    command: Any = entry.get("command", "")
    words = cast("list[Any]", command if isinstance(command, list) else [command])
    return str(words[0]) if words else ""


def check_entry(client: Client, path: Path, entry: Entry, settings: Settings) -> CheckResult:
    """Check that an entry's program exists, or that its URL accepts connections."""
    check = f"client {client.name}"
    url = next((str(entry[key]) for key in ("url", "serverUrl", "httpUrl") if key in entry), None)
    advice = f"`opencode-mcp install {client.name}` updates it"
    if url is not None:
        if is_listening(url):
            return CheckResult(check, "ok", f"{url} (in {path})")
        return CheckResult(check, "warning", f"nothing listens at {url} (in {path})", "run `opencode-mcp http`")
    command = entry_command(entry)
    if which(command, settings.environ):
        return CheckResult(check, "ok", f"{command} (in {path})")
    return CheckResult(check, "failed", f"program {command!r} not found (in {path})", advice)


def check_plugin(client: Client, entries: Sequence[tuple[Path, Entry]]) -> CheckResult:
    """Check that the plugin of a client is its only registration: else its model gets every tool twice."""
    check, found = f"client {client.name}", "the plugin opencode-mcp"
    if not entries:
        return CheckResult(check, "ok", found)
    files = " and ".join(str(path) for path, _ in entries)
    advice = f"`opencode-mcp uninstall {client.name}` removes the entry, and the plugin stays"
    return CheckResult(check, "warning", f"{found} registers it too (beside {files})", advice)


def is_listening(url: str) -> bool:
    """Whether anything accepts connections at an address."""
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), CONNECT_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True
