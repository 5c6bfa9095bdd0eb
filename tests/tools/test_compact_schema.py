"""The schema that a model sees: shorter than the one that validates, and never stricter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator, validator_for

from opencode_mcp.catalog import Catalog, Operation
from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.opencode.prepare import validate
from opencode_mcp.tasks import TASK_TOOLS, TaskTool
from opencode_mcp.tasks.arguments import validate_arguments
from opencode_mcp.tasks.json_answer import JsonValue
from opencode_mcp.tasks.options import LISTED_BY_RUN_TASK
from opencode_mcp.tasks.report import TaskReport
from opencode_mcp.tasks.task_tools import RunTask
from opencode_mcp.tools import ToolRegistry, select_tools
from opencode_mcp.tools.compact_schema import compact_schema, without_description
from opencode_mcp.tools.definition import task_definition
from opencode_mcp.tools.gateway import GATEWAY_TOOLS, GatewayTool

from .schemas import schema_values

CATALOG = Catalog.from_snapshot()
CALLABLE: Mapping[str, TaskTool | GatewayTool | Operation] = {**TASK_TOOLS, **GATEWAY_TOOLS, **CATALOG}
SCHEMAS: dict[str, dict[str, Any]] = {name: entry.input_schema for name, entry in CALLABLE.items()}
PATTERNS = ("^ses", "^msg", "^prt", "^per", "^que", "^wrk", "^pty", "^[^/]")
"""How the regular expressions of arguments begin."""


@cache
def arguments_of(name: str, *, published: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """Arguments that a tool's schema accepts: the full one, or the published one. Costly to build, so built once."""
    schema = compact_schema(SCHEMAS[name]) if published else SCHEMAS[name]
    return schema_values(schema, schema.get("$defs", {}))


@cache
def validator_of(name: str, *, published: bool = False) -> Draft202012Validator:
    """What checks arguments against a tool's schema: the full one, or the published one."""
    return Draft202012Validator(compact_schema(SCHEMAS[name]) if published else SCHEMAS[name])


UNHURRIED = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def test_what_the_compact_schema_accepts_is_accepted_or_refused_in_words() -> None:
    """A call that follows the summary only fails with a line for each fault, without a regular expression."""
    accepted: set[str] = set()
    refused: set[str] = set()

    @settings(max_examples=5, phases=[Phase.generate], suppress_health_check=UNHURRIED)
    @given(data=st.data())
    def draw(data: st.DataObject) -> None:
        for name, entry in CALLABLE.items():
            arguments = data.draw(arguments_of(name, published=True))
            try:
                if isinstance(entry, Operation):
                    validate(entry, arguments, lenient=True)
                else:
                    validate_arguments(name, entry.arguments, arguments, lenient=True)
                accepted.add(name)
            except InvalidArguments as error:
                refused.add(name)
                assert [line for line in error.problems if not line.partition(": ")[2]] == [], name
                said = [line.partition("; got ")[0] for line in error.problems]  # then the caller's own text
                assert [line for line in said if any(pattern in line for pattern in PATTERNS)] == [], name

    draw()
    assert len(accepted) > len(CALLABLE) / 2
    assert refused


OTHER_TYPES = {
    "experimental_session_list": {("roots",), ("archived",)},
    "find_files": {("dirs",)},
    "session_list": {("roots",)},
    "tui_control_response": {("body",)},
    "experimental_workspace_create": {("extra",)},
    "v2_fs_find": {("limit",)},
    "v2_session_events": {("after",)},
    "v2_session_history": {("limit",), ("after",)},
    "run_task": {("permissions",)},
    "start_task": {("permissions",)},
    "run_tasks": {("tasks", "permissions")},
}
"""By tool: the arguments of which the summary shows one of several types, besides null."""


