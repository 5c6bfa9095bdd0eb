"""Answers to forms. Source: what is accepted, and that a field whose condition does not hold must not be answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .store import Json


def answer_fault(form: Json, answer: Json) -> str | None:
    """Return what is wrong with an answer to a form."""
    fields: list[Json] = form["fields"]
    if unknown := answer.keys() - {field["key"] for field in fields}:
        return f"unknown form field: {', '.join(sorted(unknown))}"
    faults = (field_fault(field, answer) for field in fields)
    return next((f"{field['key']}: {fault}" for field, fault in zip(fields, faults, strict=True) if fault), None)


def field_fault(field: Json, answer: Json) -> str | None:
    """Return what is wrong with the answer to one field."""
    value, active = answer.get(field["key"]), is_active(field, answer)
    if field["type"] == "external":
        return None if value is True else "must be acknowledged"
    if value is None or value in ("", []):
        return "is required" if field.get("required") and active else None
    if not active:
        return "is not active"
    return VALIDATORS[field["type"]](field, value)


def is_active(field: Json, answer: Json) -> bool:
    """Whether all conditions of a field hold; one about a field without an answer does not."""
    return all(holds(condition, answer.get(condition["key"])) for condition in field.get("when", []))


def holds(condition: Json, value: Any) -> bool:
    """Whether a condition holds for the answer to its field."""
    if value is None:
        return False
    chosen = [value] if isinstance(value, (str, int, float)) else [*value]
    return (condition["value"] in chosen) == (condition["op"] == "eq")


def string_fault(field: Json, value: Any) -> str | None:
    """Return what is wrong with a text. Formats are left out."""
    if not isinstance(value, str):
        return "must be a string"
    if not field.get("minLength", 0) <= len(value) <= field.get("maxLength", len(value)):
        return "is too short or too long"
    if "pattern" in field and not re.search(field["pattern"], value):
        return "does not match the pattern"
    return option_fault(field, [value])


def number_fault(field: Json, value: Any) -> str | None:
    """Return what is wrong with a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "must be a number"
    if field["type"] == "integer" and value != int(value):
        return "must be an integer"
    return None if field.get("minimum", value) <= value <= field.get("maximum", value) else "is out of range"


def boolean_fault(field: Json, value: Any) -> str | None:
    """Return what is wrong with a yes or no."""
    return None if isinstance(value, bool) else "must be a boolean"


def multiselect_fault(field: Json, value: Any) -> str | None:
    """Return what is wrong with several choices."""
    if isinstance(value, (str, int, float)):
        return "must be a list of strings"
    if not field.get("minItems", 0) <= len(value) <= field.get("maxItems", len(value)):
        return "has too few or too many items"
    return option_fault(field, value)


def option_fault(field: Json, values: list[Any]) -> str | None:
    """Return what is wrong with choices where own words are not allowed."""
    if "options" not in field or field.get("custom"):
        return None
    return None if {*values} <= {option["value"] for option in field["options"]} else "is not one of the options"


VALIDATORS: Mapping[str, Callable[[Json, Any], str | None]] = {
    "string": string_fault,
    "number": number_fault,
    "integer": number_fault,
    "boolean": boolean_fault,
    "multiselect": multiselect_fault,
}
