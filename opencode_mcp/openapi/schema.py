"""Component schemas made self-contained: `#/components/schemas/X` becomes `#/$defs/X`, nothing else changes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from .document import Schema

COMPONENT_PREFIX = "#/components/schemas/"


def resolve(schema: Schema, components: Mapping[str, Schema]) -> Schema:
    """Follow a `$ref` at the root of a schema to the component that it names."""
    seen: set[str] = set()
    while isinstance(reference := schema.get("$ref"), str) and reference not in seen:
        seen.add(reference)
        schema = find_component(reference, components)
    return schema


def find_component(reference: str, components: Mapping[str, Schema]) -> Schema:
    """Return the component that a `$ref` names; an unknown reference gives a schema that allows any value."""
    name = reference.removeprefix(COMPONENT_PREFIX)
    if name == reference or name not in components:
        return {"description": f"Unknown: the document has no {reference}."}
    return components[name]


def bundle(schema: Schema, components: Mapping[str, Schema]) -> Schema:
    """Return a copy of an object schema with every component that it reaches under `$defs`."""
    definitions: dict[str, Schema] = {}

    def localize(value: Any) -> Any:
        if isinstance(value, list):
            return [localize(item) for item in cast("list[Any]", value)]
        if not isinstance(value, dict):
            return value
        mapping = cast("dict[str, Any]", value)
        reference = mapping.get("$ref")
        if not isinstance(reference, str):
            return {key: localize(item) for key, item in mapping.items()}
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", reference.removeprefix(COMPONENT_PREFIX))
        if name not in definitions:
            target = find_component(reference, components)
            definitions[name] = {}  # a placeholder that ends the recursion
            definitions[name] = localize(target)
        return {key: localize(item) for key, item in mapping.items()} | {"$ref": f"#/$defs/{name}"}

    bundled = localize(schema)
    return bundled | {"$defs": definitions} if definitions else bundled


def property_names(value: Any) -> Iterator[str]:
    """Yield the name of every property that a schema declares, at any depth."""
    if isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from property_names(item)
    elif isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            if key == "properties":
                yield from inner
            if key in {"properties", "patternProperties", "$defs"}:
                yield from (name for schema in inner.values() for name in property_names(schema))
            elif key not in {"const", "default", "enum", "examples"}:
                yield from property_names(inner)
