"""`key=value …` and `--json` -> arguments of a tool."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator

from opencode_mcp.exceptions import SettingsError

NOT_JSON = object()


def parse_arguments(schema: Mapping[str, Any], pairs: Iterable[str], text: str | None) -> dict[str, Any]:
    """Return the arguments that were given; a pair goes before the same key in `--json`.

    Raises:
        SettingsError: a pair is none, a file cannot be read, or `--json` is no JSON object.
    """
    return parse_json_object(text) | {key: coerce_value(schema, key, value) for key, value in map(split_pair, pairs)}


def parse_json_object(text: str | None) -> dict[str, Any]:
    """Parse `--json`; `-` is stdin.

    Raises:
        SettingsError: it is not a JSON object.
    """
    if text is None:
        return {}
    value = parse_json(sys.stdin.read() if text == "-" else text)
    if not isinstance(value, dict):
        raise SettingsError("--json takes a JSON object, or - for one on stdin")
    return value  # pyright: ignore[reportUnknownVariableType] - a JSON object


def split_pair(pair: str) -> tuple[str, str]:
    """Split `key=value`; `key=@file` is the file's text, and `key=@@…` a text that starts with @.

    Raises:
        SettingsError: there is no =, or no such file.
    """
    key, equals, value = pair.partition("=")
    if not key or not equals:
        raise SettingsError(f"{pair!r} is not key=value")
    if value.startswith("@@"):
        return key, value[1:]
    if not value.startswith("@"):
        return key, value
    try:
        return key, Path(value[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{key}: {value[1:]!r} cannot be read as text ({error}); @@ stands for a leading @"
        ) from error


def coerce_value(schema: Mapping[str, Any], key: str, text: str) -> Any:
    """Return the JSON value of a text if the tool's schema accepts it, else the text."""
    value = parse_json(text)
    expected: Any = schema.get("properties", {}).get(key)
    if value is NOT_JSON or expected is None:
        return text
    schema_with_definitions = {"allOf": [expected], "$defs": schema.get("$defs", {})}
    return value if Draft202012Validator(schema_with_definitions).is_valid(value) else text


def parse_json(text: str) -> Any:
    """Parse JSON; return `NOT_JSON` if it is not valid."""
    try:
        return json.loads(text)
    except ValueError:
        return NOT_JSON
