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

from opencode_mcp.openapi import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from opencode_mcp.workflows import TASK_TOOLS

from .asking import Person
from .document import chosen_catalog
from .given import arguments
from .listing import full_schema, listed, named
from .logs import set_up_logging
from .output import print_json, printable
from .progress import Progress


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the tool and its arguments."""
    parser.add_argument("tool", metavar="NAME", help="tool to call; `opencode-mcp tools` lists them")
    parser.add_argument("pairs", nargs="*", metavar="key=value", help="an argument; @FILE reads it from a file")
    parser.add_argument("--json", metavar="JSON", help="arguments as a JSON object; - reads stdin")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Call, and return 1 when the result is an error."""
    set_up_logging(settings)
    catalog = chosen_catalog(settings)
    tool = named(anyio.run(listed, settings, catalog), options.tool)
    schema = full_schema(catalog, tool.name)
    given = patient(tool.name, schema) | arguments(schema, options.pairs, options.json)
    result = anyio.run(called, settings, catalog, tool.name, given)
    if isinstance(result, MCPError):
        print(f"opencode-mcp: {printable(str(result))}", file=sys.stderr)  # noqa: T201 - a failure
        return 1
    if result.structured_content is not None:
        print_json(result.structured_content)
    else:
        text = "\n".join(one.text for one in result.content if isinstance(one, types.TextContent))
        print(printable(text), file=sys.stderr)  # noqa: T201 - only errors have no structured content
    return 1 if result.is_error else 0


def patient(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the longest timeout for a task tool: a shell has no time limit, and an OpenCode started here stops with
    the call."""
    limit: Mapping[str, Any] = schema.get("properties", {}).get("timeout_seconds", {})
    return {"timeout_seconds": limit["maximum"]} if name in TASK_TOOLS and "maximum" in limit else {}


async def called(
    settings: Settings, catalog: Catalog, name: str, given: Mapping[str, Any]
) -> types.CallToolResult | MCPError:
    """Call a tool of a server in this process; cancelling this cancels the call."""
    result: types.CallToolResult | MCPError | None = None
    async with BlockingPortal() as portal:
        with Progress() as progress:
            elicit = Person(progress, portal).ask if sys.stdin.isatty() and sys.stderr.isatty() else None
            # Protocol 2025-11-25: a question is asked while the call is open, without a limit of rounds, and can be
            # withdrawn.
            async with Client(create_server(settings, catalog), mode="legacy", elicitation_callback=elicit) as client:
                try:
                    result = await client.call_tool(name, dict(given), progress_callback=progress.told)
                except MCPError as error:
                    result = error
                except anyio.get_cancelled_exc_class():
                    progress.say("cancelled; stopping the task", "yellow")
                    raise
    assert result is not None
    return result
