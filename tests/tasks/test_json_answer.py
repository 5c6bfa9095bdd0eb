"""An answer as JSON: found in the text by clear rules, parsed strictly, and validated within a time limit."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from opencode_mcp.exceptions import InvalidArguments, WorkflowError
from opencode_mcp.tasks import json_answer
from opencode_mcp.tasks.arguments import validate_arguments
from opencode_mcp.tasks.json_answer import (
    MAX_ANSWER_CHARS,
    MAX_DEPTH,
    MAX_SCHEMA_CHARS,
    JsonAnswer,
    check_schema_form,
    find_json,
    find_problems,
    parse_json,
    read_answer,
    refuse_invalid_schema,
)
from opencode_mcp.tasks.task_tools import RunTask

COUNT = '{"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ("\n [1, 2] \n", "[1, 2]"),
        ('{"a": "```json\\n{}\\n```"}', '{"a": "```json\\n{}\\n```"}'),
        ('Here:\n```json\n{"a": 1}\n```\nSee [1].', '{"a": 1}'),
        ("```\n[1]\n```", "[1]"),
        ("  ```JSON  \r\n[1]\r\n  ```\r\n", "[1]\r"),
        ("```python\nprint({})\n```\n```json\n[1]\n```", "[1]"),
        ('```json\n{"a": "\u2028"}\n```', '{"a": "\u2028"}'),
        ('The answer is {"a": [1]}.', '{"a": [1]}'),
        ("{} and {}", "{} and {}"),
        ("As in [1], {}", "[1], {}"),
        ("```json\n{}", "{}"),
    ],
)
def test_the_json_of_an_answer_is_found(text: str, found: str) -> None:
    """It is all of the text, its only code block, or what its outermost brackets enclose, so never one of two."""
    assert find_json(text) == found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no JSON object or list"),
        ("42", "no JSON object or list"),
        ("} {", "no JSON object or list"),
        ("only {", "no JSON object or list"),
        ("```json\n1\n```\n```\n2\n```", "2 code blocks"),
        ("[" * (MAX_ANSWER_CHARS + 1), "the maximum is"),
    ],
)
def test_an_answer_without_one_json_value_is_refused(text: str, problem: str) -> None:
    """With what is wrong."""
    with pytest.raises(ValueError, match=problem):
        find_json(text)


@pytest.mark.parametrize(
    "text", ['{"a": null, "b": [1.5, -0.0, true]}', "[]", "{}", f"[{2**80}]", '["\\ud83d\\ude00"]', '{"": ""}']
)
def test_json_is_read_as_it_is(text: str) -> None:
    """Nulls, large whole numbers and empty values included."""
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' comes twice"),
        ('{"b": {"a": 1, "a": 1}}', "the key 'a' comes twice"),
        ("[NaN]", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("[1e999]", "1e999 is too large"),
        ('["\\ud800"]', "not JSON: .*surrogates"),
        ("[1,]", "is not JSON"),
        ("{} and {}", "is not JSON"),
        ("{'a': 1}", "is not JSON"),
        ('"text"', "must be a JSON object or list"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested more than"),
        ("[" * 100_000 + "]" * 100_000, "nested more than"),
        (f"[{'9' * 5000}]", "is not JSON"),
    ],
)
def test_what_is_not_json_is_refused(text: str, problem: str) -> None:
    """Also what Python's parser would accept, or what would lose a value."""
    with pytest.raises(ValueError, match=problem):
        parse_json(text)


@pytest.mark.parametrize("schema", [{}, {"type": ["null", "array"]}, {"anyOf": [{"type": "object"}]}])
def test_a_schema_may_demand_an_object_or_a_list(schema: dict[str, Any]) -> None:
    """Or leave it open."""
    assert check_schema_form(schema) is schema


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "string"}, "must be object or array"),
        ({"type": ["null", "number"]}, "must be object or array"),
        ({"type": [{"": 1}]}, "must be object or array"),
        ({"title": "x" * MAX_SCHEMA_CHARS}, "more than"),
        ({"minimum": float("nan")}, "not JSON compliant"),
        ({"title": "\ud800"}, "surrogates"),
        (json.loads('{"not":' * MAX_DEPTH + "{}" + "}" * MAX_DEPTH), "nested more than"),
    ],
)
def test_a_schema_of_another_form_is_refused(schema: dict[str, Any], problem: str) -> None:
    """Before anything is done with it."""
    with pytest.raises(ValueError, match=problem):
        check_schema_form(schema)


