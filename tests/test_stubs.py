"""The stubs of the operations: generated, complete, and of the types that the document's schemas describe."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from opencode_mcp.catalog import Catalog, Operation
from opencode_mcp.openapi.document import OperationObject
from opencode_mcp.openapi.example import make_example
from opencode_mcp.openapi.navigation import resolve
from opencode_mcp.operations import python_name

from .stub_reader import Stub

ROOT = Path(__file__).parents[1]
MAX_DEPTH = 5
Schema = dict[str, Any]
Schemas = Mapping[str, Schema]


@pytest.fixture(scope="module")
def stub(every_catalog: Catalog) -> Stub:
    """The stub of a generation."""
    return Stub(every_catalog.generation.number)


@pytest.fixture(scope="module")
def documented(every_catalog: Catalog) -> Mapping[str, OperationObject]:
    """The operations of its document, by id."""
    return {source.operation_id: source for _, _, source in every_catalog.generation.load_document().operations()}


@pytest.mark.usefixtures("spawns")
def test_the_stub_is_up_to_date() -> None:
    """scripts/write_stubs.py has been run."""
    done = subprocess.run([sys.executable, ROOT / "scripts" / "write_stubs.py", "--check"], capture_output=True)

    assert (done.returncode, done.stderr) == (0, b"")


def test_a_stub_has_every_operation_with_its_arguments(every_catalog: Catalog, stub: Stub) -> None:
    """By name, and required exactly where the schema requires them; `full` is only for tools."""
    for operation in every_catalog.values():
        required = set(operation.input_schema.get("required", ()))
        names = operation.input_schema["properties"].keys() - ({"full"} if operation.minimal else set[str]())

        method = stub.method(operation)

        assert [argument.arg for argument in method.args.args] == ["self"]
        pairs = zip(method.args.kwonlyargs, method.args.kw_defaults, strict=True)
        written = {argument.arg: default is None for argument, default in pairs}
        assert written == {python_name(name): name in required for name in names}


def test_every_answer_with_a_schema_has_its_type(every_catalog: Catalog, stub: Stub) -> None:
    """It takes what the schema allows, alternative by alternative, and nothing else: no field more, less, or other."""
    checked = 0
    for operation in every_catalog.values():
        if operation.execution_mode not in {"request", "blocking"} or not operation.response:
            continue
        kind = return_type(stub, operation)
        for value in iter_values(operation.response, operation.components):
            assert stub.fits(value, kind), (operation.id, value, ast.unparse(kind))
            checked += 1
        for value in iter_wrong_values(operation.response, operation.components):
            assert not stub.fits(value, kind), (operation.id, value, ast.unparse(kind))

    assert checked > len(every_catalog)


def test_every_event_has_its_type(
    every_catalog: Catalog, stub: Stub, documented: Mapping[str, OperationObject]
) -> None:
    """In the answer of an operation that reads a stream; the frame of `v2.session.events` has it as its data.

    One event of OpenCode 2 has any text as its type, and would keep a type checker from telling the others apart.
    """
    streams = [operation for operation in every_catalog.values() if operation.execution_mode == "events"]
    for operation in streams:
        schema = next(iter(documented[operation.id].responses["200"].content.values())).value_schema
        data = resolve(schema.get("properties", {}).get("data", {}), operation.components)
        for event in iter_values(data.get("contentSchema", schema), operation.components):
            answer = {"events": [event], "ended": "max_events"}
            is_typed = not event.get("type", "").startswith("<")
            assert stub.fits(answer, return_type(stub, operation)) == is_typed, (operation.id, event)

    assert len(streams) >= 2


def test_an_answer_without_a_schema_has_the_type_of_its_body(
    every_catalog: Catalog, stub: Stub, documented: Mapping[str, OperationObject]
) -> None:
    """None for status 204, text, or the bytes of a file that is not text."""
    kinds = {
        ast.unparse(return_type(stub, operation)): "204" in documented[operation.id].responses
        for operation in every_catalog.values()
        if operation.execution_mode == "request" and not operation.response
    }

    assert kinds == {"None": True, "str | bytes": False} | ({"str": False} if "vcs_diff_raw" in every_catalog else {})


def return_type(stub: Stub, operation: Operation) -> ast.expr:
    """Return the type of an operation's answer."""
    returned = stub.method(operation).returns
    assert returned is not None
    return returned


def iter_values(schema: Schema, definitions: Schemas, depth: int = 0) -> Iterator[Any]:
    """Yield values of a schema: each alternative of it and of its parts, and objects with all fields or few."""
    node = resolve(schema, definitions)
    kinds: str | list[str] = node.get("type", "")
    if branches := cast("list[Schema]", node.get("anyOf") or node.get("oneOf")):
        for branch in branches:
            yield from iter_values(branch, definitions, depth)
    elif "enum" in node:
        yield from node["enum"]
    elif kinds == "object" or "properties" in node:
        yield from iter_objects(node, definitions, depth)
    elif "prefixItems" in node:
        yield [next(iter_values(item, definitions, depth)) for item in node["prefixItems"]]
    elif kinds == "array":
        yield []
        yield from ([item] for item in iter_values(node.get("items", {}), definitions, depth))
    elif kinds:
        yield sample(node, definitions)
    else:
        yield from ("text", {"a": [1]}, None)


def iter_objects(node: Schema, definitions: Schemas, depth: int) -> Iterator[dict[str, Any]]:
    """Yield objects of a schema; those deep within others have their required fields only."""
    fields = cast("dict[str, Schema]", node.get("properties", {}))
    few = sample({**node, "type": "object"}, definitions)
    yield few
    if depth >= MAX_DEPTH:
        return
    values = {name: iter_values(inner, definitions, depth + 1) for name, inner in fields.items()}
    full = {**few, **{name: next(found) for name, found in values.items()}}
    yield full
    yield from ({**full, name: value} for name, found in values.items() for value in found)
    patterns = cast("dict[str, Schema]", node.get("patternProperties", {}))
    others: Any = next(iter(patterns.values()), node.get("additionalProperties", not fields))
    if others is not False:
        inner = cast("Schema", others) if isinstance(others, dict) else {}
        yield from ({**full, "any name": value} for value in iter_values(inner, definitions, depth + 1))


def iter_wrong_values(schema: Schema, definitions: Schemas) -> Iterator[Any]:
    """Yield values that a schema does not allow: without a required field, with another one, or with a wrong value."""
    node = resolve(schema, definitions)
    if node.get("type") == "array":
        yield from ([wrong] for wrong in iter_wrong_values(node["items"], definitions))
    elif node.get("properties") and not node.get("additionalProperties"):
        full = next(value for value in iter_values(node, definitions) if value.keys() == node["properties"].keys())
        yield {**full, "any name": 1}
        yield from ({key: full[key] for key in full if key != name} for name in node.get("required", ()))
        declared = (name for name, inner in node["properties"].items() if not takes_any(inner, definitions))
        yield from ({**full, name: object()} for name in declared)
    elif "anyOf" not in node and "oneOf" not in node:
        yield object()


def takes_any(schema: Schema, definitions: Schemas) -> bool:
    """Whether a schema takes any value, itself or as one of its alternatives."""
    node = resolve(schema, definitions)
    return not node or any(takes_any(branch, definitions) for branch in node.get("anyOf", ()))


def sample(node: Schema, definitions: Schemas) -> Any:
    """Return a value of a schema without alternatives, an object with its required fields only."""
    wrapped = {"type": "object", "properties": {"value": node}, "required": ["value"], "$defs": definitions}
    return make_example(wrapped)["value"]
