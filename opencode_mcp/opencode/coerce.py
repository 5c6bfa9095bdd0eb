"""Slips in the arguments of a tool call that have only one meaning: `"5"` for 5, `session_id` for `sessionID`.

A value that is valid as it came is never touched; a slip with two meanings stays, and is refused. Everything later in a
call, from the allowlist to the request, reads the coerced arguments alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from opencode_mcp.openapi.document import Schema
from opencode_mcp.openapi.navigation import Path, expand, fields_of, required_of, schemas_at, types_of
from opencode_mcp.suggestions import aliases

from .known_extras import is_known_extra
from .problems import closest_errors

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

MAX_ROUNDS = 8
"""A round repairs what the one before has uncovered: a name, then the JSON text below it, then a number in that."""

MAX_FAULTS = 32
NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d{1,17})?")
BOOLEANS = {"true": True, "True": True, "false": False, "False": False}
EMPTY_IS_ABSENT = ("agent", "directory", "variant", "workspace")
"""Arguments whose schema allows "", although it names nothing."""

ONE_TEXT = "x-one-text"
"""The key of an array, such as of shell commands, for which text with commas or spaces is one of its texts."""

WRAPPERS = ("body", "arguments")
"""Names of one object for all arguments, in HTTP and in tools that call operations."""

UNCHANGED: Any = object()
"""No value is meant; as the new value of `replace_at`, that it is removed."""


def coerce(schema: Schema, validator: Draft202012Validator, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return arguments with each slip repaired that has one meaning. They can still be invalid."""
    repaired: Any = dict(arguments)
    for _ in range(MAX_ROUNDS):
        before = repaired
        errors = [
            fault for error in islice(validator.iter_errors(before), MAX_FAULTS) for fault in closest_errors(error)
        ]
        for path in dict.fromkeys(tuple(error.instance_path) for error in errors):
            repaired = repair_at(schema, repaired, path)
        if repaired is before:
            break
    return repaired


