"""What is wrong with the arguments of a call, in words: one line for each fault, and an example that is right."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.openapi.document import Schema
from opencode_mcp.openapi.example import make_example
from opencode_mcp.openapi.navigation import fields_of, required_of, schemas_at
from opencode_mcp.openapi.patterns import describe_pattern
from opencode_mcp.suggestions import aliases, did_you_mean

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator, ValidationError

SHOWN_CHARS = 120
"""How much of an invalid value an error shows."""

SHOWN_PROBLEMS = 10
MAX_OPTIONS = 20
MAX_NAMES = 12
NOT_SHOWN: Any = object()

TYPE_WORDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "text",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault: `path` is the dotted path of the argument, `expected` what is wrong or wanted, `received` the value."""

    path: str
    expected: str
    received: Any = NOT_SHOWN

    def __str__(self) -> str:
        line = f"{self.path or 'arguments'}: {self.expected}"
        if self.received is NOT_SHOWN:
            return line
        received = json.dumps(self.received, ensure_ascii=False, default=str)
        return f"{line}; got {received if len(received) <= SHOWN_CHARS else received[:SHOWN_CHARS] + '…'}"


def refuse_non_json(name: str, arguments: Mapping[str, Any]) -> None:
    """Refuse what Python can hold and JSON cannot: lone surrogates, NaN, endless nesting.

    Raises:
        InvalidArguments: says what.
    """
    try:
        json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArguments(name, [f"arguments: not valid JSON: {error}"]) from error


def check_schema(name: str, schema: Schema, validator: Draft202012Validator, arguments: Mapping[str, Any]) -> None:
    """Check arguments against the full schema of a tool.

    Raises:
        InvalidArguments: at most ten problems, and an example.
    """
    errors = islice(validator.iter_errors(dict(arguments)), SHOWN_PROBLEMS)
    problems = [problem for error in errors for problem in find_problems(schema, error)][:SHOWN_PROBLEMS]
    if problems:
        raise InvalidArguments(name, [str(problem) for problem in problems], example_for(schema, problems))


def example_for(schema: Schema, problems: Sequence[Problem]) -> Any:
    """Return an example with the required arguments, and those that the problems are about."""
    return make_example(schema, {problem.path.partition(".")[0] for problem in problems})


def find_problems(schema: Schema, error: ValidationError) -> Iterator[Problem]:
    """Yield the faults of the alternative that a value is closest to."""
    faults = closest_errors(error)
    if len(faults) > 1 and all(is_choice(fault) and fault.instance_path == faults[0].instance_path for fault in faults):
        options = [option for fault in faults for option in choices(fault)]
        yield Problem(".".join(map(str, faults[0].instance_path)), f"must be {one_of(options)}", faults[0].instance)
        return
    for fault in faults:
        path = [str(step)[:SHOWN_CHARS] for step in fault.instance_path]
        match fault.kind.name:
            case "required":
                yield Problem(".".join([*path, fault.kind.value]), "missing")
            case "additionalProperties":
                for name in fault.kind.value:
                    yield Problem(".".join([*path, name[:SHOWN_CHARS]]), describe_unknown(schema, fault, name))
            case _:
                yield Problem(".".join(path), describe_fault(fault), fault.instance)


def describe_unknown(schema: Schema, fault: ValidationError, name: str) -> str:
    """Say what a field that an object does not have may stand for: another, a field of another, or the missing one."""
    schemas = schemas_at(schema, fault.instance_path)
    known = fields_of(schemas)
    received: Any = fault.instance
    if twice := [other for other in aliases(name, known) if other in received]:
        return f"differs from {twice[0]}; give one"
    if owners := [other for other in known if name in fields_of(schemas_at(schema, [*fault.instance_path, other]))]:
        return f"unknown; it is a field of {owners[0]}"
    missing = required_of(schemas) - received.keys()
    only_missing = f"did you mean {min(missing)}?" if len(missing) == len(fault.kind.value) == 1 else ""
    return f"unknown; {did_you_mean(name, known) or only_missing or list_names(known)}"


