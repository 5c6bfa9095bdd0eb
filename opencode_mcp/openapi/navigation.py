"""`$ref`s followed, and the parts of a JSON Schema that apply to a part of a value.

`definitions` are the schemas by the names that references have: the components of a document, or the `$defs` of a
self-contained schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from .document import Schema

COMPONENT_PREFIX = "#/components/schemas/"
DEFINITION_PREFIX = "#/$defs/"


def referenced_name(schema: Schema) -> str | None:
    """Return the name that a schema refers to, None for a schema without `$ref`."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return None
    return reference.removeprefix(COMPONENT_PREFIX).removeprefix(DEFINITION_PREFIX)


def find_definition(name: str, definitions: Mapping[str, Schema]) -> Schema:
    """Return the schema of a name; an unknown one gives a schema that allows any value."""
    return definitions.get(name, {"description": f"Unknown: the document has no {name}."})


def resolve(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Follow a chain of `$ref`s to its end; a chain without an end gives a schema that allows any value."""
    seen: set[str] = set()
    while (name := referenced_name(schema)) is not None:
        if name in seen:
            return {}
        seen.add(name)
        schema = find_definition(name, definitions)
    return schema


Path = tuple[str | int, ...]
"""Where a value is: the names and indexes that lead to it from the root."""


def schemas_at(schema: Schema, path: Sequence[str | int]) -> list[Schema]:
    """Return every schema that may apply at a path: alternatives one by one, without `$ref`s; [] where any value may
    be."""
    definitions: Mapping[str, Schema] = schema.get("$defs", {})
    found = list(expand(schema, definitions))
    for step in path:
        children = [child for parent in found for child in child_schemas(parent, step)]
        found = [alternative for child in children for alternative in expand(child, definitions)]
    return found


def expand(schema: Any, definitions: Mapping[str, Schema], seen: tuple[str, ...] = ()) -> Iterator[Schema]:
    """Yield the alternatives of a schema; a component that contains itself as one is not repeated."""
    if not isinstance(schema, dict):  # `true`
        return
    node = cast("Schema", schema)
    if (name := referenced_name(node)) is not None:
        if name not in seen:
            yield from expand(find_definition(name, definitions), definitions, (*seen, name))
        return
    branches = [branch for keyword in ("anyOf", "oneOf", "allOf") for branch in node.get(keyword, ())]
    if not branches or "properties" in node or "type" in node:
        yield node
    for branch in branches:
        yield from expand(branch, definitions, seen)


def child_schemas(schema: Schema, step: str | int) -> Iterator[Any]:
    """Yield the schema of one field or item of a value."""
    if isinstance(step, int):
        prefix = schema.get("prefixItems", [])
        yield prefix[step] if step < len(prefix) else schema.get("items")
    else:
        yield schema.get("properties", {}).get(step, schema.get("additionalProperties"))


def fields_of(schemas: Sequence[Schema]) -> dict[str, list[Schema]]:
    """Return the schemas of each declared field of an object, required fields first."""
    fields: dict[str, list[Schema]] = {}
    required = required_of(schemas)
    for schema in schemas:
        properties: dict[str, Schema] = schema.get("properties", {})
        for name in sorted(properties, key=lambda name: name not in required):
            fields.setdefault(name, []).append(properties[name])
    return fields


def required_of(schemas: Sequence[Schema]) -> set[str]:
    """Return the names that any of the schemas requires."""
    return {name for schema in schemas for name in schema.get("required", ())}


def types_of(schema: Schema) -> tuple[str, ...]:
    """Return the types that a schema names; an object may be declared by its properties alone."""
    kinds: str | list[str] = schema.get("type", "object" if "properties" in schema else [])
    return (kinds,) if isinstance(kinds, str) else tuple(kinds)