@settings(suppress_health_check=UNHURRIED)
@given(data=st.data())
@pytest.mark.parametrize("name", SCHEMAS)
def test_the_compact_schema_accepts_what_the_full_schema_accepts(name: str, data: st.DataObject) -> None:
    """The summary excludes no valid call but for null, and for the other types of `OTHER_TYPES`."""
    arguments = data.draw(arguments_of(name))
    assume(validator_of(name).is_valid(arguments))

    errors = [
        error for error in validator_of(name, published=True).iter_errors(arguments) if error.instance is not None
    ]
    other_types = {tuple(error.instance_path) for error in errors if error.kind.name == "type"}
    other_types = {path for path in other_types if without_indexes(path) in OTHER_TYPES.get(name, ())}
    # A value of another type is none of the values of this one either.
    assert [error for error in errors if tuple(error.instance_path) not in other_types] == [], json.dumps(arguments)


def without_indexes(path: tuple[str | int, ...]) -> tuple[str, ...]:
    """Return a path without the indexes in arrays."""
    return tuple(step for step in path if isinstance(step, str))


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [
        *((name, path[0], True) for name in ("session_list", "find_files") for path in OTHER_TYPES[name]),
        ("experimental_session_list", "roots", True),
        ("experimental_session_list", "archived", False),
        ("tui_control_response", "body", {}),
        ("experimental_workspace_create", "extra", {}),
        ("v2_fs_find", "limit", 5),
        ("v2_session_events", "after", 0),
        ("v2_session_history", "limit", 5),
        ("v2_session_history", "after", 0),
        *((name, "permissions", "allow") for name in ("run_task", "start_task")),
    ],
)
def test_of_several_types_the_published_one_is_accepted(name: str, argument: str, value: Any) -> None:
    """A value of the type that the summary shows is valid in the summary and in the full schema."""
    assert (argument,) in OTHER_TYPES[name]
    published = compact_schema(SCHEMAS[name])["properties"][argument]
    full = SCHEMAS[name]

    assert Draft202012Validator(published).is_valid(value)
    assert Draft202012Validator({**full["properties"][argument], "$defs": full.get("$defs", {})}).is_valid(value)


def test_the_generator_reaches_arguments_of_every_kind() -> None:
    """The property above is not vacuous: for nine tools in ten, drawn arguments are valid and not empty."""
    drawn: set[str] = set()

    @settings(max_examples=10, suppress_health_check=UNHURRIED)
    @given(data=st.data())
    def draw(data: st.DataObject) -> None:
        for name in SCHEMAS:
            arguments = data.draw(arguments_of(name))
            if arguments and validator_of(name).is_valid(arguments):
                drawn.add(name)

    draw()
    takes_arguments = {name for name, full in SCHEMAS.items() if full["properties"]}
    assert len(drawn) >= 0.9 * len(takes_arguments), sorted(takes_arguments - drawn)