@pytest.mark.anyio
@pytest.mark.usefixtures("spawns")
@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"properties": {"a": {"required": "b"}}}, 'properties.a.required: the value is not of type "array"'),
        ({"$ref": "http://127.0.0.1:9/x.json"}, "Retrieval is disabled, cannot fetch http://127.0.0.1:9/x.json"),
        ({"$ref": "file:///etc/passwd"}, "Retrieval is disabled, cannot fetch file:///etc/passwd"),
        ({"$ref": "#/$defs/none"}, "Pointer '/$defs/none' does not exist"),
        ({"$schema": "https://example.com/own"}, "Unknown meta-schema"),
        ({"patternProperties": {"(": {}}}, "patternProperties"),
    ],
)
async def test_a_schema_that_is_not_valid_is_refused(schema: dict[str, Any], problem: str) -> None:
    """With the place; nothing is read from the network or from a file."""
    with pytest.raises(WorkflowError) as refused:
        await refuse_invalid_schema(schema)

    assert problem in str(refused.value)


@pytest.mark.anyio
@pytest.mark.usefixtures("spawns")
@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"a": {"type": "string"}}, "items": {"$ref": "#/$defs/a"}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": {}}, "$ref": "#/definitions/a"},
        {"properties": {"children": {"items": {"$ref": "#"}}}},
    ],
)
async def test_a_schema_may_refer_to_itself(schema: dict[str, Any]) -> None:
    """And be of another draft than 2020-12."""
    await refuse_invalid_schema(schema)

    assert await read_answer(json.dumps(schema), "{}") == JsonAnswer({})


@pytest.mark.anyio
@pytest.mark.usefixtures("spawns")
async def test_an_answer_is_validated() -> None:
    """Each problem has its place."""
    assert await read_answer(COUNT, 'So: {"count": 3, "more": null}') == JsonAnswer({"count": 3, "more": None})
    assert await read_answer(COUNT, '{"count": "3"}') == JsonAnswer(problem='count: the value is not of type "integer"')
    assert await read_answer(COUNT, "[]") == JsonAnswer(problem='the value is not of type "object"')


@pytest.mark.anyio
@pytest.mark.usefixtures("spawns")
async def test_a_validation_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alternatives of alternatives take 2^60 steps: the value does not count as valid."""
    defs: dict[str, Any] = {f"d{at}": {"anyOf": [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(60)}
    schema = {"$ref": "#/$defs/d0", "$defs": {**defs, "d60": {"type": "string"}}}
    monkeypatch.setattr(json_answer, "VALIDATION_SECONDS", 1.0)
    started = time.monotonic()

    assert await find_problems(json.dumps(schema), "[1]") == ["validating it takes longer than 1 s"]
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("as_text", [False, True])
def test_a_schema_reaches_the_task_as_it_was_sent(as_text: bool) -> None:
    """With its nulls, and also if a client sends it as text."""
    schema = {"type": "object", "properties": {"a": {"enum": [None, 1], "default": None, "const": None}}}
    sent = {"prompt": "count", "output_schema": json.dumps(schema) if as_text else schema}

    assert validate_arguments("run_task", RunTask, sent, lenient=True).output_schema == schema


def test_a_schema_of_another_form_is_named_in_the_error() -> None:
    """As the argument that it is."""
    with pytest.raises(InvalidArguments, match=r"output_schema: .*must be object or array"):
        validate_arguments("run_task", RunTask, {"prompt": "x", "output_schema": {"type": "null"}}, lenient=True)
