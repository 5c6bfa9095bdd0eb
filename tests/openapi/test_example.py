"""Examples: each is accepted as it stands, and shows what to put where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from jsonschema_rs import Draft202012Validator

from opencode_mcp.catalog import Catalog
from opencode_mcp.openapi.document import Schema
from opencode_mcp.openapi.example import make_example
from opencode_mcp.openapi.navigation import resolve
from opencode_mcp.openapi.patterns import PATTERNS, describe_pattern
from opencode_mcp.tasks import TASK_TOOLS
from opencode_mcp.tools.gateway import GATEWAY_TOOLS

TEXT_PART = {"id": "prt…", "sessionID": "ses…", "messageID": "msg…", "type": "text", "text": "<text>"}


def input_schemas(catalog: Catalog) -> dict[str, Schema]:
    """Return the full input schema of every tool."""
    tools = {**TASK_TOOLS, **GATEWAY_TOOLS, **catalog}
    return {name: tool.input_schema for name, tool in tools.items()}


def patterns(value: Any) -> Iterator[str]:
    """Yield the patterns in a schema, at any depth."""
    if isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from patterns(inner)
    elif isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if isinstance(fields.get("pattern"), str):
            yield fields["pattern"]
        for inner in fields.values():
            yield from patterns(inner)


def test_the_example_of_every_tool_is_valid(catalog: Catalog) -> None:
    """With the required fields alone, and with every optional one."""
    wrong = [
        (name, optional)
        for name, schema in input_schemas(catalog).items()
        for optional in ((), tuple(schema.get("properties", {})))
        if not Draft202012Validator(schema).is_valid(make_example(schema, optional))
    ]

    assert wrong == []


def test_every_pattern_has_words_and_an_example_that_matches(catalog: Catalog) -> None:
    """Of the operations and of the task tools; none is left over."""
    found = {pattern for schema in input_schemas(catalog).values() for pattern in patterns(schema)}

    assert found == PATTERNS.keys()
    for pattern, words in PATTERNS.items():
        assert Draft202012Validator({"type": "string", "pattern": pattern}).is_valid(words.example), pattern
        assert not set("^[]+$") & set(words.must)


def test_a_pattern_of_a_newer_document_is_quoted() -> None:
    """It has no words of its own."""
    assert describe_pattern("^abc").must == "text that matches ^abc"
    assert describe_pattern("^abc").example == "abc…"


@pytest.mark.parametrize(
    ("name", "example"),
    [
        ("auth_set", {"providerID": "<providerID>", "body": {"type": "api", "key": "<key>"}}),
        ("session_revert", {"sessionID": "ses…", "messageID": "msg…"}),
        ("session_prompt", {"sessionID": "ses…", "parts": [{"type": "text", "text": "<text>"}]}),
        ("run_tasks", {"tasks": [{"prompt": "<prompt>"}]}),
        ("part_update", {"sessionID": "ses…", "messageID": "msg…", "partID": "prt…", "body": TEXT_PART}),
        ("worktree_remove", {"body": {"directory": "<directory>"}}),
    ],
)
def test_an_example_is_the_simplest_of_several_forms(catalog: Catalog, name: str, example: dict[str, Any]) -> None:
    """Of alternatives a text, else the one with the fewest required fields."""
    assert make_example(input_schemas(catalog)[name]) == example


def test_a_schema_that_requires_itself_has_an_example() -> None:
    """Cut at a depth, rather than endless."""
    node: Schema = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}, "required": ["next"]}

    assert str(make_example({"$ref": "#/$defs/Node", "$defs": {"Node": node}})).count("next") == 21


def test_references_without_an_end_are_any_schema() -> None:
    """A search hit and a refusal resolve them as well."""
    definitions = {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}

    assert resolve({"$ref": "#/$defs/A"}, definitions) == {}
