"""Print the script that completes commands, flags and tool names in a shell.

bash, zsh: source <(opencode-mcp completion bash). fish: opencode-mcp completion fish | source
"""

from __future__ import annotations

import argparse
from importlib import import_module

import anyio

from opencode_mcp.cli.completion_scripts import SHELLS, CompletionCommand, Flag
from opencode_mcp.cli.document_option import load_catalog
from opencode_mcp.cli.main import COMMANDS, settings_parser
from opencode_mcp.cli.output import ignore_broken_pipe
from opencode_mcp.cli.tool_stats import list_tools
from opencode_mcp.cli.usage import UsageParser
from opencode_mcp.settings import Settings

TAKES_TOOL = frozenset({"call", "tools"})


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the shell."""
    parser.add_argument("shell", choices=SHELLS, help="shell to generate the script for")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Print the script. It completes the tools that the current settings select."""
    tools = tuple(anyio.run(list_tools, settings, load_catalog(settings)))
    commands = [describe_command(name, summary, tools) for name, summary in COMMANDS.items()]
    global_flags = (
        *parser_flags(settings_parser()),
        Flag("--version", "show the version"),
        Flag("--help", "show help"),
    )
    with ignore_broken_pipe():
        print(SHELLS[options.shell](global_flags, commands), end="")  # noqa: T201 - the script
    return 0


def describe_command(name: str, summary: str, tools: tuple[str, ...]) -> CompletionCommand:
    """Return what can follow a command."""
    parser = UsageParser(parents=[settings_parser()])
    import_module(f"opencode_mcp.cli.commands.{name}").configure(parser)
    return CompletionCommand(
        name, summary, parser_flags(parser), tools if name in TAKES_TOOL else positional_choices(parser)
    )


def parser_flags(parser: argparse.ArgumentParser) -> tuple[Flag, ...]:
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


def positional_choices(parser: argparse.ArgumentParser) -> tuple[str, ...]:
    """Return the choices of a parser's first positional argument."""
    for action in parser._actions:  # pyright: ignore[reportPrivateUsage] - as above
        if not action.option_strings:
            return tuple(map(str, action.choices or ()))
    return ()
