"""The language of the tables: a scenario is a list of calls, each with what has to come back.

A string `$name` (lower case), alone or inside another, stands for a value: of `run_steps`, or kept by an earlier step.

    expected           matches
    {...}              an object that has at least these members; {} only an empty one
    [...]              an array of just these items
    Has(a)             an array with a match of a
    Lacks(a)           an array without one
    str, int, ...      any value of that type
    Like(r"...")       a string in which the regular expression is found
    Keep("name", a)    what a matches; later steps know it as $name
    anything else      an equal value

A step that expects `Fails` or `NoAnswer` matches a failed call, every other a call that succeeds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import anyio
import mcp_types as types
from mcp import Client, MCPError

from tests.eventually import eventually
from tests.facts import facts

STEP_SECONDS = 120.0
"""A bound, not a duration: on a busy machine OpenCode takes its time."""
SHOWN_CHARS = 1500
REFERENCE = re.compile(r"\$([a-z_]+)")

Values = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One call. With `eventually` it is made again until the answer matches."""

    tool: str
    arguments: Mapping[str, Any]
    expected: Any
    eventually: bool = False


@dataclass(frozen=True)
class OperationScenario:
    """Steps in the order in which they are made, in a project that has these files besides its README.md."""

    name: str
    steps: tuple[Step, ...]
    files: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Fails:
    """OpenCode answers with an error: its status, its name, and how its message begins."""

    status: int
    name: str
    message: str = ""

    def text(self, tool: str) -> str:
        """Return the beginning of what a client is told."""
        description = ": ".join(part for part in (self.name, self.message) if part)
        return f"OpenCode answered {tool} with HTTP {self.status}, {description}"


@dataclass(frozen=True)
class NoAnswer:
    """OpenCode does not answer within so many seconds."""

    seconds: float

    def text(self, tool: str) -> str:
        """Return the beginning of what a client is told."""
        return f"{tool}: no response within {self.seconds:g} s"


@dataclass(frozen=True)
class Has:
    """An array with a match of the item."""

    item: Any


@dataclass(frozen=True)
class Lacks:
    """An array without a match of the item."""

    item: Any


@dataclass(frozen=True)
class Like:
    """A string in which the regular expression is found."""

    pattern: str


@dataclass(frozen=True)
class KeepValue:
    """Keeps a value for later steps."""

    name: str
    expected: Any = str


def prompt(text: str) -> list[dict[str, str]]:
    """Return the parts of a prompt to the scripted model (examples/scripted_model.py lists its scripts)."""
    return [{"type": "text", "text": text}]


TRUE = {"result": True}
NO_CONTENT = {"result": None, "status": 204}
OPAQUE = "Unexpected server error. Check server logs for details. (err_"
"""What OpenCode says of most failures; why is only in its log."""


class Mismatch(AssertionError):
    """An answer is not what its step expects."""


async def run_steps(scenario: OperationScenario, client: Client, values: Values) -> None:
    """Write a scenario's files, and make each of its calls.

    Raises:
        AssertionError: the first step that is not answered as it expects.
    """
    write_files(scenario.files, values)
    for number, step in enumerate(scenario.steps, 1):
        try:
            with anyio.fail_after(STEP_SECONDS):
                await (attempt_until_match if step.eventually else attempt)(step, client, values)
        except (Mismatch, MCPError, TimeoutError) as reason:
            text = str(reason) or type(reason).__name__
            raise AssertionError(f"{scenario.name}, step {number}, {step.tool}: {text}") from None


def write_files(files: Mapping[str, str], values: Values) -> None:
    """Write files into the project."""
    for name, template in files.items():
        path = Path(values["project"], name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(fill_references(template, values))


async def attempt(step: Step, client: Client, values: Values) -> None:
    """Make a step's call.

    Raises:
        Mismatch: where and how the answer differs.
    """
    check_result(step, await client.call_tool(step.tool, fill_references(dict(step.arguments), values)), values)


async def attempt_until_match(step: Step, client: Client, values: Values) -> None:
    """Make a step's call again and again: no answer tells when a model or a shell has come so far.

    Raises:
        Mismatch: where and how the last answer differs.
    """
    last = Mismatch("no answer")

    async def attempt_once() -> bool:
        nonlocal last
        try:
            await attempt(step, client, values)
        except Mismatch as mismatch:
            last = mismatch
            return False
        return True

    try:
        await eventually(attempt_once, within=STEP_SECONDS / 2)
    except AssertionError:
        raise last from None


def check_result(step: Step, result: types.CallToolResult, values: Values) -> None:
    """Compare a result with what the step expects.

    Raises:
        Mismatch: where and how it differs.
    """
    text = "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))
    if isinstance(step.expected, (Fails, NoAnswer)):
        beginning = fill_references(step.expected.text(step.tool), values)
        if not (result.is_error and text.startswith(beginning)):
            raise Mismatch(f"expected the failure {beginning!r}, got {text[:SHOWN_CHARS]!r}")
    elif result.is_error:
        raise Mismatch(f"failed: {text}")
    else:
        compare(step.expected, facts(result), values, "answer")


def compare(expected: Any, value: Any, values: Values, path: str) -> None:
    """Compare a value with an expectation, keeping what is to be kept.

    Raises:
        Mismatch: where and how it differs.
    """
    match expected, value:
        case KeepValue(name, inner), _:
            compare(inner, value, values, path)
            values[name] = value
        case Has(item), list():
            if not any(matches(item, candidate, values) for candidate in cast("list[Any]", value)):
                raise make_mismatch(expected, value, values, path)
        case Lacks(item), list():
            if any(matches(item, candidate, values) for candidate in cast("list[Any]", value)):
                raise make_mismatch(expected, value, values, path)
        case dict(), dict() if expected:
            members = cast("dict[str, Any]", value)
            for key, inner in cast("dict[str, Any]", expected).items():
                name = str(fill_references(key, values))
                if name not in members:
                    raise make_mismatch({name: inner}, members, values, path)
                compare(inner, members[name], values, f"{path}.{name}")
        case list(), list():
            items, inners = cast("list[Any]", value), cast("list[Any]", expected)
            if len(items) != len(inners):
                raise make_mismatch(inners, items, values, path)
            for index, (inner, item) in enumerate(zip(inners, items, strict=True)):
                compare(inner, item, values, f"{path}.{index}")
        case type(), _ if isinstance(value, expected):
            return
        case Like(pattern), str() if re.search(pattern, value):
            return
        case _ if isinstance(expected, (Has, Lacks, Like, type)) or fill_references(expected, values) != value:
            raise make_mismatch(expected, value, values, path)
        case _:
            return


def matches(expected: Any, value: Any, values: Values) -> bool:
    """Whether a value matches."""
    try:
        compare(expected, value, values, "")
    except Mismatch:
        return False
    return True


def make_mismatch(expected: Any, value: Any, values: Values, path: str) -> Mismatch:
    """Say where an answer differs."""
    return Mismatch(f"{path}: expected {fill_references(expected, values)!r}, got {json.dumps(value)[:SHOWN_CHARS]}")


def fill_references(template: Any, values: Values) -> Any:
    """Replace the references in a template, which is left as it is."""
    match template:
        case str() if whole := REFERENCE.fullmatch(template):
            return values[whole[1]]
        case str():
            return REFERENCE.sub(lambda found: str(values[found[1]]), template)
        case dict():
            members = cast("dict[str, Any]", template)
            return {
                str(fill_references(key, values)): fill_references(member, values) for key, member in members.items()
            }
        case list():
            return [fill_references(item, values) for item in cast("list[Any]", template)]
        case _:
            return template
