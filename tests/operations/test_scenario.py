"""The language of the tables: what matches, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from .scenario import Has, KeepValue, Lacks, Like, Mismatch, Values, compare


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"$name": "$name!"}, {"known": "known!"}),
        ({}, {}),
        ([{"a": 1}], [{"a": 1, "b": 2}]),
        (Has({"a": 2}), [{"a": 1}, {"a": 2}]),
        (Lacks({"a": 3}), [{"a": 1}, {"a": 2}]),
        (Like("^b+$"), "bbb"),
        (str, ""),
        (None, None),
    ],
)
def test_an_answer_that_has_what_is_expected_matches(expected: Any, value: Any) -> None:
    """More members of an object do no harm, and references are filled in."""
    compare(expected, value, {"name": "known"}, "answer")


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, None),
        ({}, {"a": 1}),
        ([1], [1, 2]),
        ([1, 2], [2, 1]),
        ([], [1]),
        (Has(3), [1, 2]),
        (Has(1), {"result": [1]}),
        (Lacks(1), [1, 2]),
        (Lacks(1), None),
        (Like("^b+$"), "abb"),
        (Like("1"), 1),
        (str, None),
        ("$name", "$name"),
        (True, False),
        (None, 0),
    ],
)
def test_any_other_answer_does_not_match(expected: Any, value: Any) -> None:
    """What lacks something, or is of another kind, is told apart."""
    with pytest.raises(Mismatch, match=r"^answer"):
        compare(expected, value, {"name": "known"}, "answer")


def test_a_kept_value_is_available_to_later_steps() -> None:
    """The value that is kept from an array is that of the item that matched."""
    values: Values = {}

    compare(
        Has({"name": "b", "id": KeepValue("id", int)}),
        [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
        values,
        "answer",
    )

    assert values == {"id": 2}