def iter_nodes(schema: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each node of a schema with its path."""
    yield path, schema
    for keyword in ("properties", "$defs"):
        for name, inner in schema.get(keyword, {}).items():
            yield from iter_nodes(inner, (*path, name))
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from iter_nodes(schema[keyword], (*path, keyword))
    for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for number, inner in enumerate(schema.get(keyword, ())):
            yield from iter_nodes(inner, (*path, keyword, str(number)))


KEYWORDS = {"type", "description", "properties", "required", "items", "enum", "minimum", "maximum"}
"""What a published input schema is written with; the converters of all clients take it."""


PUBLISHED: dict[str, Mapping[str, Any]] = {
    f"{tool.name} {kind}": schema
    for preset in ("all", "essential")
    for tool in ToolRegistry(CATALOG, select_tools(CATALOG, [preset]), 40_000).listed
    for kind, schema in (("arguments", tool.input_schema), ("result", tool.output_schema))
    if schema is not None
}
"""Every schema in tools/list, of both presets."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_schema_breaks_no_client(name: str) -> None:
    """Each node has one type, and what this type needs: no union, no reference, no enum of another type."""
    schema = PUBLISHED[name]

    assert schema["type"] == "object"
    for path, node in iter_nodes(schema):
        assert node.keys() <= KEYWORDS, path
        assert node["type"] in {"array", "object", "boolean", "integer", "number", "string"}, path
        assert ("items" in node) == (node["type"] == "array"), path
        assert node["type"] == "string" or "enum" not in node, path
        assert all(isinstance(value, str) for value in node.get("enum", ())), path
        assert {*node.get("required", ())} <= node.get("properties", {}).keys(), path
    assert validator_for(dict(schema)) is not None
    assert "9007199254740991" not in json.dumps(schema)


def test_the_compact_prompt_schema_keeps_parts_model_and_agent() -> None:
    """Text and file parts, the model and the agent of a prompt are in its summary with their fields."""
    properties = compact_schema(SCHEMAS["session_prompt"])["properties"]
    part = properties["parts"]["items"]

    assert {"type", "text", "mime", "url", "filename"} <= part["properties"].keys()
    assert part["required"] == ["type"]
    assert part["properties"]["type"]["enum"] == ["text", "file", "agent", "subtask"]
    needs = "Required with text: text; file: mime, url; agent: name; subtask: prompt, description, agent."
    assert part["properties"]["type"]["description"] == needs
    assert properties["model"]["required"] == ["providerID", "modelID"]
    assert properties["agent"]["type"] == "string"


def test_no_field_of_a_result_is_published_as_what_it_may_not_be() -> None:
    """A field that may be null has null as its default: results leave it out, so its one published type holds."""
    nullable = {
        (tool.name, *path): node
        for tool in TASK_TOOLS.values()
        for path, node in iter_nodes(tool.output_schema)
        if {"type": "null"} in node.get("anyOf", ())
    }

    assert nullable
    assert {path: node for path, node in nullable.items() if node.get("default", ...) is not None} == {}


def test_each_output_schema_has_the_fields_of_a_report() -> None:
    """Those that do not describe the fields name all of them, with the same types and values."""
    tools = {name: tool for name, tool in TASK_TOOLS.items() if tool.output is TaskReport}
    published = {name: task_definition(tool)["outputSchema"] for name, tool in tools.items()}
    whole = published["report_task"]
    outlined = [schema for schema in published.values() if schema != whole]

    assert [name for name, schema in published.items() if schema == whole] == ["run_task", "report_task"]
    assert len(outlined) == 4
    for schema in outlined:
        assert schema["required"] == whole["required"]
        assert schema["properties"].keys() == whole["properties"].keys()
        assert schema["properties"]["state"] == whole["properties"]["state"]
        assert schema["properties"]["pending"] == {"type": "array", "items": {"type": "object"}}
        assert {n: field["type"] for n, field in schema["properties"].items()} == {
            n: field["type"] for n, field in whole["properties"].items()
        }
        assert "description" not in json.dumps(schema)


@pytest.mark.parametrize("value", [{"names": ["a"]}, ["a", None]])
def test_an_answer_as_json_fits_each_output_schema_of_a_report(value: JsonValue) -> None:
    """An object and a list fit: clients refuse the whole result otherwise."""
    report = TaskReport(session_id="ses_1", state="completed", directory="/project", structured=value)

    for tool in (tool for tool in TASK_TOOLS.values() if tool.output is TaskReport):
        validator = Draft202012Validator(task_definition(tool)["outputSchema"])
        validator.validate(report.model_dump(exclude_defaults=True))


def test_several_tasks_have_the_options_of_one() -> None:
    """Each task of run_tasks lists every argument of start_task, with the same types and values.

    Both take what only run_task lists.
    """
    one = compact_schema(SCHEMAS["start_task"])["properties"]
    each = compact_schema(SCHEMAS["run_tasks"])["properties"]["tasks"]["items"]

    assert each["required"] == ["prompt"]
    assert {name: without_description(schema) for name, schema in each["properties"].items()} == {
        name: without_description(schema) for name, schema in one.items()
    }
    assert one["permissions"]["enum"] == ["report", "ask", "allow", "reject"]
    every = compact_schema(SCHEMAS["run_task"])["properties"].keys()
    assert every == one.keys() | {"timeout_seconds", *LISTED_BY_RUN_TASK}
    assert SCHEMAS["start_task"]["properties"].keys() == every - {"timeout_seconds"}
    assert SCHEMAS["run_tasks"]["$defs"]["StartTaskOfSeveral"]["properties"].keys() == every - {"timeout_seconds"}


def test_run_task_takes_a_map_of_permissions_from_a_strict_client() -> None:
    """It publishes text of any value, so that a client that sends no other type can send the map as JSON."""
    tools = {"bash": {"*": "ask", "npm test*": "allow"}}
    published = compact_schema(SCHEMAS["run_task"])["properties"]["permissions"]
    assert without_description(published) == {"type": "string"}
    for permissions in (tools, json.dumps(tools)):
        arguments = validate_arguments("run_task", RunTask, {"prompt": "x", "permissions": permissions}, lenient=True)
        assert arguments.permissions == tools


def test_a_recursive_component_is_compacted() -> None:
    """A recursive component, which a later document may have, is an object without fields where it would recur."""
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}, "required": ["next"]}
    schema = {"type": "object", "properties": {"node": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}

    assert compact_schema(schema)["properties"]["node"]["properties"]["next"] == {"type": "object"}


LATER_SCHEMAS: list[tuple[Any, dict[str, Any]]] = [
    ({}, {"type": "object"}),
    (True, {"type": "object"}),
    ({"const": "x"}, {"type": "string", "enum": ["x"]}),
    ({"enum": [1, 2]}, {"type": "integer"}),
    ({"enum": [0.5]}, {"type": "number"}),
    ({"enum": ["a", None]}, {"type": "string", "enum": ["a"]}),
    ({"type": ["null", "integer"], "minimum": 2}, {"type": "integer", "minimum": 2}),
    ({"anyOf": [{"type": "null"}]}, {"type": "object"}),
    ({"anyOf": [{"enum": ["a"]}, {"const": "b"}]}, {"type": "string", "enum": ["a", "b"]}),
    ({"anyOf": [{"enum": ["a"]}, {"type": "string"}]}, {"type": "string"}),
    (
        {"oneOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]},
        {"type": "array", "items": {"type": "string"}},
    ),
    (
        {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "number"}}]},
        {"type": "array", "items": {"type": "number"}},
    ),
    (
        {"allOf": [{"properties": {"a": {"const": "x"}}, "required": ["a"]}, {"properties": {"b": {}}}]},
        {"type": "object", "properties": {"a": {"type": "string", "enum": ["x"]}}, "required": ["a"]},
    ),
]
"""Schemas that no operation has today, and what is published for them."""


