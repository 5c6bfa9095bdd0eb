"""The tools that the settings select, as a client sees them, and their token cost."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import mcp_types as types
from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from opencode_mcp.tasks import TASK_TOOLS
from opencode_mcp.tools import Selection, ToolRegistry
from opencode_mcp.tools.gateway import GATEWAY_TOOLS, current_name
from opencode_mcp.tools.selection import toolset_of

from .usage import describe_unknown

BYTES_PER_TOKEN = 4
HINTS = ("read_only", "destructive", "idempotent", "open_world")


async def list_tools(settings: Settings, catalog: Catalog) -> dict[str, types.Tool]:
    """Return the tools by name. OpenCode is not started."""
    async with Client(create_server(settings, catalog)) as client:
        return {tool.name: tool for tool in (await client.list_tools()).tools}


def get_tool(tools: dict[str, types.Tool], name: str) -> types.Tool:
    """Return a tool by its name.

    Raises:
        SettingsError: the tool does not exist; the message suggests the nearest names.
    """
    name = current_name(name)
    if name not in tools:
        raise SettingsError(describe_unknown(f"no tool {name!r}", name, tools, "`opencode-mcp tools` lists them"))
    return tools[name]


def full_schema(catalog: Catalog, name: str) -> dict[str, Any]:
    """Return the schema that validates a tool's arguments."""
    return dict(ToolRegistry(catalog, Selection(frozenset(), frozenset()), 0).input_schema(name) or {})


def toolset_name(catalog: Catalog, name: str) -> str:
    """Return the toolset that a tool is in."""
    if name in catalog:
        return toolset_of(catalog[name])
    return "tasks" if name in TASK_TOOLS else "gateway" if name in GATEWAY_TOOLS else ""


def hints(tool: types.Tool) -> dict[str, bool]:
    """Return a tool's annotations; reading is idempotent, and has no hint for that."""
    values = {name: bool(getattr(tool.annotations, f"{name}_hint")) for name in HINTS}
    return values | {"idempotent": values["idempotent"] or values["read_only"]}


def definition_bytes(tool: types.Tool) -> int:
    """Return the size of a tool's definition for a model: name, description and schema as minified JSON, in bytes."""
    definition = {"name": tool.name, "description": tool.description, "inputSchema": tool.input_schema}
    return len(json.dumps(definition, separators=(",", ":"), ensure_ascii=False).encode())


def estimate_tokens(size: int) -> int:
    """Estimate the tokens of `size` bytes."""
    return round(size / BYTES_PER_TOKEN)


def total_bytes(tools: Iterable[types.Tool]) -> int:
    """Return the bytes of several tools."""
    return sum(definition_bytes(tool) for tool in tools)
