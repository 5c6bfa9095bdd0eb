"""`opencode-mcp [COMMAND]`: parse the arguments, load the settings, run the command.

A command is a module of `commands`, imported only when it runs: `configure(parser)` adds its own arguments, and
`run(settings, options)` returns the exit code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from opencode_mcp import __version__
from opencode_mcp.exceptions import OpenCodeError, SettingsError
from opencode_mcp.settings import SETTINGS, Settings, without_password

COMMANDS = {
    "stdio": "serve over stdin and stdout (the default)",
    "http": "serve streamable HTTP",
    "install": "register with an MCP client",
    "uninstall": "remove it from an MCP client",
    "doctor": "check the installation, OpenCode and registrations",
    "tools": "list the tools and their token cost, or show one",
    "call": "call one tool",
    "completion": "print the completion script of a shell",
}
"""Every command with its help text; its module has the same name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0 success, 1 failure, 2 wrong usage."""
    root = root_parser()
    options, unknown = root.parse_known_args(arguments)
    if options.help and options.run is None:
        root.print_help()
        return 0
    name = options.run or "stdio"
    command = import_module(f"opencode_mcp.cli.commands.{name}")
    parser = command_parser(name, command)
    if options.help:
        parser.print_help()
        return 0
    parser.parse_args([*unknown, *options.rest], options)
    try:
        return command.run(Settings.load(vars(options), command=name), options)
    except SettingsError as error:
        print(f"opencode-mcp: {without_password(str(error))}", file=sys.stderr)  # noqa: T201 - usage errors go to the user
        return 2
    except OpenCodeError as error:
        print(f"opencode-mcp: {without_password(str(error))}", file=sys.stderr)  # noqa: T201 - a failure to start
        return 1
    except KeyboardInterrupt:
        return 130


def root_parser() -> argparse.ArgumentParser:
    """Build the parser of everything up to the command; what follows is left in `rest` for the command's parser."""
    root = argparse.ArgumentParser(
        prog="opencode-mcp",
        description="An MCP server for OpenCode: tasks, and every operation of its HTTP API, as tools. "
        "Without a command it serves over stdio.",
        parents=[settings_parser()],
        add_help=False,
        allow_abbrev=False,
        epilog="commands:\n" + "\n".join(f"  {name:12}{summary}" for name, summary in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Not `command`, which is a setting.
    root.add_argument("run", nargs="?", choices=COMMANDS, metavar="COMMAND", help="the command; see below")
    root.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    root.add_argument("-h", "--help", action="store_true", help="show this help, or that of the command")
    root.add_argument("--version", action="version", version=f"opencode-mcp {__version__}")
    return root


def command_parser(name: str, command: ModuleType) -> argparse.ArgumentParser:
    """Build the parser of a command's own arguments and of the settings that it has."""
    parser = argparse.ArgumentParser(
        prog=f"opencode-mcp {name}", description=command.__doc__, parents=[settings_parser(name)], allow_abbrev=False
    )
    command.configure(parser)
    return parser


def settings_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Build the parser of the settings that a command has, or that all have."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for setting in SETTINGS:
        if not setting.has_flag or not setting.applies_to(command):
            continue
        options: dict[str, Any] = {"choices": setting.choices or None}
        if setting.is_switch:
            options = {"action": "store_const", "const": "true"}
        elif setting.separator:
            options = {"action": "append"}
        parser.add_argument(setting.flag, help=f"{setting.help} [{setting.variable}]", **options)
    return parser
