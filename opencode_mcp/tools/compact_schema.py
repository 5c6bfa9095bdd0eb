"""The schemas that a model sees: short summaries of those that validate.

Every tool costs context in every request of a client, and the converters of clients reject what they do not know. So
each node of the summary has one `type`; unions, `$ref`s and nulls are not in it, and an optional argument is one that
is not required. A call may contain whatever the full schema accepts: of a value's types the summary shows one, and of
the fields of an object it may leave out optional ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from opencode_mcp.openapi.document import Schema
from opencode_mcp.openapi.navigation import find_definition, referenced_name, resolve

MAX_ARGUMENT_BYTES = 1_100
"""An argument whose summary is longer, without its description, is outlined. A prompt's `parts` stay whole."""

MAX_FIELD_BYTES = 110
"""Inside an argument, a field whose summary is longer loses its description; if still longer, it is left out."""

SAME_AS = "As in "
"""How the description of an argument begins whose fields another tool lists: here it is outlined."""

MAX_LISTED_FIELDS = 40

HIDDEN_ARGUMENTS = frozenset({"workspace"})
"""An optional argument of more than a hundred tools, seldom used."""

UNLISTED = "x-unlisted"
"""The key of what no list shows: an optional argument that another tool lists, or a field of a result."""

SHOWN = "x-shown"
"""The key of a summary, beside the types of which it shows one."""

HIDDEN_FIELDS = frozenset({"workspace", "synthetic", "ignored", "time"})
"""Optional fields of inner objects that a model has no use for."""

MAX_USEFUL_BOUND = 100_000
"""A limit above this, or of zero, helps no model (OpenCode declares 9007199254740991)."""

TYPES = ("array", "object", "boolean", "integer", "number", "string")
"""The published types. Of several in one place the first is published, the one that says most about the value."""

