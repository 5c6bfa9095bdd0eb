"""The input schema that a model sees: a short summary of the one that validates.

Every tool costs context in every request of a client. describe_operation returns the full schema. The summary may
accept more than the full schema, never less; a property test asserts that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from opencode_mcp.openapi.document import Schema

MAX_ARGUMENT_BYTES = 1_100
"""An argument whose summary is longer is outlined. A prompt's `parts` are the longest that stay whole."""

MAX_FIELD_BYTES = 110
"""Inside an argument, an optional field whose summary is longer is left out."""

MAX_LISTED_FIELDS = 40

HIDDEN_ARGUMENTS = frozenset({"workspace"})
"""An argument of more than a hundred tools, seldom used; describe_operation shows it."""

NARROWING_KEYWORDS = frozenset(
    {"$defs", "$schema", "additionalProperties", "const", "default", "exclusiveMaximum", "exclusiveMinimum"}
    | {"format", "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum", "pattern", "title"}
)
"""Keywords that only narrow: without them a schema accepts more. Numbers' limits stay where they are small."""

MAX_USEFUL_BOUND = 100_000
"""A limit above this, or of zero, helps no model (OpenCode declares 9007199254740991)."""


def compact_schema(schema: Schema) -> Schema:
    """Return the summary of a tool's input schema: a plain object without `$ref`s."""
    definitions: Mapping[str, Schema] = schema.get("$defs", {})
    required = frozenset[str](schema.get("required", ()))
    properties: dict[str, Schema] = {}
    # OpenCode finds a session's directory by its id (1.18.33), so that argument is not needed.
    hidden = HIDDEN_ARGUMENTS | {"directory"} if "sessionID" in required else HIDDEN_ARGUMENTS
    for name, schema_of_field in schema.get("properties", {}).items():
        if name in required or name not in hidden:
            summary = summarize(schema_of_field, definitions, ())
            properties[name] = (
                summary if json_bytes(summary) <= MAX_ARGUMENT_BYTES else outline(schema_of_field, definitions)
            )
    root: Schema = {"type": "object", "properties": properties}
    return root | {"required": schema["required"]} if required else root


def summarize(schema: Schema, definitions: Mapping[str, Schema], ancestors: tuple[str, ...]) -> Schema:
    """Inline a schema's `$ref`s and drop narrowing keywords; a recursive component accepts anything."""
    reference: str | None = schema.get("$ref")
    if reference is not None:
        name = reference.removeprefix("#/$defs/")
        return {} if name in ancestors else summarize(definitions[name], definitions, (*ancestors, name))
    if not isinstance(schema, dict):  # pyright: ignore[reportUnnecessaryIsInstance] - `true` is a schema too
        return {}
    summary: Schema = {}
    for keyword, value in schema.items():
        if keyword in {"minimum", "maximum"} and 0 < abs(value) <= MAX_USEFUL_BOUND:
            summary[keyword] = value
        elif keyword == "const":
            summary["enum"] = [value]
        elif keyword == "items":
            summary["items"] = summarize(value, definitions, ancestors)
        elif keyword in {"anyOf", "oneOf", "allOf"}:
            # oneOf becomes anyOf: a value may match two summaries although it matches one of the full schemas.
            branches = [summarize(branch, definitions, ancestors) for branch in value]
            summary["allOf" if keyword == "allOf" else "anyOf"] = branches
        elif keyword == "properties":
            summary["properties"] = summarize_fields(schema, definitions, ancestors)
        elif (
            keyword not in NARROWING_KEYWORDS and keyword in {"type", "enum", "description", "required"} and value != []
        ):
            summary[keyword] = value
    if "enum" in summary and len(summary["enum"]) == 1:
        summary.pop("type", None)
    return merge_types(summary)


def summarize_fields(
    schema: Schema, definitions: Mapping[str, Schema], ancestors: tuple[str, ...]
) -> dict[str, Schema]:
    """Summarize the fields of an inner object, without optional ones that are long or empty."""
    required = frozenset[str](schema.get("required", ()))
    fields: dict[str, Schema] = {}
    for name, full in schema["properties"].items():
        summary = summarize(full, definitions, ancestors)
        if name in required or (name not in HIDDEN_ARGUMENTS and is_worth_listing(summary)):
            fields[name] = summary
    return fields


def is_worth_listing(summary: Schema) -> bool:
    """Whether an optional inner field is worth its tokens: short, and not an object without fields."""
    return json_bytes(summary) <= MAX_FIELD_BYTES and summary not in ({}, {"type": "object"})


def merge_types(schema: Schema) -> Schema:
    """Write `anyOf` of plain types as one `type`, which is shorter and which every client supports."""
    branches: list[Schema] = schema.get("anyOf", [])
    types = [branch.get("type") for branch in branches]
    all_plain = branches and all(isinstance(kind, str) for kind in types)
    if all_plain and sum(len(branch) > 1 for branch in branches) <= 1 and len(set(types)) == len(types):
        other_keywords = {
            key: value for branch in branches for key, value in branch.items() if key not in {"type", "enum"}
        }
        without_branches = {key: value for key, value in schema.items() if key != "anyOf"}
        return without_branches | {"type": types} | other_keywords
    return schema


def type_only(schema: Schema) -> Schema:
    """Return a schema's type alone."""
    return {"type": schema["type"]} if "type" in schema else {}


def outline(full: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Return the type of a large argument and the names of its fields."""
    resolved = full
    while "$ref" in resolved:
        resolved = definitions[resolved["$ref"].removeprefix("#/$defs/")]
    names = list(resolved.get("properties", {}))
    if not names:
        kinds = [branch_tag(branch, definitions) for branch in resolved.get("anyOf", [])]
        alternatives = f"One of: {', '.join(kind for kind in kinds if kind)}. " if any(kinds) else ""
        return {**type_only(resolved), "description": f"{alternatives}Schema: describe_operation."}
    listed = ", ".join(names[:MAX_LISTED_FIELDS]) + (", …" if len(names) > MAX_LISTED_FIELDS else "")
    return {**type_only(resolved), "description": f"Fields: {listed}. Schema: describe_operation."}


def branch_tag(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    """Return the discriminator (`type`) of a union branch, "" without one."""
    while "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix("#/$defs/")]
    tag = cast("dict[str, Any]", schema.get("properties", {}).get("type", {}))
    return str(tag.get("const") or (tag.get("enum") or [""])[0])


def json_bytes(schema: Schema) -> int:
    """Return the length of a schema as minified JSON, in bytes."""
    return len(json.dumps(schema, separators=(",", ":"), ensure_ascii=False).encode())
