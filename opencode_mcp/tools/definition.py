"""Operation or workflow -> MCP tool, as it goes over the wire."""

from __future__ import annotations

from typing import Any, cast

from opencode_mcp.catalog import Operation
from opencode_mcp.catalog.annotations import Hints
from opencode_mcp.tasks import TaskTool

from .compact_schema import compact_schema
from .gateway import GatewayTool
from .selection import SEARCH_HINTS, toolset_of

CLIENT_CHARS = 50_000


def operation_definition(operation: Operation, max_result_chars: int) -> dict[str, Any]:
    """Return the tool of an operation. It has no output schema: live answers deviate, and clients throw then."""
    meta: dict[str, Any] = {}
    if hint := SEARCH_HINTS.get(toolset_of(operation.id)):
        meta["anthropic/searchHint"] = hint
    if max_result_chars > CLIENT_CHARS:  # Claude Code cuts there unless a tool says otherwise; ours are never longer
        meta["anthropic/maxResultSizeChars"] = max_result_chars
    return {
        "name": operation.name,
        "title": operation.title,
        "description": operation.description + (" Deprecated." if operation.deprecated else ""),
        "inputSchema": compact_schema(operation.input_schema),
        "annotations": tool_annotations(operation.hints),
        **({"_meta": meta} if meta else {}),
    }


def gateway_definition(tool: GatewayTool) -> dict[str, Any]:
    """Return a tool of the gateway."""
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": compact_schema(tool.input_schema),
        "annotations": tool_annotations(tool.hints),
        "_meta": {"anthropic/alwaysLoad": True},
    }


def task_definition(tool: TaskTool) -> dict[str, Any]:
    """Return the tool of a workflow."""
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": compact_schema(tool.input_schema),
        "outputSchema": compact_output_schema(tool.output_schema),
        "annotations": tool_annotations(tool.hints),
        "_meta": {"anthropic/alwaysLoad": True},
    }


def compact_output_schema(schema: Any) -> Any:
    """Return the schema of a result as it is listed: what every tool of a list repeats is left out.

    That is: the titles that pydantic makes of field names, the docstrings of models (fields have words of their own),
    defaults, that an object may hold anything, which fields of inner objects are always there, and the long form of
    "or null".
    """
    if isinstance(schema, list):
        return [compact_output_schema(value) for value in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    fields = cast("dict[str, Any]", schema)
    noise = {"title", "default", "additionalProperties"} | ({"description"} if "properties" in fields else set[str]())
    # A field that is called like a keyword has a schema, and stays.
    compact = {
        key: compact_output_schema(value)
        for key, value in fields.items()
        if key not in noise or isinstance(value, dict)
    }
    for definition in compact.get("$defs", {}).values():
        definition.pop("required", None)
    match compact.get("anyOf"):
        case [{"type": str(kind), **rest}, {"type": "null"}] if not rest:
            del compact["anyOf"]
            compact["type"] = [kind, "null"]
        case _:
            pass
    return compact


def tool_annotations(hints: Hints) -> dict[str, Any]:
    """Return the annotations that clients decide by."""
    return {
        "readOnlyHint": hints.read_only,
        "destructiveHint": hints.destructive,
        "idempotentHint": hints.idempotent,
        "openWorldHint": hints.open_world,
    }
