"""A minimal example of a JSON Schema, for descriptions of operations and for refusals of a call."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from .document import Schema
from .navigation import resolve
from .patterns import describe_pattern

MAX_DEPTH = 20
"""Deeper in an example is {}: a newer document may have a component that requires itself."""


def make_example(schema: Schema, optional: Collection[str] = ()) -> Any:
    """Return an example of a schema: required fields only, with defaults, constants or placeholders.

    Placeholders are `<name>` and texts that end in `…`. `optional` names further fields of the root to include. An
    example in the schema itself comes first.
    """
    sampled = Sampler(schema.get("$defs", {})).sample(schema, "", optional)
    return {**sampled, **schema["examples"][0]} if "examples" in schema else sampled


class Sampler:
    """Makes examples; `definitions` are the components that a `$ref` names."""

    def __init__(self, definitions: dict[str, Schema]) -> None:
        self._definitions = definitions

    def sample(self, node: Schema, name: str, optional: Collection[str] = (), depth: int = 0) -> Any:
        """Return an example of a schema that is the value of the field `name`."""
        if depth > MAX_DEPTH:
            return {}
        node = resolve(node, self._definitions)
        if node.get("default") is not None:
            return node["default"]
        if "const" in node or node.get("enum"):
            return node["const"] if "const" in node else node["enum"][0]
        if parts := node.get("allOf"):
            return self.sample(join_parts(parts, self._definitions), name, depth=depth + 1)
        if branches := node.get("anyOf") or node.get("oneOf"):
            return self.sample(simplest_branch(branches, self._definitions), name, depth=depth + 1)
        kinds: str | list[str] = node.get("type", "object")
        match kinds if isinstance(kinds, str) else kinds[0]:
            case "object":
                fields: dict[str, Schema] = node.get("properties", {})
                chosen = [*node.get("required", ()), *(key for key in fields if key in optional)]
                return {key: self.sample(fields.get(key, {}), key, depth=depth + 1) for key in dict.fromkeys(chosen)}
            case "array":
                return [self.sample(node.get("items", {}), name.removesuffix("s"), depth=depth + 1)]
            case "boolean":
                return True
            case "integer" | "number":
                return max(1, node.get("minimum", 1))
            case "null":
                return None
            case _:
                return describe_pattern(node["pattern"]).example if "pattern" in node else f"<{name}>"


def simplest_branch(branches: Iterable[Schema], definitions: Mapping[str, Schema]) -> Schema:
    """Return the alternative whose `type` is text, else that with the fewest required fields; null if alone."""
    return min(
        (resolve(branch, definitions) for branch in branches),
        key=lambda branch: (branch.get("type") == "null", not is_text(branch), len(branch.get("required", ()))),
    )


def is_text(schema: Schema) -> bool:
    """Whether an object is a text, such as that part of a message, by the values of its `type`."""
    tag: Schema = schema.get("properties", {}).get("type", {})
    return "text" in (tag.get("const"), *tag.get("enum", ()))


def join_parts(parts: Iterable[Schema], definitions: Mapping[str, Schema]) -> Schema:
    """Return one schema for the parts of an `allOf`."""
    merged: Schema = {}
    for part in (resolve(part, definitions) for part in parts):
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        required = [*merged.get("required", []), *part.get("required", [])]
        merged = {**merged, **part, "properties": properties, "required": required}
    return merged
