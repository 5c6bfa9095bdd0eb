"""Call one tool from the shell and print its result: for people at a terminal, as JSON in a pipe or with --json.

A value is parsed as JSON where the tool's schema accepts the result, else it is text; key=@FILE reads a file.
Progress is shown on stderr, and permissions and questions are asked at the terminal. --arguments '{…}' passes all
arguments at once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from anyio.from_thread import BlockingPortal
from jsonschema_rs import Draft202012Validator
from mcp import Client, MCPError

from opencode_mcp import __version__
from opencode_mcp.catalog import Catalog
from opencode_mcp.cli.completion_scripts import PROGRAM
from opencode_mcp.cli.console import ProgressDisplay, Prompter
from opencode_mcp.cli.document_option import load_catalog
from opencode_mcp.cli.logs import set_up_logging
from opencode_mcp.cli.main import settings_flags
from opencode_mcp.cli.output import print_json, print_lines, printable, stdout_console
from opencode_mcp.cli.result_text import Shell, format_result
from opencode_mcp.cli.tool_stats import full_schema, get_tool, list_tools
from opencode_mcp.connect import find_generation
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from opencode_mcp.tasks import TASK_TOOLS
from opencode_mcp.tools import facts_of

NOT_JSON = object()
CLIENT_INFO = types.Implementation(name="opencode-mcp call", version=__version__)
"""The name of this command in lists of assistants."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the tool and its arguments."""
    parser.add_argument("tool", metavar="NAME", help="tool to call; `opencode-mcp tools` lists them")
    parser.add_argument(
        "pairs", nargs="*", default=[], metavar="key=value", help="an argument; @FILE reads it from a file"
    )
    parser.add_argument("--arguments", metavar="JSON", help="arguments as a JSON object; - reads stdin")
    parser.add_argument("--json", action="store_true", help="print JSON at a terminal too")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Call, and return 1 when the result is an error."""
    set_up_logging(settings)
    catalog = load_catalog(settings, anyio.run(find_generation, settings))
    tool = get_tool(anyio.run(list_tools, settings, catalog), options.tool)
    schema = full_schema(catalog, tool.name)
    tool_arguments = longest_timeout(tool.name, schema) | parse_arguments(schema, options.pairs, options.arguments)
    result = anyio.run(call_tool, settings, catalog, tool.name, tool_arguments)
    if isinstance(result, MCPError):
        print(f"opencode-mcp: {printable(str(result))}", file=sys.stderr)  # noqa: T201 - a failure
        return 1
    if (facts := facts_of(result)) is not None:
        print_facts(tool.name, facts, settings, options)
    else:
        text = "\n".join(item.text for item in result.content if isinstance(item, types.TextContent))
        print(printable(text), file=sys.stderr)  # noqa: T201 - an error that is only a message
    return 1 if result.is_error else 0


def print_facts(tool: str, facts: Mapping[str, Any], settings: Settings, options: argparse.Namespace) -> None:
    """Print a result on stdout."""
    if options.json or not sys.stdout.isatty():
        print_json(facts)
        return
    program = [PROGRAM, "call", *settings_flags(vars(options))]
    opencode_stays = bool(settings.urls) or not settings.no_share
    lines = format_result(tool, facts, Shell(program, opencode_stays, stdout_console().width))
    if lines is None:
        print_json(facts)
    else:
        print_lines(lines)


def longest_timeout(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the longest timeout for a task tool: a shell has no time limit."""
    timeout_schema: Mapping[str, Any] = schema.get("properties", {}).get("timeout_seconds", {})
    return {"timeout_seconds": timeout_schema["maximum"]} if name in TASK_TOOLS and "maximum" in timeout_schema else {}


async def call_tool(
    settings: Settings, catalog: Catalog, name: str, tool_arguments: Mapping[str, Any]
) -> types.CallToolResult | MCPError:
    """Call a tool of a server in this process; cancelling this cancels the call."""
    result: types.CallToolResult | MCPError | None = None
    async with BlockingPortal() as portal:
        with ProgressDisplay() as progress:
            elicit = Prompter(progress, portal).ask if sys.stdin.isatty() and sys.stderr.isatty() else None
            # Protocol 2025-11-25: a question is asked while the call is open, without a limit of rounds, and can be
            # withdrawn.
            server = create_server(settings, catalog)
            async with Client(server, mode="legacy", elicitation_callback=elicit, client_info=CLIENT_INFO) as client:
                try:
                    result = await client.call_tool(name, dict(tool_arguments), progress_callback=progress.on_progress)
                except MCPError as error:
                    result = error
                except anyio.get_cancelled_exc_class():
                    progress.print_line("cancelled; stopping the task", "yellow")
                    raise
    assert result is not None
    return result


def parse_arguments(schema: Mapping[str, Any], pairs: Iterable[str], text: str | None) -> dict[str, Any]:
    """Return the arguments of the tool; a pair overrides the same key of `--arguments`.

    Raises:
        SettingsError: a pair is not key=value, a file cannot be read, or `--arguments` is not a JSON object.
    """
    return parse_json_object(text) | {key: coerce_value(schema, key, value) for key, value in map(split_pair, pairs)}


def parse_json_object(text: str | None) -> dict[str, Any]:
    """Parse `--arguments`; `-` is stdin.

    Raises:
        SettingsError: it is not a JSON object.
    """
    if text is None:
        return {}
    value = parse_json(sys.stdin.read() if text == "-" else text)
    if not isinstance(value, dict):
        raise SettingsError("--arguments takes a JSON object, or - for one on stdin")
    return value  # pyright: ignore[reportUnknownVariableType] - a JSON object


def split_pair(pair: str) -> tuple[str, str]:
    """Split `key=value`; `key=@file` is the file's text, and `key=@@…` a text that starts with @.

    Raises:
        SettingsError: it has no key or no =, or the file cannot be read.
    """
    key, equals, value = pair.partition("=")
    if not key or not equals:
        raise SettingsError(f"{pair!r} is not key=value; --arguments takes a JSON object")
    if value.startswith("@@"):
        return key, value[1:]
    if not value.startswith("@"):
        return key, value
    try:
        return key, Path(value[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{key}: {value[1:]!r} cannot be read as text ({error}); @@ stands for a leading @"
        ) from error


def coerce_value(schema: Mapping[str, Any], key: str, text: str) -> Any:
    """Return the JSON value of a text if the tool's schema accepts it, else the text."""
    value = parse_json(text)
    expected: Any = schema.get("properties", {}).get(key)
    if value is NOT_JSON or expected is None:
        return text
    schema_with_definitions = {"allOf": [expected], "$defs": schema.get("$defs", {})}
    return value if Draft202012Validator(schema_with_definitions).is_valid(value) else text


def parse_json(text: str) -> Any:
    """Parse JSON; return `NOT_JSON` if it is not valid."""
    try:
        return json.loads(text)
    except ValueError:
        return NOT_JSON