@pytest.mark.parametrize(("full", "published"), LATER_SCHEMAS)
def test_what_a_later_document_may_have_is_compacted(full: Any, published: dict[str, Any]) -> None:
    """Unions, constants and schemas without a type get one type each."""
    schema = {"type": "object", "properties": {"argument": full}}

    assert compact_schema(schema)["properties"]["argument"] == published


def test_a_long_argument_keeps_its_description() -> None:
    """It replaces the list of the fields; an argument that is described as in another tool is outlined as well."""
    fields = {f"field_{number}": {"type": "string", "enum": ["a", "b", "c"]} for number in range(30)}
    long = {"type": "object", "properties": fields}
    described = {**long, "description": "What to set."}
    same = {"type": "object", "properties": {"a": {"type": "string"}}, "description": "As in session_prompt."}
    schema = {"type": "object", "properties": {"bare": long, "described": described, "same": same}}
    published = compact_schema(schema)["properties"]

    assert published["described"] == {"type": "object", "description": "What to set."}
    assert published["same"] == {"type": "object", "description": "As in session_prompt."}
    assert published["bare"]["description"].startswith("Fields: field_0, field_1, ")


def test_a_description_beside_a_reference_is_kept() -> None:
    """A component has many uses: the description of this one is shown, not the component's own."""
    definitions = {"Model": {"type": "string", "description": "A component."}}
    model = {"$ref": "#/$defs/Model", "description": "The model to use."}
    schema = {"type": "object", "properties": {"model": model}, "$defs": definitions}

    assert compact_schema(schema)["properties"]["model"] == {"type": "string", "description": "The model to use."}
