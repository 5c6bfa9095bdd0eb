"""Remove this server from an MCP client's file, which is restored to its state before `install`."""

from __future__ import annotations

import argparse
import shlex

from opencode_mcp.settings import Settings

from .clients import CLIENTS, claude, removal
from .install import by_claude, configure_place, target, tell


def configure(parser: argparse.ArgumentParser) -> None:
    """Add which client, and where."""
    configure_place(parser)


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Remove the entry, or show what would change."""
    client = CLIENTS[options.client]
    path, keys = target(client, settings, options)
    change = removal(client.format, path, keys)
    if not change.is_needed:
        tell(f"{client.title} has no server {options.name!r} in {path}")
        return 0
    # `claude` never restores the file exactly.
    program = None if change.is_exact else by_claude(client, settings, options)
    if options.dry_run:
        if program:
            tell("would run: " + shlex.join(claude.removing(program, options.name)) + "\nwhich changes:")
        tell(change.diff(settings.secrets))
        return 0
    if program:
        claude.run(claude.removing(program, options.name), settings.environ)
        change.drop_backup()
    else:
        change.apply()
    done = "removed" if change.after is None else "changed"
    tell(f"{client.title} no longer has the server {options.name!r}; {done}: {path}")
    return 0