def drop_empty_names(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return arguments without those of `EMPTY_IS_ABSENT` that are ""; the same object if there are none."""
    empty = [name for name in EMPTY_IS_ABSENT if arguments.get(name) == ""]
    return {name: value for name, value in arguments.items() if name not in empty} if empty else arguments


def repair_at(schema: Schema, arguments: Any, path: Path) -> Any:
    """Return arguments with the value at a path repaired; the same object if it cannot be."""
    try:
        value = value_at(arguments, path)
    except (LookupError, TypeError):  # a repair of this round has moved it
        return arguments
    schemas = schemas_at(schema, path)
    if path and (value is None or value == "") and is_optional(schema, path):
        return replace_at(arguments, path, UNCHANGED)
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        renamed = repair_names(fields, schemas, schema.get("$defs", {}), is_root=not path)
        if renamed is not fields:
            return replace_at(arguments, path, renamed)
    readings = {
        json.dumps(new).strip('"'): new for each in schemas if (new := convert(value, each, path)) is not UNCHANGED
    }
    return replace_at(arguments, path, *readings.values()) if len(readings) == 1 else arguments


def value_at(value: Any, path: Path) -> Any:
    """Return the value at a path.

    Raises:
        LookupError, TypeError: there is none.
    """
    for step in path:
        value = value[step]
    return value


def replace_at(value: Any, path: Path, new: Any) -> Any:
    """Return a copy of a JSON value with a new value at a path; `UNCHANGED` removes it."""
    if not path:
        return new
    step, *rest = path
    copy: Any = value.copy()
    if rest or new is not UNCHANGED:
        copy[step] = replace_at(value[step], tuple(rest), new)
    else:
        del copy[step]
    return copy


def is_optional(schema: Schema, path: Path) -> bool:
    """Whether a path ends at a declared field that no schema requires."""
    parents = schemas_at(schema, path[:-1])
    return path[-1] in fields_of(parents) and path[-1] not in required_of(parents)


# Values


def convert(value: Any, schema: Schema, path: Path) -> Any:
    """Return a value as one schema takes it, or UNCHANGED if its type fits already or nothing is clear."""
    options: list[Any] = [schema["const"]] if "const" in schema else schema.get("enum", [])
    if options and isinstance(value, str):
        same = [option for option in options if isinstance(option, str) and option.casefold() == value.casefold()]
        return same[0] if len(same) == 1 else UNCHANGED
    kinds = types_of(schema)
    if any(isinstance(value, PYTHON_TYPES[kind]) and not is_bool_as_number(value, kind) for kind in kinds):
        return UNCHANGED
    readings = [new for kind in kinds if (new := CONVERSIONS[kind](value, schema, path)) is not UNCHANGED]
    return readings[0] if len(readings) == 1 else UNCHANGED


def is_bool_as_number(value: Any, kind: str) -> bool:
    """Whether a value is a boolean, which Python takes for a number."""
    return isinstance(value, bool) and kind in {"integer", "number"}


def to_boolean(value: Any, _schema: Schema, _path: Path) -> Any:
    """Read `true` and `false`, as JSON and Python write them."""
    return BOOLEANS.get(value, UNCHANGED) if isinstance(value, str) else UNCHANGED


def to_number(value: Any, _schema: Schema, _path: Path) -> Any:
    """Read a decimal number."""
    if not isinstance(value, str) or not NUMBER.fullmatch(value):
        return UNCHANGED
    number = float(value)
    return int(value.partition(".")[0]) if number.is_integer() else number


def to_integer(value: Any, schema: Schema, path: Path) -> Any:
    """Read a whole number."""
    number = to_number(value, schema, path)
    return number if isinstance(number, int) else UNCHANGED


def to_string(value: Any, _schema: Schema, _path: Path) -> Any:
    """Write a whole number as text, and a model as provider/model."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, dict) and (names := model_names(cast("dict[str, Any]", value))):
        return "/".join(names)
    return UNCHANGED


def to_array(value: Any, schema: Schema, path: Path) -> Any:
    """Read JSON text, or take one item for a list of one. Text with commas or spaces may be several texts."""
    if isinstance(value, str):
        if value.lstrip()[:1] in {"[", "{"}:
            is_json = parse_json(value, object) is not UNCHANGED
            return [value] if ONE_TEXT in schema and not is_json else parse_json(value, list)
        if value.strip().casefold() in {"", "null", "none"}:
            return UNCHANGED
        if ONE_TEXT in schema:
            return [value]
        takes_text = "string" in types_of(schema.get("items", {}))
        if takes_text and path and isinstance(path[-1], str) and re.search(r"[,;\s]", value):
            return UNCHANGED
    return UNCHANGED if value is None else [value]


def to_object(value: Any, schema: Schema, _path: Path) -> Any:
    """Read JSON text, provider/model, the text of a part of a prompt, or the prompt of a task."""
    fields: dict[str, Any] = schema.get("properties", {})
    if isinstance(value, dict) or not isinstance(value, str):
        return UNCHANGED
    if value.lstrip().startswith("{"):
        return parse_json(value, dict)
    if "providerID" in fields and (names := model_names(value)):
        return dict(zip(("providerID", model_key(fields)), names, strict=True))
    if fields.get("type", {}).get("enum", [fields.get("type", {}).get("const")]) == ["text"]:
        return {"type": "text", "text": value}
    if schema.get("required") == ["prompt"]:
        return {"prompt": value}
    return UNCHANGED


PYTHON_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": (int, float),
    "object": dict,
    "string": str,
}
CONVERSIONS: Mapping[str, Callable[[Any, Schema, Path], Any]] = {
    "array": to_array,
    "boolean": to_boolean,
    "integer": to_integer,
    "null": lambda _value, _schema, _path: UNCHANGED,
    "number": to_number,
    "object": to_object,
    "string": to_string,
}
"""For each type of JSON Schema: a value of another type -> the value meant, or UNCHANGED."""


def parse_json(text: str, expected: type) -> Any:
    """Parse JSON text of the wanted type, else return UNCHANGED."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return UNCHANGED
    return value if isinstance(value, expected) else UNCHANGED


def model_names(model: str | Mapping[str, Any]) -> tuple[str, str] | None:
    """Return a model's provider and its name, of `provider/model` or of an object with both, or None.

    The name may contain slashes, as in openrouter/anthropic/claude.
    """
    if isinstance(model, str):
        provider, _, name = model.partition("/")
    elif set(model) in ({"providerID", "modelID"}, {"providerID", "id"}):
        provider, name = model["providerID"], model[model_key(model)]
    else:
        return None
    return (provider, name) if isinstance(provider, str) and isinstance(name, str) and provider and name else None


def model_key(fields: Mapping[str, Any]) -> str:
    """Return the field for a model's name: `modelID`, or `id` in the v2 API and in session_create."""
    return "modelID" if "modelID" in fields else "id"


# Names


def repair_names(
    value: dict[str, Any], schemas: Sequence[Schema], definitions: Mapping[str, Schema], is_root: bool
) -> dict[str, Any]:
    """Return an object with one kind of slip in its names repaired; the same object if there is none."""
    fields = fields_of(schemas)
    unknown = [name for name in value if name not in fields]
    if not unknown:
        return value
    for repair in ROOT_REPAIRS if is_root else INNER_REPAIRS:
        repaired = repair(value, unknown, fields, definitions)
        if repaired is not value:
            return repaired
    return value


Fields = Mapping[str, Sequence[Schema]]
Definitions = Mapping[str, Schema]


