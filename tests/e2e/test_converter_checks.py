"""That a conversion which loses something is noticed, whatever it loses."""

from __future__ import annotations

from typing import Any

import pytest

from .converters.checks import ConvertedTool, Schema, find_faults

PUBLISHED: Schema = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "enum": ["a", "b"]},
        "place": {"type": "object", "properties": {"line": {"type": "integer"}}, "required": ["line"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name"],
}
NAME, PLACE, TAGS = PUBLISHED["properties"].values()


def convert(**changes: Schema) -> Schema:
    """Return the published schema with other arguments."""
    return {**PUBLISHED, "properties": {**PUBLISHED["properties"], **changes}}


@pytest.mark.parametrize(
    ("converted", "fault"),
    [
        ({**PUBLISHED, "properties": {"name": NAME, "place": PLACE}}, "became ['name', 'place']"),
        ({**PUBLISHED, "required": []}, "required ['name'] became []"),
        (convert(name={"type": "string"}), "the values ['a', 'b'] became"),
        (convert(name={"enum": ["a", "b"]}), "string became None"),
        (convert(tags={"type": "array", "items": {}}), "tags[]: string became None"),
        (convert(place={"type": "object"}), "place: ['line'] became []"),
        (convert(place={**PLACE, "required": []}), "place: required ['line'] became []"),
    ],
)
def test_a_loss_is_found(converted: Schema, fault: str) -> None:
    """Arguments, what is required, types and values, at any depth."""
    found = find_faults(PUBLISHED, lambda: ConvertedTool(converted))

    assert any(fault in one for one in found), found


def test_a_type_that_was_published_as_a_list_is_found() -> None:
    """Even if the client keeps it."""
    published = convert(tags={"type": ["array", "null"], "items": {"type": "string"}})

    assert find_faults(published, lambda: ConvertedTool(published)) == [
        "tags: published with ['array', 'null'] as its type"
    ]


def test_what_clients_wrap_an_optional_argument_in_is_no_loss() -> None:
    """A reference, and a choice between the type and null."""
    tags = {"anyOf": [{"$ref": "#/$defs/Tags"}, {"type": "null"}], "default": None}
    converted = {**convert(tags=tags), "$defs": {"Tags": TAGS}}

    assert find_faults(PUBLISHED, lambda: ConvertedTool(converted)) == []


def test_calls_that_are_refused_or_changed_are_found() -> None:
    """Calls with every argument and with the required ones alone."""

    def send(arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments["name"] == "b":
            raise ValueError("not b")
        return {"name": "a"}

    found = find_faults(PUBLISHED, lambda: ConvertedTool(PUBLISHED, send))

    assert [fault.split(" ", 1)[0] for fault in found] == ["sends", "refuses", "refuses"]


def test_an_exception_of_the_converter_is_found() -> None:
    """It is one fault."""

    def fail() -> ConvertedTool:
        raise KeyError("type")

    assert find_faults(PUBLISHED, fail) == ["not converted: KeyError('type')"]
