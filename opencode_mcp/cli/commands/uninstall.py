"""Remove this server from an MCP client's file, which is restored to its state before `install`."""

from __future__ import annotations

import argparse
import shlex

from opencode_mcp.cli.clients import CLIENTS, claude_code, plan_removal
from opencode_mcp.settings import Settings

from .install import configure_target, find_claude_for, find_target, print_line


def configure(parser: argparse.ArgumentParser) -> None:
    """Add which client, and where."""
    configure_target(parser)


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Remove the entry, or show what would change."""
    client = CLIENTS[options.client]
    path, keys = find_target(client, settings, options)
    change = plan_removal(client.format, path, keys)
    if not change.is_needed:
        print_line(f"{client.title} has no server {options.name!r} in {path}")
        return 0
    # `claude` never restores the file exactly.
    program = None if change.is_exact else find_claude_for(client, settings, options)
    if options.dry_run:
        if program:
            print_line(
                "would run: " + shlex.join(claude_code.remove_command(program, options.name)) + "\nwhich changes:"
            )
        print_line(change.diff(settings.secrets))
        return 0
    if program:
        claude_code.run_claude(claude_code.remove_command(program, options.name), settings.environ)
        change.drop_backup()
    else:
        change.apply()
    outcome = "removed" if change.after is None else "changed"
    print_line(f"{client.title} no longer has the server {options.name!r}; {outcome}: {path}")
    return 0
