"""An operation's arguments in one line, as search results have them: `sessionID, mode: git|branch, context?`.

Most operations can be called from this line. describe_operation has the schema.
"""

from __future__ import annotations

from collections.abc import Mapping

from opencode_mcp.catalog import Operation
from opencode_mcp.openapi.document import Schema
from opencode_mcp.openapi.example import simplest_branch
from opencode_mcp.openapi.navigation import resolve

from .compact_schema import compact_schema

MAX_LINE_CHARS = 120
"""Optional arguments are named as far as the line stays below this; `…` stands for the rest."""

MAX_VALUES_CHARS = 60
"""Longer lists of allowed values are cut."""

MAX_DEPTH = 5
TEXT = '"…"'
"""Stands for a plain item of an array."""

COMMON_ARGUMENTS = frozenset({"directory", "location", "server"})
"""Optional arguments of most operations, which a line does not name."""


def format_signature(operation: Operation) -> str:
    """Return required arguments with their fields and allowed values, then names of optional ones, marked with `?`."""
    schema = operation.input_schema
    properties: Mapping[str, Schema] = schema["properties"]
    required: list[str] = schema.get("required", [])
    definitions: Mapping[str, Schema] = schema.get("$defs", {})
    parts = [format_argument(name, properties.get(name, {}), definitions) for name in required]
    published = compact_schema(schema)["properties"]
    for name in published:
        if name in required or name in COMMON_ARGUMENTS:
            continue
        if len(", ".join([*parts, name])) > MAX_LINE_CHARS:
            return ", ".join([*parts, "…"])
        parts.append(f"{name}?")
    return ", ".join(parts)


def format_argument(name: str, schema: Schema, definitions: Mapping[str, Schema], depth: int = 0) -> str:
    """Return a name, and after a colon what a model could not guess from it: fields, items, allowed values."""
    values = format_values(schema, definitions, depth)
    return f"{name}: {values}" if values else name


def format_values(schema: Schema, definitions: Mapping[str, Schema], depth: int) -> str:
    """Return the allowed values or the required fields of a schema, "" for a plain value."""
    if depth > MAX_DEPTH:  # a newer document may have a component that contains itself
        return ""
    schema = resolve(schema, definitions)
    if branches := schema.get("anyOf") or schema.get("oneOf"):
        return format_values(simplest_branch(branches, definitions), definitions, depth + 1)
    if allowed := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        text = "|".join(map(str, allowed))
        return text if len(text) <= MAX_VALUES_CHARS else f"{text[:MAX_VALUES_CHARS].rpartition('|')[0]}|…"
    match schema.get("type"):
        case "object" if schema.get("required"):
            properties: Mapping[str, Schema] = schema.get("properties", {})
            fields = [
                format_argument(name, properties.get(name, {}), definitions, depth + 1) for name in schema["required"]
            ]
            return f"{{{', '.join(fields)}}}"
        case "object":
            return "{…}"
        case "array":
            return f"[{format_values(schema.get('items', {}), definitions, depth + 1) or TEXT}]"
        case "boolean":
            return "true|false"
        case _:
            return ""
