"""Operation, task tool or gateway tool -> MCP tool definition, as tools/list returns it."""

from __future__ import annotations

from typing import Any

from opencode_mcp import board
from opencode_mcp.catalog import Operation
from opencode_mcp.catalog.annotations import Hints
from opencode_mcp.catalog.listing import find_longest_prefix
from opencode_mcp.tasks import TaskTool
from opencode_mcp.tasks.report import TaskReport

from .compact_schema import compact_output_schema, compact_schema, outline_output_schema
from .gateway import GatewayTool
from .selection import SEARCH_HINTS, toolset_of

CLIENT_CHARS = 50_000
"""The length of a result at which Claude Code truncates it."""

ALWAYS_LOADED = {"anthropic/alwaysLoad": True}
"""`_meta` of a tool that Claude Code loads at the start, without a search."""

SHOW_BOARD = frozenset({"run_tasks", "wait_for_tasks", "report_task", "collect_changes", "list_tasks"})
"""The task tools beside whose results clients with MCP Apps show the board."""

FOR_BOARD_ONLY = frozenset({"list_tasks"})
"""The task tools that such clients hide from the model, as do Claude Code 2.1.332, Codex 0.169.0 and Qwen Code 0.24.4.
Every client gets them: the list of tools does not depend on the client."""

DESCRIBE_REPORTS = frozenset({"run_task", "report_task"})
"""The tools whose output schema has a report's fields whole: the one called most, and the one that a read-only server
has. The schemas of the others name the fields and their types, as each copy costs what a client sends to its model."""


def seldom_needed_arguments(operation: Operation) -> frozenset[str]:
    """Return the arguments that tools/list leaves out; describe_operation shows them, and calls may have them."""
    return find_longest_prefix(operation.generation.listing.seldom_needed, operation.id, frozenset())


def operation_definition(operation: Operation, max_result_chars: int) -> dict[str, Any]:
    """Return an operation's definition. It has no output schema: responses deviate from it, and clients then fail."""
    meta: dict[str, Any] = {}
    if hint := SEARCH_HINTS.get(toolset_of(operation)):
        meta["anthropic/searchHint"] = hint
    if max_result_chars > CLIENT_CHARS:  # Claude Code truncates there unless a tool sets its own limit
        meta["anthropic/maxResultSizeChars"] = max_result_chars
    definition = tool_definition(operation, seldom_needed_arguments(operation))
    if operation.deprecated:
        definition["description"] += " Deprecated."
    return definition | ({"_meta": meta} if meta else {})


def gateway_definition(tool: GatewayTool) -> dict[str, Any]:
    """Return a gateway tool's definition."""
    return {**tool_definition(tool), "_meta": ALWAYS_LOADED}


def task_definition(tool: TaskTool) -> dict[str, Any]:
    """Return a task tool's definition."""
    is_outlined = tool.output is TaskReport and tool.name not in DESCRIBE_REPORTS
    compact = outline_output_schema if is_outlined else compact_output_schema
    return {**tool_definition(tool), "outputSchema": compact(tool.output_schema), "_meta": task_meta(tool.name)}


def task_meta(name: str) -> dict[str, Any]:
    """Return the `_meta` of a task tool."""
    ui = {
        **({"resourceUri": board.URI} if name in SHOW_BOARD else {}),
        **({"visibility": ["app"]} if name in FOR_BOARD_ONLY else {}),
    }
    return {**({} if name in FOR_BOARD_ONLY else ALWAYS_LOADED), **({"ui": ui} if ui else {})}


def tool_definition(
    tool: Operation | GatewayTool | TaskTool, seldom_needed: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Return what the definitions of all tools have in common."""
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": compact_schema(tool.input_schema, seldom_needed),
        "annotations": tool_annotations(tool.hints),
    }


def tool_annotations(hints: Hints) -> dict[str, Any]:
    """Return hints as MCP tool annotations.

    Three are always given: clients and directories of servers differ in what they assume without them. Whether a call
    is idempotent is given where it changes something and is: of reading, the protocol says that it does not matter.
    """
    annotations = {
        "readOnlyHint": hints.read_only,
        "destructiveHint": hints.destructive,
        "openWorldHint": hints.open_world,
    }
    return annotations | ({"idempotentHint": True} if hints.idempotent and not hints.read_only else {})
