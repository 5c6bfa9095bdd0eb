"""List the tools with their cost in tokens, or show one in full.

Tokens are estimated: a quarter of the bytes of name, description and schema.
"""

from __future__ import annotations

import argparse
from typing import Any

import anyio
import mcp_types as types
from rich.table import Table

from opencode_mcp.catalog import Catalog
from opencode_mcp.cli.document_option import load_catalog
from opencode_mcp.cli.output import ignore_broken_pipe, print_json, stdout_console
from opencode_mcp.cli.tool_stats import (
    definition_bytes,
    estimate_tokens,
    full_schema,
    get_tool,
    hints,
    list_tools,
    toolset_name,
    total_bytes,
)
from opencode_mcp.connect import expected_generation
from opencode_mcp.settings import Settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add which tool, and the format."""
    parser.add_argument("tool", nargs="?", metavar="NAME", help="show this tool in full")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Print the list, or one tool."""
    catalog = load_catalog(settings, expected_generation(settings))
    tools = anyio.run(list_tools, settings, catalog)
    if options.tool is not None:
        show_tool(catalog, get_tool(tools, options.tool), options.json)
    else:
        show_summary(catalog, list(tools.values()), options.json)
    return 0


def show_summary(catalog: Catalog, tools: list[types.Tool], as_json: bool) -> None:
    """Print the list and its cost."""
    size = total_bytes(tools)
    if as_json:
        entries = [summarize(catalog, tool) for tool in tools]
        print_json({"tools": entries, "total": {"tools": len(tools), "tokens": estimate_tokens(size), "bytes": size}})
        return
    table = Table(box=None, pad_edge=False, show_footer=True)
    table.add_column("tool", f"{len(tools)} tools", no_wrap=True)
    table.add_column("toolset", no_wrap=True)
    table.add_column("hints", style="dim")
    table.add_column("tokens", f"{estimate_tokens(size)}", justify="right", no_wrap=True)
    table.add_column("bytes", f"{size}", justify="right", no_wrap=True)
    for tool in tools:
        size = definition_bytes(tool)
        table.add_row(
            tool.name, toolset_name(catalog, tool.name), format_hints(tool), str(estimate_tokens(size)), str(size)
        )
    with ignore_broken_pipe():
        stdout_console().print(table)


def show_tool(catalog: Catalog, tool: types.Tool, as_json: bool) -> None:
    """Print a tool in full."""
    facts = summarize(catalog, tool) | {
        "description": tool.description,
        "inputSchema": tool.input_schema,
        "fullInputSchema": full_schema(catalog, tool.name),
        **({"outputSchema": tool.output_schema} if tool.output_schema else {}),
    }
    if as_json:
        print_json(facts)
        return
    out = stdout_console()
    with ignore_broken_pipe():
        out.print(f"{tool.name} - {tool.title}", style="bold")
        out.print(
            f"{facts['toolset']}; {format_hints(tool)}; {facts['tokens']} tokens, {facts['bytes']} bytes", style="dim"
        )
        out.print(f"\n{tool.description}", soft_wrap=True)
    for title, key in (
        ("Schema that a model sees", "inputSchema"),
        ("Schema that validates a call", "fullInputSchema"),
    ):
        with ignore_broken_pipe():
            out.print(f"\n{title}:", style="bold")
        print_json(facts[key])


def summarize(catalog: Catalog, tool: types.Tool) -> dict[str, Any]:
    """Return a tool's line as data."""
    size = definition_bytes(tool)
    return {
        "name": tool.name,
        "title": tool.title,
        "toolset": toolset_name(catalog, tool.name),
        "hints": hints(tool),
        "tokens": estimate_tokens(size),
        "bytes": size,
    }


def format_hints(tool: types.Tool) -> str:
    """Return a tool's hints as text."""
    active = [name.replace("_", "-") for name, is_set in hints(tool).items() if is_set]
    if "read-only" in active:
        active.remove("idempotent")  # implied
    return ", ".join(active) or "writes"
