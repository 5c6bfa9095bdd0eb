"""The schema that a model sees: a short, true summary of the one that validates.

Tools cost their users context in every request. What is cut here is said by describe_operation in
full. The summary may accept more than the full schema and never less; a property test holds that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from opencode_mcp.openapi.document import Schema

PROPERTY_BYTES = 1_100
"""An argument whose summary is longer is only outlined. A prompt's `parts` are the longest that stay whole."""

NESTED_BYTES = 110
"""Inside an argument, an optional field whose summary is longer is left out."""

LISTED_FIELDS = 40

UNPUBLISHED = frozenset({"workspace"})
"""An argument of more than a hundred tools, seldom used; describe_operation tells of it."""

NOISE = frozenset(
    {"$defs", "$schema", "additionalProperties", "const", "default", "exclusiveMaximum", "exclusiveMinimum"}
    | {"format", "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum", "pattern", "title"}
)
"""Keywords that only narrow: without them a schema accepts more. Numbers' limits stay where they are small."""

SMALL = 100_000
"""A limit above this, or of zero, is no advice to anybody (OpenCode declares 9007199254740991)."""


def published(schema: Schema) -> Schema:
    """Return the summary of a tool's input schema: a plain object without `$ref`s."""
    definitions: Mapping[str, Schema] = schema.get("$defs", {})
    required = frozenset[str](schema.get("required", ()))
    properties: dict[str, Schema] = {}
    # A session's own directory is found by its id (1.18.33), so there is nothing to choose.
    hidden = UNPUBLISHED | {"directory"} if "sessionID" in required else UNPUBLISHED
    for name, full in schema.get("properties", {}).items():
        if name in required or name not in hidden:
            summary = summarize(full, definitions, ())
            properties[name] = summary if size(summary) <= PROPERTY_BYTES else outline(full, definitions)
    root: Schema = {"type": "object", "properties": properties}
    return root | {"required": schema["required"]} if required else root


def summarize(schema: Schema, definitions: Mapping[str, Schema], inside: tuple[str, ...]) -> Schema:
    """Inline a schema's `$ref`s and drop what only narrows; a component inside itself accepts anything."""
    reference: str | None = schema.get("$ref")
    if reference is not None:
        name = reference.removeprefix("#/$defs/")
        return {} if name in inside else summarize(definitions[name], definitions, (*inside, name))
    if not isinstance(schema, dict):  # pyright: ignore[reportUnnecessaryIsInstance] - `true` is a schema too
        return {}
    kept: Schema = {}
    for keyword, value in schema.items():
        if keyword in {"minimum", "maximum"} and 0 < abs(value) <= SMALL:
            kept[keyword] = value
        elif keyword == "const":
            kept["enum"] = [value]
        elif keyword == "items":
            kept["items"] = summarize(value, definitions, inside)
        elif keyword in {"anyOf", "oneOf", "allOf"}:
            # oneOf becomes anyOf: of two summaries both may hold where of the full ones only one does.
            branches = [summarize(one, definitions, inside) for one in value]
            kept["allOf" if keyword == "allOf" else "anyOf"] = branches
        elif keyword == "properties":
            kept["properties"] = nested(schema, definitions, inside)
        elif keyword not in NOISE and keyword in {"type", "enum", "description", "required"} and value != []:
            kept[keyword] = value
    if "enum" in kept and len(kept["enum"]) == 1:
        kept.pop("type", None)
    return merged(kept)


def nested(schema: Schema, definitions: Mapping[str, Schema], inside: tuple[str, ...]) -> dict[str, Schema]:
    """Summarize the fields of an inner object, without optional ones that are long or say nothing."""
    required = frozenset[str](schema.get("required", ()))
    fields: dict[str, Schema] = {}
    for name, full in schema["properties"].items():
        summary = summarize(full, definitions, inside)
        if name in required or (name not in UNPUBLISHED and is_short(summary)):
            fields[name] = summary
    return fields


def is_short(summary: Schema) -> bool:
    """Whether an optional inner field is worth its place: not long, and not an object of which nothing is said."""
    return size(summary) <= NESTED_BYTES and summary not in ({}, {"type": "object"})


def merged(schema: Schema) -> Schema:
    """Write `anyOf` of plain types as one `type`, which is shorter and which every client reads."""
    branches: list[Schema] = schema.get("anyOf", [])
    types = [one.get("type") for one in branches]
    plain = branches and all(isinstance(kind, str) for kind in types)
    if plain and sum(len(one) > 1 for one in branches) <= 1 and len(set(types)) == len(types):
        rest = {key: value for one in branches for key, value in one.items() if key not in {"type", "enum"}}
        named = {key: value for key, value in schema.items() if key != "anyOf"}
        return named | {"type": types} | rest
    return schema


def bare(schema: Schema) -> Schema:
    """Return a schema's type alone."""
    return {"type": schema["type"]} if "type" in schema else {}


def outline(full: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Return the type of a large argument and the names of its fields."""
    resolved = full
    while "$ref" in resolved:
        resolved = definitions[resolved["$ref"].removeprefix("#/$defs/")]
    names = list(resolved.get("properties", {}))
    if not names:
        kinds = [kind_of(one, definitions) for one in resolved.get("anyOf", [])]
        words = f"One of: {', '.join(kind for kind in kinds if kind)}. " if any(kinds) else ""
        return {**bare(resolved), "description": f"{words}Schema: describe_operation."}
    listed = ", ".join(names[:LISTED_FIELDS]) + (", …" if len(names) > LISTED_FIELDS else "")
    return {**bare(resolved), "description": f"Fields: {listed}. Schema: describe_operation."}


def kind_of(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    """Return the discriminator (`type`) of a union branch, "" without one."""
    while "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix("#/$defs/")]
    tag = cast("dict[str, Any]", schema.get("properties", {}).get("type", {}))
    return str(tag.get("const") or (tag.get("enum") or [""])[0])


def size(schema: Schema) -> int:
    """Return the length of a schema as minified JSON, in bytes."""
    return len(json.dumps(schema, separators=(",", ":"), ensure_ascii=False).encode())
