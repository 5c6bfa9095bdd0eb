"""The tools against the document, both ways: nothing is missing, nothing is made up.

The document is read here as plain JSON, not through the code that is tested.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import jsonschema_rs
import mcp_types as types
import pytest

from opencode_mcp.catalog import Catalog, Operation
from opencode_mcp.catalog.opencode1 import OPENCODE_1
from opencode_mcp.openapi.document import METHODS
from opencode_mcp.openapi.snapshots import read_snapshot
from opencode_mcp.tools import operation_definition

Json = dict[str, Any]
DOCUMENT: Json = json.loads(read_snapshot())

WHOLE_BODIES = {
    "auth.set": "one of several kinds of credential",
    "config.update": "has the property $schema, which clients do not take",
    "global.config.update": "has the property $schema, which clients do not take",
    "part.update": "one of several kinds of part",
    "sync.history.list": "a map of any keys",
    "sync.replay": "has a field `directory`, as the query has",
    "tui.control.response": "any JSON",
    "tui.publish": "one of several kinds of event",
    "worktree.remove": "has a field `directory`, as the query has",
    "worktree.reset": "has a field `directory`, as the query has",
}
"""The operations whose body is one argument, `body`, and why its fields cannot stand beside the parameters."""


def iter_documented() -> Iterator[tuple[str, str, Json]]:
    """Every operation of the document as (method, path, operation)."""
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


OPERATIONS: dict[str, Json] = {operation["operationId"]: operation for _, _, operation in iter_documented()}


@pytest.fixture(scope="module")
def by_id(catalog: Catalog) -> dict[str, Operation]:
    """Operations by operationId."""
    return {operation.id: operation for operation in catalog.values()}


def body_fields(operation: Json) -> set[str]:
    """Return the arguments that the request body of a documented operation becomes."""
    if "requestBody" not in operation:
        return set()
    if operation["operationId"] in WHOLE_BODIES:
        return {"body"}
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return set(resolve_schema(schema)["properties"])


def resolve_schema(schema: Json) -> Json:
    """Follow a reference at the root of a schema."""
    while "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def expected_arguments(operation: Json) -> set[str]:
    """Return the arguments of an operation's tool, by the document and the amendments."""
    amendments = OPENCODE_1.amendments_for(operation["operationId"])
    dropped = {name for amendment in amendments for name in amendment.dropped_parameters}
    added = {parameter.name for amendment in amendments for parameter in amendment.parameters}
    controls = {name for amendment in amendments for name in amendment.controls}
    controls |= {"full"} if operation["operationId"] in OPENCODE_1.minimal_lists else set()
    parameters = {parameter["name"] for parameter in operation.get("parameters", [])}
    return (parameters - dropped) | added | controls | body_fields(operation)


def iter_references(value: Any) -> Iterator[str]:
    """Every `$ref` in a schema."""
    if isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from iter_references(item)
    elif isinstance(value, dict):
        for key, item in cast("Json", value).items():
            if key == "$ref":
                yield item
            else:
                yield from iter_references(item)


def test_every_operation_has_exactly_one_tool_and_every_tool_an_operation(catalog: Catalog) -> None:
    """The catalog and the document name the same operations, each once."""
    ids = [operation.id for operation in catalog.values()]

    assert sorted(ids) == sorted(OPERATIONS)
    assert len(set(ids)) == len(ids) == len(catalog)


def test_every_tool_sends_the_method_and_path_of_its_operation(by_id: dict[str, Operation]) -> None:
    """Only v2.fs.read has another path: the document's has a literal star in place of a parameter."""
    differing = {
        operation["operationId"]: path
        for method, path, operation in iter_documented()
        if (by_id[operation["operationId"]].method, by_id[operation["operationId"]].path) != (method.upper(), path)
    }

    assert differing == {"v2.fs.read": "/api/fs/read/*"}


