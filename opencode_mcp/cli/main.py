"""`opencode-mcp [COMMAND]`: parse, load the settings, hand over to the command.

A command is a module of this package with `configure(parser)`, which adds its own arguments, and
`run(settings, options)`, which returns the exit code. It is imported only when it is called.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from typing import Any

from opencode_mcp import __version__
from opencode_mcp.exceptions import OpenCodeError, SettingsError
from opencode_mcp.settings import Settings, holds
from opencode_mcp.settings.checks import without_password

COMMANDS = {
    "stdio": "serve over stdin and stdout (the default)",
    "http": "serve streamable HTTP",
    "install": "register with an MCP client",
    "uninstall": "take that back",
    "doctor": "check that everything is in place",
    "tools": "list the tools and what they cost, or show one",
    "call": "call one tool",
    "completion": "print the completion script of a shell",
}
"""Every command with what it does; the module is named like it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code: 0 well, 1 failed, 2 wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    root = root_parser()
    chosen, _ = root.parse_known_args(given)
    if chosen.help and chosen.run is None:
        root.print_help()
        return 0
    name = chosen.run or "stdio"
    command = import_module(f"opencode_mcp.cli.{name}")
    parser = argparse.ArgumentParser(
        prog=f"opencode-mcp {name}", description=command.__doc__, parents=[settings_parser(name)], allow_abbrev=False
    )
    command.configure(parser)
    if chosen.run is not None:
        del given[position(root, given, name)]
    options = parser.parse_args(given)
    try:
        return command.run(Settings.load(vars(options), command=name), options)
    except SettingsError as error:
        print(f"opencode-mcp: {without_password(str(error))}", file=sys.stderr)  # noqa: T201 - usage errors go to the person
        return 2
    except OpenCodeError as error:
        print(f"opencode-mcp: {without_password(str(error))}", file=sys.stderr)  # noqa: T201 - so do failures to start
        return 1
    except KeyboardInterrupt:
        return 130


def position(root: argparse.ArgumentParser, given: list[str], name: str) -> int:
    """Return where the command stands: a flag's value may be the same word."""
    return next(at for at, word in enumerate(given) if word == name and root.parse_known_args(given[: at + 1])[0].run)


def root_parser() -> argparse.ArgumentParser:
    """Build the parser that finds the command; the command's own arguments are left to its parser."""
    root = argparse.ArgumentParser(
        prog="opencode-mcp",
        description="An MCP server for OpenCode: tasks, and every operation of its HTTP API, as tools. "
        "Without a command it serves over stdio.",
        parents=[settings_parser()],
        add_help=False,
        allow_abbrev=False,
        epilog="commands:\n" + "\n".join(f"  {name:12}{does}" for name, does in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Not `command`, which is a setting.
    root.add_argument("run", nargs="?", choices=COMMANDS, metavar="COMMAND", help="what to do; see below")
    root.add_argument("-h", "--help", action="store_true", help="show this help, or that of the command")
    root.add_argument("--version", action="version", version=f"opencode-mcp {__version__}")
    return root


def settings_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Build the parser of the flags that `Settings` has for a command, or for every one."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for one in fields(Settings):
        if not one.metadata or not one.metadata.get("flag", True):
            continue
        if holds(one, command):
            kind: dict[str, Any] = {"choices": one.metadata.get("choices")}
            if one.metadata.get("switch"):
                kind = {"action": "store_const", "const": "true"}
            elif "separator" in one.metadata:
                kind = {"action": "append"}
            parser.add_argument(
                f"--{one.name.replace('_', '-')}", help=f"{one.metadata['help']} [{one.metadata['variable']}]", **kind
            )
    return parser
