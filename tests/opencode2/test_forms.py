"""Answers to forms, and the commands that a permission names."""

from __future__ import annotations

from typing import Any

import pytest

from .forms import answer_fault
from .tools import split_commands

COLOURS = [{"value": name, "label": name} for name in ("Red", "Blue")]
FORM: dict[str, Any] = {
    "fields": [
        {"key": "colour", "type": "string", "options": COLOURS, "required": True},
        {"key": "own", "type": "string", "options": COLOURS, "custom": True},
        {"key": "why", "type": "string", "minLength": 3, "pattern": "^[a-z]+$"},
        {"key": "count", "type": "integer", "minimum": 1, "maximum": 3},
        {"key": "sure", "type": "boolean"},
        {"key": "many", "type": "multiselect", "options": COLOURS, "maxItems": 1},
        {"key": "blue", "type": "string", "when": [{"key": "colour", "op": "eq", "value": "Blue"}], "required": True},
    ]
}


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ({"colour": "Red"}, None),
        ({}, "colour: is required"),
        ({"colour": ""}, "colour: is required"),
        ({"colour": "Green"}, "colour: is not one of the options"),
        ({"colour": "Red", "own": "Green"}, None),
        ({"colour": "Red", "other": 1}, "unknown form field: other"),
        ({"colour": "Red", "why": "no"}, "why: is too short or too long"),
        ({"colour": "Red", "why": "NOT"}, "why: does not match the pattern"),
        ({"colour": "Red", "count": 2}, None),
        ({"colour": "Red", "count": 4}, "count: is out of range"),
        ({"colour": "Red", "count": 1.5}, "count: must be an integer"),
        ({"colour": "Red", "count": True}, "count: must be a number"),
        ({"colour": "Red", "sure": "yes"}, "sure: must be a boolean"),
        ({"colour": "Red", "many": ["Red"]}, None),
        ({"colour": "Red", "many": "Red"}, "many: must be a list of strings"),
        ({"colour": "Red", "many": ["Red", "Blue"]}, "many: has too few or too many items"),
        ({"colour": "Red", "many": ["Green"]}, "many: is not one of the options"),
        ({"colour": "Blue"}, "blue: is required"),
        ({"colour": "Blue", "blue": "sky"}, None),
        ({"colour": "Red", "blue": "sky"}, "blue: is not active"),
    ],
)
def test_an_answer_is_held_to_its_form(answer: dict[str, Any], fault: str | None) -> None:
    """Each kind of field, required ones, and one whose condition does not hold."""
    assert answer_fault(FORM, answer) == fault


def test_an_external_field_is_acknowledged() -> None:
    """Although nothing says that it is required."""
    form = {"fields": [{"key": "page", "type": "external", "url": "https://opencode.ai"}]}
    assert answer_fault(form, {}) == answer_fault(form, {"page": "yes"}) == "page: must be acknowledged"
    assert answer_fault(form, {"page": True}) is None


@pytest.mark.parametrize(
    ("line", "commands"),
    [
        ("echo one", ["echo one"]),
        ("echo one; exit 3", ["echo one", "exit 3"]),
        ("cd a && ls | wc -l", ["cd a", "ls", "wc -l"]),
        ("echo 'a; b' \"c | d\"", ["echo 'a; b' \"c | d\""]),
    ],
)
def test_each_command_of_a_line_is_named(line: str, commands: list[str]) -> None:
    """What stands in quotes is not split."""
    assert split_commands(line) == commands