def test_every_path_parameter_is_filled(every_catalog: Catalog) -> None:
    """The placeholders of a path and the path parameters are the same, and required."""
    for operation in every_catalog.values():
        filled = {p.name for p in operation.parameters if p.location == "path" and p.required}
        assert set(re.findall(r"\{(\w+)\}", operation.path)) == filled, operation.id


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_the_arguments_are_the_parameters_and_body_fields_of_the_document(
    by_id: dict[str, Operation], operation_id: str
) -> None:
    """Each parameter and body field is an argument or dropped by an amendment, and there is no other argument."""
    properties = by_id[operation_id].input_schema["properties"]

    assert set(properties) == expected_arguments(OPERATIONS[operation_id])


def test_what_the_document_requires_is_required(by_id: dict[str, Operation]) -> None:
    """A required parameter or body field is a required argument; amendments add a few, and free one body."""
    for operation_id, operation in OPERATIONS.items():
        required = {p["name"] for p in operation.get("parameters", []) if p.get("required")}
        if operation_id in WHOLE_BODIES and operation_id != "sync.history.list":
            required.add("body")
        elif "requestBody" in operation and operation_id not in WHOLE_BODIES:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            required |= set(resolve_schema(schema).get("required", []))
        added = {"v2.fs.read": {"path"}, "sync.steal": {"workspace"}}.get(operation_id, set[str]())
        assert set(by_id[operation_id].input_schema.get("required", [])) == required | added, operation_id


def test_every_tool_name_fits_clients_that_put_a_prefix_before_it(catalog: Catalog) -> None:
    """At most 40 lower-case letters, digits and underscores."""
    assert [name for name in catalog if not re.fullmatch(r"[a-z0-9_]{1,40}", name)] == []


def test_every_argument_is_a_property_key_that_clients_accept(every_catalog: Catalog) -> None:
    """Claude Code silently drops a tool with any other key at the root of its schema."""
    refused = [
        f"{operation.name}.{key}"
        for operation in every_catalog.values()
        for key in operation.input_schema["properties"]
        if not re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", key)
    ]

    assert refused == []


def test_the_root_of_every_schema_is_a_plain_closed_object(every_catalog: Catalog) -> None:
    """Clients refuse a combination at the root, and an open object would let a misspelt argument through."""
    for operation in every_catalog.values():
        schema = operation.input_schema
        assert set(schema) <= {"type", "properties", "required", "additionalProperties", "$defs"}, operation.name
        assert schema["type"] == "object", operation.name
        assert schema["additionalProperties"] is False, operation.name


def test_no_arguments_are_accepted_without_a_validator(every_catalog: Catalog) -> None:
    """The validator would say the same; its library takes memory that a server may never need."""
    for operation in every_catalog.values():
        unused = replace(operation)
        assert unused.accepts({}) is operation.validator.is_valid({})
        assert "validator" not in vars(unused)


def test_every_schema_is_valid_and_self_contained(every_catalog: Catalog) -> None:
    """Each `$ref` names one of the schema's own `$defs`, each of which is used; the whole is valid 2020-12."""
    for operation in every_catalog.values():
        schema = operation.input_schema
        assert set(iter_references(schema)) == {f"#/$defs/{name}" for name in schema.get("$defs", {})}, operation.name
        jsonschema_rs.meta.validate(schema)


def test_every_tool_is_described_and_annotated(every_catalog: Catalog) -> None:
    """A person sees a title, a model a description, and a client the hints; a read needs no `idempotentHint`."""
    for operation in every_catalog.values():
        tool = types.Tool.model_validate(operation_definition(operation, 40_000))
        assert tool.title and tool.title != operation.id, operation.name
        assert tool.description and tool.description != operation.id, operation.name
        assert tool.annotations is not None, operation.name
        assert tool.annotations.read_only_hint == operation.hints.read_only, operation.name
        assert tool.annotations.destructive_hint == operation.hints.destructive, operation.name
        assert tool.annotations.open_world_hint == operation.hints.open_world, operation.name
        repeatable = operation.hints.idempotent and not operation.hints.read_only
        assert tool.annotations.idempotent_hint == (repeatable or None), operation.name


def test_a_deprecated_operation_says_so(by_id: dict[str, Operation]) -> None:
    """A model that reads the description chooses the other one."""
    deprecated = [operation_id for operation_id, operation in OPERATIONS.items() if operation.get("deprecated")]

    assert deprecated == ["permission.respond"]
    assert operation_definition(by_id["permission.respond"], 40_000)["description"].endswith("Deprecated.")
