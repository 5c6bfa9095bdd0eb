"""An answer as JSON: what asks the model for it, how it is found in the answer's text, and whether it fits its schema.

`format` of OpenCode's prompts is not used (seen in 1.18.33): every read of a session's messages that includes such a
prompt is HTTP 400, a value is taken that does not fit the schema, and a model that answers in words is not asked again.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from subprocess import CalledProcessError
from typing import Annotated, Any, NoReturn, cast

import anyio
from pydantic import AfterValidator

from opencode_mcp.exceptions import WorkflowError

from . import validate_json

MAX_SCHEMA_CHARS = 20_000
"""A schema is read with its session, and sent to the model with each prompt that demands it."""

MAX_ANSWER_CHARS = 1_000_000
MAX_DEPTH = 100
TOO_DEEP = f"the answer is nested more than {MAX_DEPTH} deep"
VALIDATION_SECONDS = 10.0

JsonValue = dict[str, Any] | list[Any]
"""What an answer can be; a lone number, text or null could not be told from the words around it."""


def check_schema_form(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose size and top are right; whether it is valid is found out by `refuse_invalid_schema`.

    Raises:
        ValueError: it is too long, or it demands neither an object nor a list.
    """
    if is_too_deep(schema):
        raise ValueError(f"the schema is nested more than {MAX_DEPTH} deep")
    if len(dump_compact(schema)) > MAX_SCHEMA_CHARS:
        raise ValueError(f"the schema has more than {MAX_SCHEMA_CHARS} characters")
    types = schema.get("type", "object")
    allowed: Sequence[Any] = cast("list[Any]", types) if isinstance(types, list) else [types]
    if "object" not in allowed and "array" not in allowed:
        raise ValueError(f"type: must be object or array at the top; got {json.dumps(types)}")
    return schema


OutputSchema = Annotated[dict[str, Any], AfterValidator(check_schema_form)]


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """The JSON value of an answer; where it has none that fits its schema, `problem` says why."""

    value: JsonValue | None = None
    problem: str | None = None


def dump_compact(value: Any) -> str:
    """Return a value as JSON text.

    Raises:
        ValueError: it has what JSON has not: NaN, or half of a surrogate pair.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text.encode()
    return text


def ask_for_json(schema: str) -> str:
    """Return what asks the model for an answer that fits a schema, as a part of its prompt.

    It is not in the system prompt: providers cache a conversation from its beginning, which that would change.
    """
    return (
        "Your final answer must be one JSON value that fits this JSON Schema, with nothing before or after it:\n\n"
        f"```json\n{schema}\n```"
    )


async def refuse_invalid_schema(schema: Mapping[str, Any] | None) -> None:
    """Refuse a schema that no validator can use.

    Raises:
        WorkflowError: where it is wrong, or which other document it needs.
    """
    if schema is not None and (problems := await find_problems(dump_compact(schema), None)):
        raise WorkflowError(f"output_schema: {'; '.join(problems)}; nothing was started")


async def read_answer(schema: str, text: str) -> JsonAnswer:
    """Return the JSON value of an answer, if that fits the schema."""
    try:
        value = parse_json(find_json(text))
    except ValueError as error:
        return JsonAnswer(problem=str(error))
    problems = await find_problems(schema, json.dumps(value))
    return JsonAnswer(problem="; ".join(problems)) if problems else JsonAnswer(value)


def find_json(text: str) -> str:
    """Return the JSON of an answer: the whole text, its only code block, or what its brackets enclose.

    A code block counts without a language, or with `json`. Without a block the part begins at the first opening bracket
    and ends at the last closing one, so that of two values neither is taken.

    Raises:
        ValueError: the answer has no JSON, has several code blocks, or is too long.
    """
    if len(text) > MAX_ANSWER_CHARS:
        raise ValueError(f"the answer has {len(text)} characters; the maximum is {MAX_ANSWER_CHARS}")
    stripped = text.strip()
    if stripped.startswith(("{", "[")) and stripped.endswith(("}", "]")):
        return stripped
    blocks = [block for language, block in code_blocks(text) if language in {"", "json"}]
    if len(blocks) > 1:
        raise ValueError(f"the answer has {len(blocks)} code blocks, and must have one JSON value")
    if blocks:
        return blocks[0]
    start = min((at for at in map(text.find, "{[") if at >= 0), default=-1)
    end = max(map(text.rfind, "}]"))
    if not 0 <= start < end:
        raise ValueError("the answer has no JSON object or list")
    return text[start : end + 1]


def code_blocks(text: str) -> Sequence[tuple[str, str]]:
    """Return the fenced code blocks of a Markdown text, each with its language."""
    blocks: list[tuple[str, str]] = []
    language: str | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        mark = line.strip()
        if language is None and mark.startswith("```"):
            language, lines = mark.removeprefix("```").strip().lower(), []
        elif language is not None and mark == "```":
            blocks.append((language, "\n".join(lines)))
            language = None
        else:
            lines.append(line)
    return blocks


def parse_json(text: str) -> JsonValue:
    """Return the object or list that a text is, by the rules of JSON alone: no NaN, and no key twice.

    Raises:
        ValueError: it is anything else, or what no client could read.
    """
    try:
        value: Any = json.loads(
            text, parse_constant=refuse_constant, parse_float=parse_finite, object_pairs_hook=unique_keys
        )
        dump_compact(value)
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error
    except ValueError as error:
        raise ValueError(f"the answer is not JSON: {error}") from error
    if is_too_deep(value):
        raise ValueError(TOO_DEEP)
    if not isinstance(value, dict | list):
        raise ValueError("the answer must be a JSON object or list")
    return cast("JsonValue", value)


def refuse_constant(name: str) -> NoReturn:
    """Refuse a constant that Python's parser knows and JSON does not.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{name} is not JSON")


