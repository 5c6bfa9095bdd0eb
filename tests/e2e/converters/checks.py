"""Whether a tool that a client has converted is still the tool that was published."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Schema = Mapping[str, Any]

MOST_ALTERNATIVES = 12
"""As many valid calls are made of a tool, each with other values of enums and other branches of `anyOf`."""

FOR_APPS_ONLY = frozenset({"list_tasks"})
"""The tools whose `_meta` keeps them for apps (MCP Apps): a client need not offer them to its model.
This runs in the environment of a client, which does not have the package and its FOR_BOARD_ONLY."""


@dataclass(frozen=True)
class ConvertedTool:
    """A tool as a client has it: the schema that its model gets, and what the client makes of a call's arguments.

    `send` raises if the client refuses them; it is None if the client passes on whatever the model writes.
    `requires` tells what the client makes required: the "same" as was published, every one of the "arguments", or every
    one of the "fields" of objects in them too.
    `keeps_fields`: the client shows its model the fields of an object in an argument.
    `keeps_inner_items`: the client shows its model what a list in a list consists of.
    """

    schema: Schema
    send: Callable[[dict[str, Any]], Any] | None = None
    requires: Literal["same", "arguments", "fields"] = "same"
    keeps_fields: bool = True
    keeps_inner_items: bool = True


Tools = Mapping[str, Callable[[], ConvertedTool]]
"""By name: converts the tool."""

Converter = Callable[[str], Awaitable[Tools]]
"""Connects to a server and returns its tools."""


def resolve(schema: Schema, root: Schema) -> Schema:
    """Follow references, and unwrap what converters put around an optional argument: `anyOf` with null."""
    while "$ref" in schema:
        target: Schema = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    branches = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if len(branches) == 1:
        return resolve({**{key: value for key, value in schema.items() if key != "anyOf"}, **branches[0]}, root)
    return schema


def find_losses(published: Schema, converted: Schema, tool: ConvertedTool, where: str = "") -> Iterator[str]:
    """Yield what a conversion has changed: arguments, which of them are required, their types and values."""
    converted = resolve(converted, tool.schema)
    place = where or "arguments"
    kind, kept_kind = published.get("type"), converted.get("type")
    if not isinstance(kind, str):
        yield f"{place}: published with {kind} as its type"
    elif str(kept_kind).lower() != kind:
        yield f"{place}: {kind} became {kept_kind}"
    values = converted.get("enum", [converted.get("const")])
    if "enum" in published and values != published["enum"]:
        yield f"{place}: the values {published['enum']} became {values}"
    if "items" in published and (tool.keeps_inner_items or not where.endswith("[]")):
        yield from find_losses(published["items"], converted.get("items") or {}, tool, f"{where}[]")
    if "properties" in published and (tool.keeps_fields or not where):
        yield from find_lost_fields(published, converted, tool, where)


def find_lost_fields(published: Schema, converted: Schema, tool: ConvertedTool, where: str) -> Iterator[str]:
    """Yield what a conversion has changed in the fields of an object."""
    fields: Mapping[str, Schema] = published["properties"]
    kept: Mapping[str, Schema] = converted.get("properties") or {}
    requires_all = tool.requires == "fields" or (tool.requires == "arguments" and not where)
    required = set(fields if requires_all else published.get("required", ()))
    kept_required = set(converted.get("required") or ())
    place = where or "arguments"
    if fields.keys() != kept.keys():
        yield f"{place}: {sorted(fields)} became {sorted(kept)}"
    if required != kept_required:
        yield f"{place}: required {sorted(required)} became {sorted(kept_required)}"
    for name in fields.keys() & kept.keys():
        yield from find_losses(fields[name], kept[name], tool, f"{where}.{name}".lstrip("."))


def make_example(schema: Schema, choice: int, is_whole: bool) -> Any:
    """Make a valid value, of every field or of the required ones; `choice` picks among alternatives."""
    if "enum" in schema:
        return schema["enum"][choice % len(schema["enum"])]
    if "anyOf" in schema:
        return make_example(schema["anyOf"][choice % len(schema["anyOf"])], choice, is_whole)
    match schema.get("type"):
        case "object":
            fields: Mapping[str, Schema] = schema.get("properties", {})
            wanted = fields if is_whole else schema.get("required", ())
            return {name: make_example(one, choice, is_whole) for name, one in fields.items() if name in wanted}
        case "array":
            return [make_example(schema.get("items", {"type": "string"}), choice, is_whole)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case _:
            return "text"


def find_refusals(published: Schema, tool: ConvertedTool) -> Iterator[str]:
    """Yield valid arguments that the client does not send to the server as they are."""
    if tool.send is None:
        return
    sizes = (True, False) if tool.requires == "same" else (True,)
    examples = [make_example(published, choice, size) for choice in range(MOST_ALTERNATIVES) for size in sizes]
    for example in {json.dumps(one): one for one in examples}.values():
        try:
            sent = tool.send(example)
        except Exception as error:
            yield f"refuses {json.dumps(example)}: {error!r}"
        else:
            if sent != example:
                yield f"sends {json.dumps(sent)} for {json.dumps(example)}"


def find_faults(published: Schema, convert: Callable[[], ConvertedTool]) -> list[str]:
    """Convert a tool; return what is wrong with the result."""
    try:
        tool = convert()
    except Exception as error:
        return [f"not converted: {error!r}"]
    return [*find_losses(published, tool.schema, tool), *find_refusals(published, tool)]


async def find_failures(convert: Converter, url: str, published: Mapping[str, Schema]) -> list[str]:
    """Convert the tools of a server; return what is wrong, each with the tool's name."""
    try:
        tools = await convert(url)
    except Exception as error:
        return [f"{name}: the client takes no tool of the server: {error!r}" for name in published]
    lost, added = published.keys() - tools.keys() - FOR_APPS_ONLY, tools.keys() - published.keys()
    different = [f"{name}: only listed or only converted" for name in lost | added]
    common = {name: (published[name], tools[name]) for name in published.keys() & tools.keys()}
    return different + [f"{name}: {fault}" for name, pair in common.items() for fault in find_faults(*pair)]


def main(converters: Mapping[str, Converter], list_schemas: Callable[[str], Awaitable[Mapping[str, Schema]]]) -> None:
    """Print as JSON how many tools there are at each URL that is an argument of the program, and what is wrong.

    `list_schemas` returns the input schemas that a server publishes, by tool.
    """

    async def check() -> dict[str, Any]:
        published = {url: await list_schemas(url) for url in sys.argv[1:]}
        failures = {
            client: [
                fault for url, schemas in published.items() for fault in await find_failures(convert, url, schemas)
            ]
            for client, convert in converters.items()
        }
        return {"tools": [len(schemas) for schemas in published.values()], "failures": failures}

    print(json.dumps(asyncio.run(check())))