def list_names(names: Collection[str]) -> str:
    """Return the names of the arguments that there are."""
    listed = ", ".join(islice(names, MAX_NAMES))
    return f"known: {listed}{', …' if len(names) > MAX_NAMES else ''}" if names else "there are no arguments"


def describe_fault(fault: ValidationError) -> str:
    """Return what a value must be; a union whose alternatives all refuse the value itself names each."""
    branches = alternatives(fault)
    if branches:
        expected = dict.fromkeys(describe_fault(branch[0]).removeprefix("must be ") for branch in branches)
        return f"must be {' or '.join(expected)}"
    describe = DESCRIBE.get(fault.kind.name)
    return describe(fault.kind.value) if describe else fault.message[:300]


def closest_errors(error: ValidationError) -> Sequence[ValidationError]:
    """Descend into anyOf and oneOf to the closest alternative: one whose tag fits, then the one with the fewest
    faults, then the deepest. Where each alternative refuses the value itself, or its tag, the union is the fault."""
    branches = alternatives(error)
    if not branches or all(is_plain(branch, error) for branch in branches):
        return [error]
    tagged = [next((fault for fault in branch if is_tag(fault, error)), None) for branch in branches]
    if all(tagged):
        return [fault for fault in tagged if fault is not None]
    closest = min(
        zip(branches, tagged, strict=True),
        key=lambda pair: (pair[1] is not None, len(pair[0]), -max(len(fault.instance_path) for fault in pair[0])),
    )
    return [inner for fault in closest[0] for inner in closest_errors(fault)]


def alternatives(error: ValidationError) -> list[Sequence[ValidationError]]:
    """Return the faults of each alternative of a union that fits none; null is said by omitting the argument."""
    branches: Sequence[Sequence[ValidationError]] = getattr(error.kind, "context", ())
    return [branch for branch in branches if branch and branch[0].kind.value != ["null"]]


def is_plain(branch: Sequence[ValidationError], union: ValidationError) -> bool:
    """Whether an alternative refuses the whole value, not a part of it."""
    expected = {"type", "enum", "const", "pattern"}
    return len(branch) == 1 and branch[0].kind.name in expected and branch[0].instance_path == union.instance_path


def is_tag(fault: ValidationError, union: ValidationError) -> bool:
    """Whether a fault is about the field that tells the alternatives of a union apart."""
    return is_choice(fault) and len(fault.instance_path) == len(union.instance_path) + 1


def is_choice(fault: ValidationError) -> bool:
    """Whether a value is none of those that are allowed."""
    return fault.kind.name in {"enum", "const"}


def choices(fault: ValidationError) -> list[Any]:
    """Return the values that are allowed."""
    return fault.kind.value if fault.kind.name == "enum" else [fault.kind.value]


def one_of(options: Sequence[Any]) -> str:
    """Return allowed values as words: `a, b or c`."""
    words = [option if isinstance(option, str) and option else json.dumps(option) for option in options]
    if len(words) > MAX_OPTIONS:
        return f"one of {', '.join(words[:MAX_OPTIONS])}, …"
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


DESCRIBE: Mapping[str, Callable[[Any], str]] = {
    "type": lambda types: f"must be {one_of([TYPE_WORDS[kind] for kind in types])}",
    "enum": lambda options: f"must be {one_of(options)}",
    "const": lambda value: f"must be {one_of([value])}",
    "pattern": lambda pattern: f"must be {describe_pattern(pattern).must}",
    "minimum": lambda limit: f"must be at least {limit}",
    "maximum": lambda limit: f"must be at most {limit}",
    "exclusiveMinimum": lambda limit: f"must be more than {limit}",
    "exclusiveMaximum": lambda limit: f"must be less than {limit}",
    "minLength": lambda limit: "must not be empty" if limit == 1 else f"must have at least {limit} characters",
    "maxLength": lambda limit: f"must have at most {limit} characters",
    "minItems": lambda limit: "must not be empty" if limit == 1 else f"must have at least {limit} items",
    "maxItems": lambda limit: f"must have at most {limit} items",
}
"""For each keyword of JSON Schema: its value -> words."""
