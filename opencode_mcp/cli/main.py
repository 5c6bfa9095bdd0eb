"""`opencode-mcp [COMMAND]`: parse the arguments, load the settings, run the command.

A command is a module of `commands`, imported only when it runs: `configure(parser)` adds its own arguments, and
`run(settings, options)` returns the exit code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from opencode_mcp import __version__
from opencode_mcp.exceptions import OpenCodeError, SettingsError
from opencode_mcp.settings import SETTINGS, Settings, without_password

from .usage import UsageParser, describe_choice

COMMANDS = {
    "stdio": "serve over stdin and stdout (the default)",
    "http": "serve streamable HTTP",
    "install": "register with an MCP client",
    "uninstall": "remove it from an MCP client",
    "doctor": "check the installation, OpenCode and registrations",
    "status": "show, or stop, the OpenCode that this user's assistants share",
    "board": "show every task in a browser: approve, review, bring over",
    "sessions": "show the sessions of the running OpenCode, live at a terminal",
    "logs": "show the logs of OpenCode and of the bridge, without secrets",
    "update": "renew the managed copy of OpenCode",
    "tools": "list the tools and their token cost, or show one",
    "call": "call one tool",
    "completion": "print the completion script of a shell",
}
"""Every command with its help text; its module has the same name."""

WITHOUT_FILES = frozenset({"install", "uninstall", "completion"})
"""Commands that do not read configuration files: the server that a client starts reads them itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0 success, 1 failure, 2 wrong usage."""
    return prepare(arguments)()


def prepare(arguments: Sequence[str] | None = None) -> Callable[[], int]:
    """Parse the arguments, import the command, and return what runs it."""
    root = root_parser()
    options, unknown = root.parse_known_args(arguments)
    if options.help and options.run is None:
        return partial(print_help, root)
    name = options.run or "stdio"
    if name not in COMMANDS:
        flags = [argument for argument in unknown if argument.startswith("-")]
        # What follows a flag that is unknown here may be its value.
        root.error(root.describe_unexpected(flags[0]) if flags else describe_choice("no command", name, COMMANDS))
    command = import_module(f"opencode_mcp.cli.commands.{name}")
    parser = command_parser(options.run, command)
    if options.help:
        return partial(print_help, parser)
    parser.parse_all([*unknown, *options.rest], options)
    return partial(run, name, command, options)


def print_help(parser: argparse.ArgumentParser) -> int:
    """Print the help of a parser."""
    parser.print_help()
    return 0


def run(name: str, command: ModuleType, options: argparse.Namespace) -> int:
    """Load the settings and run a command."""
    try:
        return command.run(Settings.load(vars(options), None, name, with_files=name not in WITHOUT_FILES), options)
    except SettingsError as error:
        print(f"opencode-mcp: {without_password(str(error))}", file=sys.stderr)  # noqa: T201 - usage errors go to the user
        return 2
    except OpenCodeError as error:
        print(f"opencode-mcp: {without_password(str(error))}", file=sys.stderr)  # noqa: T201 - a failure to start
        return 1
    except KeyboardInterrupt:
        return 130


def root_parser() -> UsageParser:
    """Build the parser of everything up to the command; what follows is left in `rest` for the command's parser."""
    root = UsageParser(
        prog="opencode-mcp",
        usage="%(prog)s [options] [COMMAND] …",
        description="An MCP server for OpenCode: tasks, and every operation of its HTTP API, as tools.\n\ncommands:\n"
        + "\n".join(f"  {name:12}{summary}" for name, summary in COMMANDS.items()),
        parents=[settings_parser()],
        add_help=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Not `command`, which is a setting.
    root.add_argument("run", nargs="?", metavar="COMMAND", help=argparse.SUPPRESS)
    root.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    root.add_argument("-h", "--help", action="store_true", help="show this help, or that of the command")
    root.add_argument("--version", action="version", version=f"opencode-mcp {__version__}")
    return root


def command_parser(name: str | None, command: ModuleType) -> UsageParser:
    """Build the parser of a command's own arguments and of the settings that it has; None is the default command."""
    parser = UsageParser(
        prog=f"opencode-mcp {name}" if name else "opencode-mcp",
        description=command.__doc__,
        parents=[settings_parser(name)],
    )
    command.configure(parser)
    parser.set_usage()
    return parser


def settings_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Build the parser of the settings that a command has, or that all have."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    group = parser.add_argument_group("settings")
    for setting in SETTINGS:
        if not setting.has_flag or not setting.applies_to(command):
            continue
        options: dict[str, Any] = {"choices": setting.choices or None}
        if setting.is_switch:
            options = {"action": "store_const", "const": "true"}
        elif setting.separator:
            options = {"action": "append"}
        group.add_argument(setting.flag, help=f"{setting.help} [{setting.variable}]", **options)
    return parser


def settings_flags(options: Mapping[str, Any]) -> list[str]:
    """Return the flags that set the settings in `options`, as they were typed; without those that hold a secret."""
    flags: list[str] = []
    for setting in SETTINGS:
        value: str | list[str] | None = options.get(setting.name)
        if value is None or setting.is_secret:
            continue
        for text in value if isinstance(value, list) else [value]:
            flags += [setting.flag] if setting.is_switch else [setting.flag, without_password(text)]
    return flags
