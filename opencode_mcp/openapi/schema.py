"""`$ref`s followed, and schemas made self-contained: `#/components/schemas/X` becomes `#/$defs/X`.

Where a function takes `definitions`, these are the schemas by the names that references have: the components of a
document, or the `$defs` of a self-contained schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
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


def bundle(schema: Schema, components: Mapping[str, Schema]) -> Schema:
    """Return a copy of an object schema with every component that it reaches under `$defs`."""
    definitions: dict[str, Schema] = {}

    def localize(value: Any) -> Any:
        if isinstance(value, list):
            return [localize(item) for item in cast("list[Any]", value)]
        if not isinstance(value, dict):
            return value
        mapping = cast("dict[str, Any]", value)
        localized = {key: localize(item) for key, item in mapping.items()}
        if (component := referenced_name(mapping)) is None:
            return localized
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", component)
        if name not in definitions:
            definitions[name] = {}  # a placeholder that ends the recursion
            definitions[name] = localize(find_definition(component, components))
        return localized | {"$ref": DEFINITION_PREFIX + name}

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