JSON_TYPES: Mapping[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
TYPE_BY_KEYWORD = {"properties": "object", "items": "array"}

ANYTHING: Schema = {"type": "object"}
"""The summary of a schema that accepts anything: a node needs a type."""


def compact_schema(schema: Schema, seldom_needed: frozenset[str] = frozenset()) -> Schema:
    """Return the summary of a tool's input schema: a plain object without `$ref`s and unions.

    Optional arguments that are `seldom_needed` are left out.
    """
    definitions: Mapping[str, Schema] = schema.get("$defs", {})
    required = frozenset[str](schema.get("required", ()))
    properties: dict[str, Schema] = {}
    # OpenCode finds a session's directory by its id (1.18.33), so that argument is not needed.
    hidden = HIDDEN_ARGUMENTS | seldom_needed | ({"directory"} if "sessionID" in required else set[str]())
    for name, schema_of_field in schema.get("properties", {}).items():
        if name in required or (name not in hidden and not is_unlisted(schema_of_field)):
            summary = summarize(schema_of_field, definitions, ())
            properties[name] = outline(schema_of_field, summary, definitions) if needs_outline(summary) else summary
    root: Schema = {"type": "object", "properties": properties}
    return root | {"required": schema["required"]} if required else root


def compact_response_schema(schema: Schema) -> Schema:
    """Return the summary of a response's schema, {} for a response that is not JSON."""
    return summarize(schema, schema.get("$defs", {}), ()) if schema else {}


def compact_output_schema(schema: Schema) -> Schema:
    """Return the summary of a result's schema, written as `compact_schema` writes arguments.

    A result has no null, as it leaves out fields that have their default. Inner objects require no field, which costs
    tokens and says little. A field of several types is unlisted: clients refuse a result that does not fit its schema.
    """
    definitions: Mapping[str, Schema] = schema.get("$defs", {})
    listed = {name: field for name, field in schema["properties"].items() if not is_unlisted(field)}
    fields = {name: without_required(summarize(field, definitions, ())) for name, field in listed.items()}
    return {"type": "object", "properties": fields, "required": schema.get("required", [])}


def outline_output_schema(schema: Schema) -> Schema:
    """Return the types of a result's fields, for a result that another tool's schema describes."""
    summary = compact_output_schema(schema)
    return summary | {"properties": {name: type_only(field) for name, field in summary["properties"].items()}}


def type_only(summary: Schema) -> Schema:
    """Return a summary's type with the values of a string and the type of an array's items."""
    kept = {key: summary[key] for key in ("type", "enum") if key in summary}
    return kept | ({"items": {"type": summary["items"]["type"]}} if "items" in summary else {})


def without_required(summary: Schema) -> Schema:
    """Return a summary in which no object, at any depth, requires a field."""
    inner: Schema = {}
    if "properties" in summary:
        inner["properties"] = {name: without_required(field) for name, field in summary["properties"].items()}
    if "items" in summary:
        inner["items"] = without_required(summary["items"])
    return {key: value for key, value in summary.items() if key != "required"} | inner


def needs_outline(summary: Schema) -> bool:
    """Whether an argument's summary is too long, or is an object or array whose fields another tool lists."""
    is_elsewhere = summary["type"] in {"object", "array"} and summary.get("description", "").startswith(SAME_AS)
    return is_elsewhere or json_bytes(without_description(summary)) > MAX_ARGUMENT_BYTES


def summarize(schema: Any, definitions: Mapping[str, Schema], ancestors: tuple[str, ...]) -> Schema:
    """Return a schema's summary: one type, its fields or items, and what helps to choose a value."""
    if not isinstance(schema, dict):  # `true` is a schema too
        return ANYTHING
    node = cast("Schema", schema)
    description = {"description": node["description"]} if "description" in node else {}
    if SHOWN in node:
        return node[SHOWN] | description
    if (name := referenced_name(node)) is not None:
        component = find_definition(name, definitions)
        if name in ancestors:
            return {"type": declared_type(component)} | description
        # The component's own description is about the component, not about this place.
        return without_description(summarize(component, definitions, (*ancestors, name))) | description
    if (alternatives := node.get("anyOf") or node.get("oneOf")) is not None:
        branches = [
            summarize(alternative, definitions, ancestors)
            for alternative in alternatives
            if alternative not in ({}, {"type": "null"})
        ]
        return merge_alternatives(branches) | description
    if (combined := node.get("allOf")) is not None:
        return combine([summarize(branch, definitions, ancestors) for branch in combined]) | description
    return summarize_plain(node, definitions, ancestors) | description


def summarize_plain(schema: Schema, definitions: Mapping[str, Schema], ancestors: tuple[str, ...]) -> Schema:
    """Summarize a schema without `$ref`, `anyOf`, `oneOf` and `allOf` at its root."""
    kind = declared_type(schema)
    summary: Schema = {"type": kind}
    match kind:
        case "string" if values := [value for value in listed_values(schema) if isinstance(value, str)]:
            summary["enum"] = values  # Gemini takes no enum of numbers
        case "object" if "properties" in schema:
            summary["properties"] = summarize_fields(schema, definitions, ancestors)
            summary |= {"required": schema["required"]} if schema.get("required") else {}
        case "array":
            summary["items"] = summarize(schema.get("items", {}), definitions, ancestors)
        case "integer" | "number":
            bounds = {key: schema[key] for key in ("minimum", "maximum") if key in schema}
            summary |= {key: bound for key, bound in bounds.items() if 0 < abs(bound) <= MAX_USEFUL_BOUND}
        case _:
            pass
    return summary


def declared_type(schema: Schema) -> str:
    """Return the type that is published for a schema, by what it declares or by the values that it lists."""
    declared = schema.get("type")
    kinds: Iterable[Any] = [declared] if isinstance(declared, str) else declared or ()
    if not kinds:
        kinds = [JSON_TYPES.get(value.__class__) for value in listed_values(schema)]
        kinds += [kind for keyword, kind in TYPE_BY_KEYWORD.items() if keyword in schema]
    return next((kind for kind in TYPES if kind in kinds), ANYTHING["type"])


def listed_values(schema: Schema) -> Iterable[Any]:
    """Return the values that a schema lists, none if it lists none."""
    return [schema["const"]] if "const" in schema else schema.get("enum", ())


def summarize_fields(
    schema: Schema, definitions: Mapping[str, Schema], ancestors: tuple[str, ...]
) -> dict[str, Schema]:
    """Summarize the fields of an inner object, without optional ones that are long or free-form objects."""
    required = frozenset[str](schema.get("required", ()))
    fields: dict[str, Schema] = {}
    for name, full in schema["properties"].items():
        if is_unlisted(full):
            continue
        summary = summarize(full, definitions, ancestors)
        plain = without_description(summary)
        if json_bytes(summary) > MAX_FIELD_BYTES and name not in required:
            summary = plain
        if name in required or (
            name not in HIDDEN_FIELDS and json_bytes(plain) <= MAX_FIELD_BYTES and plain != ANYTHING
        ):
            fields[name] = summary
    return fields


def is_unlisted(schema: Any) -> bool:
    """Whether a schema is that of an argument or a field that is not listed."""
    return isinstance(schema, dict) and UNLISTED in schema


def merge_alternatives(branches: Sequence[Schema]) -> Schema:
    """Return one summary for a union: it accepts the branches of the first of their types.

    Objects become one with the fields of all. Where `type` tells them apart, its description lists by its value which
    fields are required.
    """
    kinds = {branch["type"] for branch in branches}
    kind = next((kind for kind in TYPES if kind in kinds), ANYTHING["type"])
    same = [branch for branch in branches if branch["type"] == kind]
    if not same or all(branch == same[0] for branch in same):
        return same[0] if same else ANYTHING
    match kind:
        case "object":
            return merge_objects(same)
        case "array":
            return {"type": kind, "items": merge_alternatives([branch["items"] for branch in same])}
        case _:
            listed = all("enum" in branch for branch in same)
            values = {value: None for branch in same for value in branch.get("enum", ())}
            return {"type": kind} | ({"enum": [*values]} if listed else {})


def merge_objects(branches: Sequence[Schema]) -> Schema:
    """Return an object that accepts each of several objects: a field is required if all of them require it."""
    names = dict.fromkeys(name for branch in branches for name in branch.get("properties", {}))
    fields = {
        name: merge_alternatives(
            [branch["properties"][name] for branch in branches if name in branch.get("properties", {})]
        )
        for name in names
    }
    required = [name for name in names if all(name in branch.get("required", ()) for branch in branches)]
    if "type" in required and (needs := required_by_tag(branches, required)):
        fields["type"] = without_description(fields["type"]) | {"description": needs}
    merged: Schema = {"type": "object"} | ({"properties": fields} if fields else {})
    return merged | ({"required": required} if required else {})


def required_by_tag(branches: Sequence[Schema], by_all: Sequence[str]) -> str:
    """Return which fields each value of `type` requires, besides those that all require; "" if none does."""
    needs = [
        f"{value}: {', '.join(names)}"
        for branch in branches
        for value in branch.get("properties", {}).get("type", {}).get("enum", ())
        if (names := [name for name in branch["required"] if name not in by_all])
    ]
    return f"Required with {'; '.join(needs)}." if needs else ""


def combine(branches: Sequence[Schema]) -> Schema:
    """Return one summary for schemas that all apply: an object with the fields and requirements of each."""
    merged = merge_alternatives(branches)
    required = dict.fromkeys(name for branch in branches for name in branch.get("required", ()))
    return merged | ({"required": [*required]} if required else {})


def outline(full: Schema, summary: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Return the type of a large argument, with its description or the names of its fields."""
    kind = type_only(summary)
    if "description" in full:
        return kind | {"description": full["description"]}
    names = list(resolve(full, definitions).get("properties", {}))
    tags = summary.get("properties", {}).get("type", {}).get("enum", ())
    if not names:
        return kind | {
            "description": (f"One of: {', '.join(tags)}. " if tags else "") + "Schema: describe_operation, full."
        }
    listed = ", ".join(names[:MAX_LISTED_FIELDS]) + (", …" if len(names) > MAX_LISTED_FIELDS else "")
    return kind | {"description": f"Fields: {listed}. Schema: describe_operation, full."}


def without_description(schema: Schema) -> Schema:
    """Return a schema without its own description."""
    return {key: value for key, value in schema.items() if key != "description"}


def json_bytes(schema: Schema) -> int:
    """Return the length of a schema as minified JSON, in bytes."""
    return len(json.dumps(schema, separators=(",", ":"), ensure_ascii=False).encode())
