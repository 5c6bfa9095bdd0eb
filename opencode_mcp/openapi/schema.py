"""Schemas made self-contained: `#/components/schemas/X` becomes `#/$defs/X`, nothing else changes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from .document import Schema
from .navigation import DEFINITION_PREFIX, find_definition, referenced_name


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
