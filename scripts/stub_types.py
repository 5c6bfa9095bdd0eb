"""Python types of JSON schemas: a TypedDict for each object, an alias for each union, as source of a stub."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from opencode_mcp.openapi.document import Schema
from opencode_mcp.openapi.navigation import referenced_name, resolve

OBJECT = "dict[str, Any]"
SCALARS = {"string": "str", "number": "float", "integer": "int", "boolean": "bool", "null": "None"}
SHADOWED = frozenset({"bool", "dict", "float", "int", "list", "str"})
"""Fields of these names would hide the type from the fields that follow in a class."""

IRRELEVANT = frozenset({"description", "pattern", "default", "minimum", "maximum"})
"""What of a schema does not change its type."""

WORD = re.compile(r"\w+")


class Types:
    """The types of a document. Those with a name are collected, and `definitions` writes them.

    A component of the document has its name there, an object within another one that of its owner and its field, as
    `SessionTime`. A field that may be absent is `NotRequired`. An object without fields, or that may have any field
    beside its own, is a dict as well: a TypedDict has none that it does not declare.
    """

    def __init__(self, components: Mapping[str, Schema], reserved: Iterable[str] = ()) -> None:
        self.components = components
        self._sources: dict[str, str] = dict.fromkeys(reserved, "")
        self._by_shape: dict[tuple[str, str], str] = {}
        self._names: dict[str, str] = {}
        for title in components:
            self._names[title] = self._new_name(pascal_case(title))
        for title, schema in components.items():
            if is_record(schema) and tag_of(schema) is not None:
                self._by_shape.setdefault(("", shape_of(schema)), self._names[title])
        for title in components:
            self.component(title)

    def component(self, title: str) -> str:
        """Return the type of a component: its name, or what it is if that is short."""
        schema, name = self.components.get(title), self._names.get(title, "")
        if schema is None:
            return "Any"
        if is_record(schema):
            return self._define(schema, name) if not self._sources[name] else self._with_others(schema, name)
        if not self._sources[name]:
            self._sources[name] = "…"  # a component may contain itself
            self._sources[name] = f"{name}: TypeAlias = {self.type_of(schema, name)}\n"
        value = self._sources[name].partition(" = ")[2].strip()
        return value if value and not is_long(value) else name

    def type_of(self, schema: Schema, owner: str, field: str = "") -> str:
        """Return the type of a schema. `owner` and `field` name an object in it."""
        if (title := referenced_name(schema)) is not None:
            return self.component(title)
        if "enum" in schema or "const" in schema:
            return literal_type(schema.get("enum", [schema.get("const")]))
        if branches := cast("list[Schema] | None", schema.get("anyOf") or schema.get("oneOf")):
            return union_type(self.type_of(branch, owner, field or "option") for branch in self._distinct(branches))
        kinds = cast("str | list[str] | None", schema.get("type"))
        if isinstance(kinds, list):
            return union_type(self.type_of({**schema, "type": kind}, owner, field) for kind in kinds)
        if kinds == "array":
            items = cast("list[Schema]", schema.get("prefixItems") or [schema.get("items", {})])
            return f"list[{union_type(self.type_of(item, owner, f'{field}_item') for item in items)}]"
        if is_record(schema):
            return self._anonymous(schema, owner, field)
        if kinds == "object":
            patterns = cast("dict[str, Schema]", schema.get("patternProperties", {}))
            values: Schema | bool = next(iter(patterns.values()), schema.get("additionalProperties", True))
            return OBJECT if isinstance(values, bool) else f"dict[str, {self.type_of(values, owner, field or 'value')}]"
        return SCALARS.get(kinds or "", "Any")

    def share(self, field: str, shape: str) -> None:
        """Name an object that several operations take after their argument, unless that name is taken."""
        if (name := pascal_case(field)) not in self._sources and ("", shape) not in self._by_shape:
            self._by_shape[field, shape] = self._new_name(name)

    def alias(self, name: str, value: str) -> str:
        """Name a type, and return the name."""
        self._sources[name] = f"{name}: TypeAlias = {value}\n"
        return name

    def definitions(self, used_by: Iterable[str]) -> Iterable[str]:
        """Yield the source of the types that lines of code refer to, directly or not, by name."""
        needed: set[str] = set()
        pending = [*used_by]
        while pending:
            found = self._sources.keys() & set(WORD.findall(pending.pop())) - needed
            needed |= found
            pending += [self._sources[name] for name in found]
        yield from (self._sources[name] for name in sorted(needed) if self._sources[name])

    def _distinct(self, branches: list[Schema]) -> list[Schema]:
        """Return the alternatives of a union without one whose `type` is any text where others have one of their own.

        With it, no type checker tells the others apart; a newer OpenCode may send a `type` that is in no union anyway.
        """
        types = [resolve(branch, self.components).get("properties", {}).get("type", {}) for branch in branches]
        if not any("enum" in schema for schema in types):
            return branches
        return [branch for branch, schema in zip(branches, types, strict=True) if schema != {"type": "string"}]

    def _new_name(self, wish: str) -> str:
        """Reserve a name: the one wished for, or with the first number that makes it free."""
        name, number = wish, 2
        while name in self._sources:
            name, number = f"{wish}{number}", number + 1
        self._sources[name] = ""
        return name

    def _anonymous(self, schema: Schema, owner: str, field: str) -> str:
        """Return the TypedDict of an object without a name: of a component or an argument like it, or of its own."""
        shape = shape_of(schema)
        wish = owner + pascal_case((field == "option" and tag_of(schema)) or field)
        known = (self._by_shape.get((place, shape)) for place in ("", field, wish))
        name = next(filter(None, known), None)
        if name is None:
            name = self._by_shape[wish, shape] = self._new_name(wish)
        return self._with_others(schema, name) if self._sources[name] else self._define(schema, name)

    def _define(self, schema: Schema, name: str) -> str:
        """Write the TypedDict of an object, and return its type."""
        self._sources[name] = "…"  # an object may contain itself
        required = schema.get("required", ())
        fields: dict[str, str] = {}
        for field, inner in cast("dict[str, Schema]", schema["properties"]).items():
            kind = self.type_of(inner, name, field)
            fields[field] = kind if field in required else f"NotRequired[{kind}]"
        self._sources[name] = write_class(name, fields)
        return self._with_others(schema, name)

    def _with_others(self, schema: Schema, name: str) -> str:
        """Return the type of an object with fields: a dict too, if it may have others; then all are of one type."""
        others = cast("Schema | bool", schema.get("additionalProperties", False))
        if isinstance(others, bool):
            return f"{name} | {OBJECT}" if others else name
        if not others:
            return f"{name} | {OBJECT}"
        properties = cast("dict[str, Schema]", schema["properties"])
        kinds = (self.type_of(inner, name, field) for field, inner in {**properties, "value": others}.items())
        return f"dict[str, {union_type(kinds)}]"


def write_class(name: str, fields: Mapping[str, str]) -> str:
    """Return the source of a TypedDict: a class, or a call where a field's name is not valid in a class."""
    if all(field.isidentifier() and not keyword.iskeyword(field) and field not in SHADOWED for field in fields):
        return "\n".join([f"class {name}(TypedDict):", *(f"    {field}: {kind}" for field, kind in fields.items()), ""])
    entries = (f"    {quote(field)}: {kind}," for field, kind in fields.items())
    return "\n".join([f'{name} = TypedDict("{name}", {{', *entries, "})", ""])


