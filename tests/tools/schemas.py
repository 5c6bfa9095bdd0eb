"""A hypothesis strategy for values that a JSON Schema accepts, as far as OpenCode's schemas go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

Schema = Mapping[str, Any]
Values = st.SearchStrategy[Any]

ANYTHING: Values = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just({"x": [1, "y"]}))
MAX_DEPTH = 6


def schema_values(schema: Schema, definitions: Mapping[str, Schema], depth: int = 0) -> Values:
    """Return values that a schema accepts (nearly all: a `not` is left to the validator to filter)."""
    while "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix("#/$defs/")]
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if branches := schema.get("anyOf") or schema.get("oneOf"):
        return st.one_of([schema_values(branch, definitions, depth + 1) for branch in branches])
    kinds = schema.get("type")
    if kinds is None:
        return object_values(schema, definitions, depth) if "properties" in schema else ANYTHING
    if isinstance(kinds, str):
        kinds = [kinds]
    return st.one_of([values_of_type(kind, schema, definitions, depth) for kind in kinds])


def values_of_type(kind: str, schema: Schema, definitions: Mapping[str, Schema], depth: int) -> Values:
    """Return values of one JSON type."""
    match kind:
        case "object":
            return object_values(schema, definitions, depth)
        case "array":
            least = schema.get("minItems", 0)
            items = schema_values(schema.get("items", {}), definitions, depth + 1)
            return st.lists(items, min_size=least, max_size=max(least, 2))
        case "string":
            # Every pattern of the document is a prefix: ^ses, ^wrk, …
            prefix = schema.get("pattern", "").removeprefix("^")
            return st.text(min_size=schema.get("minLength", 0), max_size=8).map(lambda text: prefix + text)
        case "integer":
            return st.integers(schema.get("minimum", -5), min(schema.get("maximum", 10**6), 2**53))
        case "number":
            low, high = schema.get("minimum", -5), schema.get("maximum", 10**6)
            return st.floats(low, high, allow_nan=False) | st.integers(int(low) + 1, int(high))
        case "boolean":
            return st.booleans()
        case _:
            return st.none()


def object_values(schema: Schema, definitions: Mapping[str, Schema], depth: int) -> Values:
    """Return objects with all required fields, any of the optional ones, and others where they are allowed."""
    fields: Mapping[str, Schema] = schema.get("properties", {})
    required = set(schema.get("required", ()))
    optional = {} if depth > MAX_DEPTH else {name: one for name, one in fields.items() if name not in required}
    fixed = st.fixed_dictionaries(
        {name: schema_values(fields.get(name, {}), definitions, depth + 1) for name in required},
        optional={name: schema_values(one, definitions, depth + 1) for name, one in optional.items()},
    )
    extra = schema.get("additionalProperties", True)
    if extra is False or fields:
        return fixed
    return st.dictionaries(
        st.text("abc", min_size=1, max_size=3),
        ANYTHING if extra is True else schema_values(extra, definitions, depth + 1),
        max_size=2,
    )
