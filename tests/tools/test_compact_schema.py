"""The schema that a model sees: shorter than the one that validates, and never stricter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator, validator_for

from opencode_mcp.catalog import Catalog
from opencode_mcp.tasks import TASK_TOOLS
from opencode_mcp.tools.compact_schema import compact_schema
from opencode_mcp.tools.gateway import GATEWAY_TOOLS

from .schemas import schema_values

SCHEMAS: dict[str, dict[str, Any]] = {
    tool.name: tool.input_schema
    for tool in (*TASK_TOOLS.values(), *GATEWAY_TOOLS.values(), *Catalog.from_snapshot().values())
}
UNHURRIED = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@settings(suppress_health_check=UNHURRIED)
@given(data=st.data())
@pytest.mark.parametrize("name", SCHEMAS)
def test_the_compact_schema_accepts_what_the_full_schema_accepts(name: str, data: st.DataObject) -> None:
    """The summary does not exclude any valid call."""
    full = SCHEMAS[name]
    arguments = data.draw(schema_values(full, full.get("$defs", {})))
    assume(Draft202012Validator(full).is_valid(arguments))

    assert Draft202012Validator(compact_schema(full)).is_valid(arguments), json.dumps(arguments)


def test_the_generator_reaches_arguments_of_every_kind() -> None:
    """The property above is not vacuous: for nine tools in ten, drawn arguments are valid and not empty."""
    drawn: set[str] = set()
    strategies = {name: schema_values(full, full.get("$defs", {})) for name, full in SCHEMAS.items()}
    validators = {name: Draft202012Validator(full) for name, full in SCHEMAS.items()}

    @settings(max_examples=10, suppress_health_check=UNHURRIED)
    @given(data=st.data())
    def draw(data: st.DataObject) -> None:
        for name, strategy in strategies.items():
            arguments = data.draw(strategy)
            if arguments and validators[name].is_valid(arguments):
                drawn.add(name)

    draw()
    takes_arguments = {name for name, full in SCHEMAS.items() if full["properties"]}
    assert len(drawn) >= 0.9 * len(takes_arguments), sorted(takes_arguments - drawn)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_published_schema_breaks_no_client(name: str) -> None:
    """Its root is a plain object, it has no `$ref`, and it is a valid JSON Schema."""
    schema = compact_schema(SCHEMAS[name])

    assert schema["type"] == "object"
    assert not {"anyOf", "oneOf", "allOf", "$ref", "$defs"} & schema.keys()
    assert "$ref" not in json.dumps(schema)
    assert validator_for(schema) is not None
    assert "9007199254740991" not in json.dumps(schema)


def test_the_compact_prompt_schema_keeps_parts_model_and_agent() -> None:
    """Text and file parts, the model and the agent of a prompt are in its summary with their fields."""
    properties = compact_schema(SCHEMAS["session_prompt"])["properties"]
    parts: Mapping[str, Mapping[str, Any]] = {
        one["properties"]["type"]["enum"][0]: one["properties"] for one in properties["parts"]["items"]["anyOf"]
    }

    assert {"type", "text"} <= parts["text"].keys()
    assert {"type", "mime", "url", "filename"} <= parts["file"].keys()
    assert properties["model"]["required"] == ["providerID", "modelID"]
    assert properties["agent"] == {"type": "string"}


def test_a_recursive_component_is_compacted() -> None:
    """A recursive component, which a later document may have, accepts anything where it would recur."""
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}, "required": ["next"]}
    schema = {"type": "object", "properties": {"node": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}

    assert compact_schema(schema)["properties"]["node"]["properties"]["next"] == {}
