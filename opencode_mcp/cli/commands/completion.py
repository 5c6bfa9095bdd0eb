"""Print the script that completes commands, flags, tools and their arguments in a shell.

bash, zsh: source <(opencode-mcp completion bash). fish: opencode-mcp completion fish | source
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

import anyio

from opencode_mcp.cli.completion_scripts import SHELLS, CompletionCommand, Flag
from opencode_mcp.cli.document_option import load_catalog
from opencode_mcp.cli.main import COMMANDS, settings_parser
from opencode_mcp.cli.output import ignore_broken_pipe
from opencode_mcp.cli.tool_stats import list_tools
from opencode_mcp.cli.usage import UsageParser
from opencode_mcp.connect import expected_generation
from opencode_mcp.settings import Settings
from opencode_mcp.tools.selection import PRESETS, TOOLSETS

TAKES_TOOL = frozenset({"call", "tools"})
TAKES_ARGUMENTS = frozenset({"call"})
"""Commands that take a tool's arguments after its name."""

Values = Mapping[str, tuple[str, ...]]
"""Possible values by the name of an argument or a flag; () where they are not known."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the shell."""
    parser.add_argument("shell", choices=SHELLS, help="shell to generate the script for")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Print the script. It completes the tools that the current settings select."""
    catalog = load_catalog(settings, expected_generation(settings))
    tools = anyio.run(list_tools, settings, catalog)
    arguments = {name: argument_values(tool.input_schema) for name, tool in tools.items()}
    values = {"--toolsets": (*PRESETS, *TOOLSETS), "--tools": (*tools,), "--exclude-tools": (*tools,)}
    commands = [describe_command(name, summary, arguments, values) for name, summary in COMMANDS.items()]
    global_flags = (
        *parser_flags(settings_parser(), values),
        Flag("--version", "show the version"),
        Flag("--help", "show help"),
    )
    with ignore_broken_pipe():
        print(SHELLS[options.shell](global_flags, commands), end="")  # noqa: T201 - the script
    return 0


def describe_command(name: str, summary: str, tools: Mapping[str, Values], flag_values: Values) -> CompletionCommand:
    """Return what can follow a command."""
    parser = UsageParser(parents=[settings_parser()])
    import_module(f"opencode_mcp.cli.commands.{name}").configure(parser)
    words = tuple(tools) if name in TAKES_TOOL else positional_choices(parser)
    command = CompletionCommand(name, summary, parser_flags(parser, flag_values), words)
    return replace(command, arguments=tools) if name in TAKES_ARGUMENTS else command


def argument_values(schema: Mapping[str, Any]) -> Values:
    """Return the arguments of a tool, each with the values that it can have, where they are few."""
    properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
    return {
        name: ("true", "false") if field.get("type") == "boolean" else tuple(map(str, field.get("enum", ())))
        for name, field in properties.items()
    }


def parser_flags(parser: argparse.ArgumentParser, values: Values) -> tuple[Flag, ...]:
    """Return the flags of a parser; `values` are those of flags whose parser does not list them."""
    return tuple(
        Flag(
            name=action.option_strings[-1],
            help=(action.help or "").replace("\n", " ").replace("%%", "%"),
            takes_value=action.nargs != 0,
            values=values.get(action.option_strings[-1]) or tuple(map(str, action.choices or ())),
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