def drop_extras(value: dict[str, Any], unknown: Sequence[str], fields: Fields, _: Definitions) -> dict[str, Any]:
    """Drop what a client is known to add, unless it is one of the tool's arguments by another spelling."""
    extras = {
        name
        for name in unknown
        if is_known_extra(name, value)
        and not any(fits_pattern(value[name], schema) for alias in aliases(name, fields) for schema in fields[alias])
    }
    return {name: inner for name, inner in value.items() if name not in extras} if extras else value


def fits_pattern(value: Any, schema: Schema) -> bool:
    """Whether a value is text of the form that a schema wants."""
    patterns = [branch.get("pattern", "") for branch in expand(schema, {}) if "string" in types_of(branch)]
    return isinstance(value, str) and any(re.search(pattern, value) for pattern in patterns)


def meant_field(name: str, fields: Fields) -> str | None:
    """Return the field that a name means: another spelling of it, or the singular of a list's; None if not one."""
    spellings = aliases(name, fields)
    plurals = [
        field for field in aliases(f"{name}s", fields) if any("array" in types_of(schema) for schema in fields[field])
    ]
    found = spellings or plurals
    return found[0] if len(found) == 1 else None


def rename(value: dict[str, Any], unknown: Sequence[str], fields: Fields, _: Definitions) -> dict[str, Any]:
    """Take another spelling of a field for the field; given in both spellings, the values must be the same."""
    targets = {name: field for name in unknown if (field := meant_field(name, fields)) is not None}
    new_names = [targets.get(name, name) for name in value]
    pairs = dict.fromkeys((new, json.dumps(inner)) for new, inner in zip(new_names, value.values(), strict=True))
    if not targets or len({new for new, _ in pairs}) < len(pairs):
        return value
    return dict(zip(new_names, value.values(), strict=True))


def rename_model(value: dict[str, Any], unknown: Sequence[str], fields: Fields, _: Definitions) -> dict[str, Any]:
    """Take `modelID` for the `id` of a model, or the other way round."""
    for other, expected in (("modelID", "id"), ("id", "modelID")):
        if other in unknown and expected in fields and expected not in value and "providerID" in fields:
            return {expected if name == other else name: inner for name, inner in value.items()}
    return value


def join_model(value: dict[str, Any], unknown: Sequence[str], fields: Fields, _: Definitions) -> dict[str, Any]:
    """Take `providerID` and `modelID` for `model`, or the other way round."""
    both = ("providerID", "modelID")
    if "model" in unknown and {*both} <= fields.keys() and not {*both} & value.keys():
        model = value["model"]
        if isinstance(model, (str, dict)) and (names := model_names(cast("str | dict[str, Any]", model))):
            rest = {name: inner for name, inner in value.items() if name != "model"}
            return {**rest, **dict(zip(both, names, strict=True))}
    if {*both} <= {*unknown} and "model" in fields and "model" not in value:
        rest = {name: inner for name, inner in value.items() if name not in both}
        return {**rest, "model": {name: value[name] for name in both}}
    return value


def unwrap(value: dict[str, Any], unknown: Sequence[str], _: Fields, __: Definitions) -> dict[str, Any]:
    """Take the fields of `body` or `arguments` for arguments of a tool that has no such argument."""
    for wrapper in WRAPPERS:
        if wrapper in unknown:
            inner = parse_json(value[wrapper], dict) if isinstance(value[wrapper], str) else value[wrapper]
            rest = {name: other for name, other in value.items() if name != wrapper}
            if isinstance(inner, dict) and not inner.keys() & rest.keys():
                return rest | cast("dict[str, Any]", inner)
    return value


def wrap(value: dict[str, Any], unknown: Sequence[str], fields: Fields, definitions: Definitions) -> dict[str, Any]:
    """Take arguments beside `body` or `arguments` for its fields; an object of any fields must be `arguments`."""
    for wrapper in WRAPPERS:
        schemas = [each for schema in fields.get(wrapper, ()) for each in expand(schema, definitions)]
        inner = value.get(wrapper, {})
        if not any("object" in types_of(schema) for schema in schemas) or not isinstance(inner, dict):
            continue
        declared = fields_of(schemas)
        is_open = wrapper == "arguments" and not declared
        moved = {name: value[name] for name in unknown if is_open or name in declared}
        if moved and not moved.keys() & inner.keys():
            rest = {name: other for name, other in value.items() if name not in moved}
            return {**rest, wrapper: {**cast("dict[str, Any]", inner), **moved}}
    return value


INNER_REPAIRS = (rename, rename_model, join_model)
ROOT_REPAIRS = (drop_extras, *INNER_REPAIRS, unwrap, wrap)
"""Clients add arguments, and models misplace them, at the root alone."""