def is_record(schema: Schema) -> bool:
    """Whether a schema describes an object with fields of its own."""
    return bool(schema.get("properties")) and "anyOf" not in schema and "oneOf" not in schema


def tag_of(schema: Schema) -> str | None:
    """Return the text that tells an object from others: the first field that can have one value only."""
    for field in cast("dict[str, Schema]", schema["properties"]).values():
        values = field.get("enum", [field["const"]] if "const" in field else [])
        if len(values) == 1 and isinstance(values[0], str):
            return values[0]
    return None


def shape_of(schema: Any) -> str:
    """Return what decides about the type of a schema, as text."""

    def strip(value: Any, is_schema: bool = True) -> Any:
        if isinstance(value, list):
            return [strip(inner) for inner in cast("list[Any]", value)]
        if not isinstance(value, dict):
            return value
        fields = cast("dict[str, Any]", value).items()
        omitted = IRRELEVANT if is_schema else frozenset[str]()
        return {key: strip(inner, not is_schema or key != "properties") for key, inner in fields if key not in omitted}

    return json.dumps(strip(schema), sort_keys=True)


def literal_type(values: list[Any]) -> str:
    """Return the Literal type of values."""
    return "None" if values == [None] else f"Literal[{', '.join(map(quote, values))}]"


def quote(value: Any) -> str:
    """Return a value as Python source, with double quotes."""
    return '"' + repr(value)[1:-1].replace('"', '\\"') + '"' if isinstance(value, str) else repr(value)


def union_type(types: Iterable[str]) -> str:
    """Return the union of types, each once; `Any` replaces the others."""
    distinct = list(dict.fromkeys(member for type_ in types for member in members_of(type_)))
    return "Any" if "Any" in distinct else " | ".join(distinct)


def members_of(type_: str) -> Iterable[str]:
    """Yield the members of a union: what `|` separates outside of brackets."""
    member = ""
    for part in type_.split(" | "):
        member = f"{member} | {part}" if member else part
        if member.count("[") == member.count("]"):
            yield member
            member = ""


def is_long(type_: str) -> bool:
    """Whether a type is worth a name: a union, or several values."""
    return " | " in type_ or ("Literal[" in type_ and "," in type_) or type_ == "…"


def pascal_case(name: str) -> str:
    """Convert `switch_org` and `tui.prompt.append` to `SwitchOrg` and `TuiPromptAppend`."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name))