def parse_finite(text: str) -> float:
    """Return a number.

    Raises:
        ValueError: it is too large for one.
    """
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise ValueError(f"{text} is too large")
    return number


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object.

    Raises:
        ValueError: it has a key twice, so one of the values would be lost.
    """
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} comes twice")
    return fields


def is_too_deep(value: Any) -> bool:
    """Whether a JSON value is nested so deep that serializers refuse it."""
    values = [value]
    for _ in range(MAX_DEPTH):
        values = [child for parent in values for child in children_of(parent)]
    return bool(values)


def children_of(value: Any) -> Iterable[Any]:
    """Return the values in an object or list; none of any other value."""
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).values()
    return cast("list[Any]", value) if isinstance(value, list) else ()


KNOWN_RESULTS: OrderedDict[bytes, list[str]] = OrderedDict()
"""The newest results by the hash of schema and value: every read of a task's state needs that of its answer."""

MAX_KNOWN_RESULTS = 200


async def find_problems(schema: str, value: str | None) -> list[str]:
    """Return what is wrong with a schema, or else with a value; both are JSON text."""
    key = sha256(json.dumps([schema, value]).encode()).digest()
    if (known := KNOWN_RESULTS.get(key)) is not None:
        return known
    problems = KNOWN_RESULTS[key] = await run_validator(json.dumps({"schema": schema, "value": value}))
    while len(KNOWN_RESULTS) > MAX_KNOWN_RESULTS:
        KNOWN_RESULTS.popitem(last=False)
    return problems


async def run_validator(request: str) -> list[str]:
    """Validate in a process of its own, which is killed after VALIDATION_SECONDS.

    Raises:
        WorkflowError: it cannot be run.
    """
    import jsonschema_rs

    folder = str(Path(jsonschema_rs.__file__).parent.parent)
    command = (sys.executable, "-I", "-S", "-B", str(Path(validate_json.__file__)), folder)
    try:
        with anyio.move_on_after(VALIDATION_SECONDS):
            return json.loads((await anyio.run_process(command, input=request.encode())).stdout)
    except (OSError, CalledProcessError) as error:
        raise WorkflowError(f"cannot validate JSON by a schema: {error}") from error
    return [f"validating it takes longer than {VALIDATION_SECONDS:g} s"]
