"""Print the script that completes commands, flags and tool names in a shell.

bash, zsh: source <(opencode-mcp completion bash). fish: opencode-mcp completion fish | source
"""

from __future__ import annotations

import argparse
from importlib import import_module

import anyio

from opencode_mcp.settings import Settings

from .document import chosen_catalog
from .listing import listed
from .main import COMMANDS, settings_parser
from .output import unless_closed
from .shells import SHELLS, Command, Flag

TAKES_TOOL = frozenset({"call", "tools"})


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the shell."""
    parser.add_argument("shell", choices=SHELLS, help="shell to generate the script for")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Print the script. It completes the tools that the current settings select."""
    tools = tuple(anyio.run(listed, settings, chosen_catalog(settings)))
    commands = [described(name, does, tools) for name, does in COMMANDS.items()]
    own = (*flags(settings_parser()), Flag("--version", "show the version"), Flag("--help", "show help"))
    with unless_closed():
        print(SHELLS[options.shell](own, commands), end="")  # noqa: T201 - the script
    return 0


def described(name: str, does: str, tools: tuple[str, ...]) -> Command:
    """Return what can follow a command."""
    parser = argparse.ArgumentParser(parents=[settings_parser()], allow_abbrev=False)
    import_module(f"opencode_mcp.cli.{name}").configure(parser)
    return Command(name, does, flags(parser), tools if name in TAKES_TOOL else words(parser))


def flags(parser: argparse.ArgumentParser) -> tuple[Flag, ...]:
    """Return the flags of a parser."""
    return tuple(
        Flag(
            name=action.option_strings[-1],
            help=(action.help or "").replace("\n", " ").replace("%%", "%"),
            takes_value=action.nargs != 0,
            values=tuple(map(str, action.choices or ())),
        )
        for action in parser._actions  # pyright: ignore[reportPrivateUsage] - argparse has no public accessor
        if action.option_strings and action.help != argparse.SUPPRESS
    )


def words(parser: argparse.ArgumentParser) -> tuple[str, ...]:
    """Return the choices of a parser's first positional argument."""
    for action in parser._actions:  # pyright: ignore[reportPrivateUsage] - as above
        if not action.option_strings:
            return tuple(map(str, action.choices or ()))
    return ()
