"""Call one tool from the shell and print its result.

A value is parsed as JSON where the tool's schema accepts the result, else it is text; key=@FILE reads a file.
Progress is shown on stderr, and permissions and questions are asked at the terminal. --json '{…}' passes all
arguments at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

import anyio
import mcp_types as types
from anyio.from_thread import BlockingPortal
from mcp import Client, MCPError

from opencode_mcp.catalog import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from opencode_mcp.tasks import TASK_TOOLS

from .asking import Prompter
from .document import load_catalog
from .given import parse_arguments
from .listing import full_schema, get_tool, list_tools
from .logs import set_up_logging
from .output import print_json, printable
from .progress import ProgressDisplay


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the tool and its arguments."""
    parser.add_argument("tool", metavar="NAME", help="tool to call; `opencode-mcp tools` lists them")
    parser.add_argument("pairs", nargs="*", metavar="key=value", help="an argument; @FILE reads it from a file")
    parser.add_argument("--json", metavar="JSON", help="arguments as a JSON object; - reads stdin")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Call, and return 1 when the result is an error."""
    set_up_logging(settings)
    catalog = load_catalog(settings)
    tool = get_tool(anyio.run(list_tools, settings, catalog), options.tool)
    schema = full_schema(catalog, tool.name)
    tool_arguments = longest_timeout(tool.name, schema) | parse_arguments(schema, options.pairs, options.json)
    result = anyio.run(call_tool, settings, catalog, tool.name, tool_arguments)
    if isinstance(result, MCPError):
        print(f"opencode-mcp: {printable(str(result))}", file=sys.stderr)  # noqa: T201 - a failure
        return 1
    if result.structured_content is not None:
        print_json(result.structured_content)
    else:
        text = "\n".join(item.text for item in result.content if isinstance(item, types.TextContent))
        print(printable(text), file=sys.stderr)  # noqa: T201 - only errors have no structured content
    return 1 if result.is_error else 0


def longest_timeout(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the longest timeout for a task tool: a shell has no time limit, and an OpenCode started here stops with
    the call."""
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
            async with Client(create_server(settings, catalog), mode="legacy", elicitation_callback=elicit) as client:
                try:
                    result = await client.call_tool(name, dict(tool_arguments), progress_callback=progress.on_progress)
                except MCPError as error:
                    result = error
                except anyio.get_cancelled_exc_class():
                    progress.print_line("cancelled; stopping the task", "yellow")
                    raise
    assert result is not None
    return result
