"""Register this server with an MCP client, in the client's own file.

This command edits the file itself, even where the client has a command for it: it can then show the change
first, keep comments, and undo it. Claude Code's user scope is the exception.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opencode_mcp.catalog.generations import DEFAULT_GENERATION
from opencode_mcp.cli.clients import CLIENTS, PRINTED_CLIENTS, Change, Client, Machine, claude_code, plan_install
from opencode_mcp.cli.clients.client import TOKEN_VARIABLE
from opencode_mcp.cli.clients.edit import FORMATS
from opencode_mcp.cli.clients.entry import check_names, make_launch, make_remote, server_command
from opencode_mcp.cli.clients.skill_folders import SKILL_FOLDERS, plan_skills
from opencode_mcp.cli.output import print_lines
from opencode_mcp.connect import expected_generation
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.settings import Settings

UV_CACHE = ("archive-v", "environments-v")
"""Folders from which uvx runs a program."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add which client, where, and how."""
    configure_target(parser, [*CLIENTS, *PRINTED_CLIENTS])
    parser.add_argument(
        "--http", metavar="URL", help="register the URL of a running `opencode-mcp http` instead of a command"
    )
    parser.add_argument("--print", action="store_true", help="print the entry without changing anything")
    parser.add_argument(
        "--env",
        metavar="NAME",
        action="append",
        default=[],
        help="pass this environment variable to the server by name",
    )
    parser.add_argument(
        "--with-password",
        action="store_true",
        help="write the password of --url or the token of --http itself, not the name of its variable",
    )


def configure_target(parser: argparse.ArgumentParser, clients: Sequence[str]) -> None:
    """Add the arguments that `uninstall` has too."""
    parser.add_argument("client", choices=clients, metavar="CLIENT", help=", ".join(clients))
    parser.add_argument(
        "--project",
        action="store_true",
        help="use the project's file (of the working directory or --directory), not the user's",
    )
    parser.add_argument("--name", default="opencode", help="name of the server in the client (default opencode)")
    parser.add_argument("--dry-run", action="store_true", help="show what would change without changing it")
    parser.add_argument(
        "--skill", action="store_true", help="the skills as well, which explain to the client's model how to delegate"
    )


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Register, and install the skills; or show what would change."""
    if options.client in PRINTED_CLIENTS:
        return print_for_hand(PRINTED_CLIENTS[options.client], settings, options)
    client = CLIENTS[options.client]
    path, keys = find_target(client, settings, options)
    entry = build_entry(client, settings, options)
    if options.print:
        print_line(FORMATS[client.format].put("", keys, entry).rstrip())
        return 0
    folder = find_skill_folder(client, settings, options) if options.skill else None
    change = plan_install(client.format, path, keys, entry)
    if change.is_needed:
        register(client, change, settings, options)
    else:
        print_line(f"{client.title} already has it, in {path}")
    if folder is not None:
        install_skills(folder, settings, options)
    return 0


def print_for_hand(client: Client, settings: Settings, options: argparse.Namespace) -> int:
    """Print the entry for a client whose file a person edits.

    Raises:
        SettingsError: without --print: the file stays as it is.
    """
    check_server_name(options.name)
    if not options.print:
        raise SettingsError(f"{client.title}: add the entry that --print shows by hand, {client.by_hand}")
    entry = build_entry(client, settings, options)
    # Goose repeats the name in the entry.
    entry |= {"name": options.name} if "name" in entry else {}
    print_line(json.dumps({client.container: [entry] if client.is_list else {options.name: entry}}, indent=2))
    return 0


def register(client: Client, change: Change, settings: Settings, options: argparse.Namespace) -> None:
    """Write the entry, or show what would change."""
    program = find_claude_for(client, settings, options)
    if options.dry_run:
        if program:
            print_line(
                "would run: "
                + shlex.join(claude_code.add_command(program, options.name, change.entry))
                + "\nwhich changes:"
            )
        print_line(change.diff(settings.secrets))
    else:
        apply_change(change, program, settings, options.name)
        print_line(f"{client.title} is configured: server {options.name!r} in {change.path}")
        if change.makes_backup:
            print_line(f"backup: {change.backup}")
    for line in remarks(client, settings, options):
        print_line(line)


def find_skill_folder(client: Client, settings: Settings, options: argparse.Namespace) -> Path:
    """Return the folder in which a client looks for skills.

    Raises:
        SettingsError: there is none that is known.
    """
    folder = SKILL_FOLDERS.get(client.name)
    if folder is None:
        raise SettingsError(f"--skill: {client.title} documents no folder for skills")
    if options.project:
        return Path(settings.directory or ".").absolute() / folder.project
    return Path(folder.user(Machine.current(settings.environ)))


def install_skills(folder: Path, settings: Settings, options: argparse.Namespace) -> None:
    """Write the skills, or show what would change."""
    changes = [change for change in plan_skills(folder) if change.is_needed]
    for change in changes:
        if options.dry_run:
            print_line(change.diff(settings.secrets))
            continue
        change.apply()
        print_line(f"skill: {change.path}" + (f", backup: {change.backup}" if change.makes_backup else ""))
    if not changes:
        print_line(f"the skills are already in {folder}")


def find_target(client: Client, settings: Settings, options: argparse.Namespace) -> tuple[Path, tuple[str, str]]:
    """Return the client's file, and the keys of the entry in it.

    Raises:
        SettingsError: the client has no project file, or the name is not valid.
    """
    check_server_name(options.name)
    if options.project:
        if not client.project:
            raise SettingsError(f"--project: {client.title} has one file for all projects")
        folder = Path(settings.directory or ".").absolute()
        files = [folder / name for name in client.project]
    else:
        files = [Path(path) for path in client.user(Machine.current(settings.environ))]
    return next((file for file in files if file.exists()), files[0]), (client.container, options.name)


def check_server_name(name: str) -> None:
    """Reject a name that a client may not accept.

    Raises:
        SettingsError: it has other characters.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise SettingsError(f"--name {name!r}: letters, digits, - and _ are allowed")


