"""Remove this server from an MCP client's file, which is restored to its state before `install`, and the skills."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from opencode_mcp.cli.clients import CLIENTS, Change, Client, Machine, claude_code, plan_removal
from opencode_mcp.cli.clients.edit import remove_empty_folders
from opencode_mcp.cli.clients.skill_folders import SKILL_FOLDERS, plan_skill_removal
from opencode_mcp.settings import Settings

from .install import configure_target, find_claude_for, find_skill_folder, find_target, print_line


def configure(parser: argparse.ArgumentParser) -> None:
    """Add which client, and where."""
    configure_target(parser, [*CLIENTS])


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Remove the entry and the skills, or show what would change."""
    client = CLIENTS[options.client]
    path, keys = find_target(client, settings, options)
    change = plan_removal(client.format, path, keys)
    if change.is_needed:
        unregister(client, change, settings, options)
    else:
        print_line(f"{client.title} has no server {options.name!r} in {path}")
    if options.skill or client.name in SKILL_FOLDERS:
        remove_skills(client, settings, options)
    return 0


def unregister(client: Client, change: Change, settings: Settings, options: argparse.Namespace) -> None:
    """Remove the entry, or show what would change."""
    # `claude` never restores the file exactly.
    program = None if change.is_exact else find_claude_for(client, settings, options)
    if options.dry_run:
        if program:
            print_line(
                "would run: " + shlex.join(claude_code.remove_command(program, options.name)) + "\nwhich changes:"
            )
        print_line(change.diff(settings.secrets))
        return
    if program:
        claude_code.run_claude(claude_code.remove_command(program, options.name), settings.environ)
        change.drop_backup()
    else:
        delete_or_restore(change, change.path.parent, settings, options)
    outcome = "removed" if change.after is None else "changed"
    print_line(f"{client.title} no longer has the server {options.name!r}; {outcome}: {change.path}")


def remove_skills(client: Client, settings: Settings, options: argparse.Namespace) -> None:
    """Remove the skills, or show what would change; those in a folder that other clients read only with --skill."""
    folder = find_skill_folder(client, settings, options)
    changes = [change for change in plan_skill_removal(folder) if change.before is not None]
    if changes and SKILL_FOLDERS[client.name].is_shared and not options.skill:
        print_line(f"the skills in {folder} stay, as other clients read them too; --skill removes them")
        return
    for change in changes:
        if not change.is_needed:
            print_line(f"skill kept, as its content is not that of this version: {change.path}")
        elif options.dry_run:
            print_line(change.diff(settings.secrets))
        else:
            delete_or_restore(change, folder, settings, options)
            print_line(f"skill removed: {change.path}")


def delete_or_restore(change: Change, folder: Path, settings: Settings, options: argparse.Namespace) -> None:
    """Write the file, or delete it, and then the folders that are empty without it.

    The home and the project stay, and of a client with a folder elsewhere that folder.
    """
    change.apply()
    if change.after is None:
        home = Path(Machine.current(settings.environ).home)
        root = Path(settings.directory or ".").absolute() if options.project else home
        remove_empty_folders(change.path, root if root in folder.parents else folder)
