"""What is typed into a form at a terminal becomes a value of the field's type."""

from __future__ import annotations

from typing import Any

import pytest

from opencode_mcp.cli.console import read_value


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ({"type": "boolean"}, "y", True),
        ({"type": "boolean"}, "2", False),
        ({"type": "boolean"}, "maybe", None),
        ({"type": "integer"}, "-3", -3),
        ({"type": "integer"}, "1.5", None),
        ({"type": "number"}, "1.5", 1.5),
        ({"type": "number"}, "nan", None),
        ({"type": "string", "enum": ["Red", "Blue"]}, "b", "Blue"),
        ({"type": "string", "enum": ["Red", "Blue"]}, "green", None),
        ({"type": "string"}, "any text", "any text"),
        ({"type": "string"}, "", None),
    ],
)
def test_a_text_is_read_by_the_type_of_its_field(field: dict[str, Any], text: str, value: Any) -> None:
    """A text that is no value is asked for again."""
    read = read_value(field, text)
    assert (read, type(read)) == (value, type(value))
