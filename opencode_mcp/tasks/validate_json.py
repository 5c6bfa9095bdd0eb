"""Validates a JSON value by a JSON Schema, as a program of its own: a schema can take endless time, and holds the GIL.

stdin: {"schema": JSON text, "value": JSON text or null}; stdout: JSON, a list of what is wrong with either, in words
argument: the folder that has jsonschema_rs
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

SHOWN_PROBLEMS = 10
PROBLEM_CHARS = 300


def find_problems(schema: Any, value: str | None) -> Iterator[str]:
    """Yield what is wrong with the schema, or else with the value; nothing is read from the network or from files."""
    from jsonschema_rs import ValidationError, validator_for

    try:
        validator = validator_for(schema, offline=True, mask="the value")
    except ValidationError as error:
        yield describe(error)
    except ValueError as error:
        yield str(error)
    else:
        errors = validator.iter_errors(json.loads(value)) if value is not None else ()
        yield from map(describe, errors)


def describe(error: Any) -> str:
    """Say where a value does not fit, and why, in one line."""
    place = ".".join(map(str, error.instance_path))
    return f"{place}: {error.message}" if place else error.message


def main() -> None:
    """Answer one request."""
    sys.path.append(sys.argv[1])
    request = json.load(sys.stdin)
    problems = islice(find_problems(json.loads(request["schema"]), request["value"]), SHOWN_PROBLEMS)
    json.dump([problem[:PROBLEM_CHARS] for problem in problems], sys.stdout)


if __name__ == "__main__":
    main()