def build_entry(client: Client, settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    """Return the entry to be written."""
    check_names(client, options.name, settings)
    if options.http:
        if options.env:
            raise SettingsError("--env applies to a command that the client starts, not to --http")
        if settings.directory and not options.project:
            raise SettingsError("--directory belongs to the command that starts the server, not to its URL")
        return client.entry(make_remote(client, settings, options.http, options.with_password))
    return client.entry(make_launch(client, settings, options.env, options.with_password))


def find_claude_for(client: Client, settings: Settings, options: argparse.Namespace) -> str | None:
    """Return the path of `claude` if it must change the file.

    It gets no password: other processes could read it in the arguments.
    """
    if client.name != "claude-code" or options.project or getattr(options, "with_password", False):
        return None
    return claude_code.find_claude(settings.environ)


def apply_change(change: Change, program: str | None, settings: Settings, name: str) -> None:
    """Change the file, or let `claude` change it."""
    if program is None:
        change.apply()
        return
    change.back_up()
    if change.replaces:
        claude_code.run_claude(claude_code.remove_command(program, name), settings.environ)
    claude_code.run_claude(claude_code.add_command(program, name, change.entry), settings.environ)


def remarks(client: Client, settings: Settings, options: argparse.Namespace) -> list[str]:
    """Return remarks for the user: limits of the client, and what must be set."""
    limits = client.limits
    lines = [client.note] if client.note else []
    if not settings.toolsets and not settings.tools:
        lines.append(f"toolsets: {limits.preset}, as {client.title} {limits.reason}")
    number = expected_generation(settings)
    if number != DEFAULT_GENERATION:
        lines.append(f"the tools are those of OpenCode {number}; --generation 1 selects the others")
    if limits.seconds:
        lines.append(f"time limit of a call: {limits.seconds} s")
    if options.http:
        if not settings.no_auth and not options.with_password:
            lines.append(f"start {client.title} with {TOKEN_VARIABLE} set to the token of the server")
        return lines
    if any(part.startswith(UV_CACHE) for part in Path(server_command()[0]).parts):
        lines.append("this copy is in uv's cache, which uv may clean: `uv tool install` installs a permanent one")
    if limits.environment:
        passing = "--env NAME passes one on" if client.variable else "add others to its file by hand"
        lines.append(f"environment: {limits.environment}; {passing}")
    if settings.passwords and not options.with_password and not client.variable:
        lines.append(f"start the client with {' and '.join(settings.passwords)} set, or use --with-password")
    if client.starts_elsewhere and not settings.directory:
        lines.append("the client does not start it in a project: set --directory here, or `directory` in each call")
    return lines


def print_line(text: str) -> None:
    """Print to stdout."""
    print_lines([text])
