"""Forms of OpenCode 2 as questions: what each field takes, and the answer that is made of texts."""

from __future__ import annotations

from typing import Any

import pytest

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode.engine.opencode2.requests import FormInfo
from opencode_mcp.opencode.form_answers import fill_form
from opencode_mcp.opencode.forms import FormRequest
from opencode_mcp.opencode.models import parse_model
from tests.opencode2.forms import answer_fault

COLOURS = [{"value": "#f00", "label": "Red"}, {"value": "#00f", "label": "Blue, dark"}]
PAGE = "https://opencode.ai/login"


def make_form(*fields: dict[str, Any], **facts: Any) -> FormRequest:
    """Return a form with fields, whose keys are a, b, c where they have none."""
    keyed = [{"key": "abcdef"[number], **field} for number, field in enumerate(fields)]
    info = {"id": "frm_1", "sessionID": "ses_1", "title": "Deploy", "fields": keyed, **facts}
    return parse_model("a test", FormInfo, info).to_request("ses_1")


@pytest.mark.parametrize(
    ("field", "texts", "value"),
    [
        ({"type": "string"}, ["any"], "any"),
        ({"type": "string", "options": COLOURS}, ["Red"], "#f00"),
        ({"type": "string", "options": COLOURS}, ["#00f"], "#00f"),
        ({"type": "string", "options": COLOURS, "custom": True}, ["Green"], "Green"),
        ({"type": "string", "minLength": 2, "maxLength": 3, "pattern": "^[a-z]+$"}, ["abc"], "abc"),
        ({"type": "string", "format": "email"}, ["a@b.test"], "a@b.test"),
        ({"type": "string", "format": "uri"}, ["https://a.test"], "https://a.test"),
        ({"type": "string", "format": "date"}, ["2026-01-31"], "2026-01-31"),
        ({"type": "string", "format": "date-time"}, ["2026-01-31T12:00:00Z"], "2026-01-31T12:00:00Z"),
        ({"type": "number", "minimum": 0.5}, ["0.5"], 0.5),
        ({"type": "integer", "maximum": 3}, ["3"], 3),
        ({"type": "integer"}, ["3.0"], 3),
        ({"type": "boolean"}, ["true"], True),
        ({"type": "boolean"}, ["No"], False),
        ({"type": "multiselect", "options": COLOURS, "maxItems": 2}, ["Red", "Blue, dark"], ["#f00", "#00f"]),
        ({"type": "multiselect", "options": COLOURS, "custom": True}, ["Green"], ["Green"]),
        ({"type": "external", "url": PAGE}, ["done"], True),
        ({"type": "integer", "default": 2}, [], 2),
        ({"type": "multiselect", "options": COLOURS, "default": ["#f00"]}, [], ["#f00"]),
        ({"type": "boolean"}, [], None),
    ],
)
def test_texts_become_the_value_of_a_field(field: dict[str, Any], texts: list[str], value: Any) -> None:
    """By the field's type; a label stands for its value, and no text for the default. OpenCode takes what comes out."""
    form = make_form(field)
    answer = fill_form(form, [texts]).answer
    assert answer == ({} if value is None else {"a": value})
    assert type(answer.get("a")) is type(value)
    assert answer_fault({"fields": [{"key": "a", **field}]}, answer) is None


def test_a_pattern_that_python_does_not_know_is_left_to_opencode() -> None:
    """OpenCode's are of JavaScript."""
    assert fill_form(make_form({"type": "string", "pattern": "(?<year>[0-9]+)"}), [["x"]]).answer == {"a": "x"}


@pytest.mark.parametrize(
    ("field", "texts", "problem"),
    [
        ({"type": "string", "required": True, "title": "Name"}, [], "'Name' takes one answer; got none"),
        ({"type": "string"}, ["a", "b"], "'a' takes one answer; got 'a', 'b'"),
        ({"type": "string", "options": COLOURS}, ["Green"], "takes one of Red, Blue, dark; got 'Green'"),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["abcd"], "takes text of 2 to 3 characters; got 'abcd'"),
        ({"type": "string", "pattern": "^[a-z]+$"}, ["A"], r"takes text that matches \^\[a-z\]\+\$"),
        ({"type": "string", "format": "email"}, ["a"], "takes an email address"),
        ({"type": "string", "format": "uri"}, ["a"], "takes a URL"),
        ({"type": "string", "format": "date"}, ["31.1."], "takes a date, YYYY-MM-DD"),
        ({"type": "string", "format": "date-time"}, ["2026-01-31"], "takes a date and time"),
        ({"type": "number", "minimum": 1}, ["0"], "takes a number, at least 1; got '0'"),
        ({"type": "number"}, ["nan"], "takes a number; got 'nan'"),
        ({"type": "integer", "minimum": 1, "maximum": 3}, ["1.5"], "takes a whole number, 1 to 3; got '1.5'"),
        ({"type": "boolean"}, ["maybe"], "takes one of true, false; got 'maybe'"),
        ({"type": "multiselect", "options": COLOURS}, ["Green"], "takes one or more answers of Red, Blue, dark"),
        ({"type": "multiselect", "options": COLOURS, "maxItems": 1}, ["Red", "#00f"], "takes at most 1 answers of"),
        ({"type": "external", "url": PAGE}, ["no"], "takes one of done"),
        ({"type": "external", "url": PAGE}, [], "takes one of done; got none"),
    ],
)
def test_texts_that_do_not_fit_are_refused(field: dict[str, Any], texts: list[str], problem: str) -> None:
    """The error names the question, what it takes, and what came."""
    with pytest.raises(WorkflowError, match=problem):
        fill_form(make_form(field), [texts])


CONDITIONAL = (
    {"type": "string", "options": COLOURS, "title": "Colour"},
    {"type": "string", "required": True, "when": [{"key": "a", "op": "eq", "value": "#f00"}], "title": "Why red"},
    {"type": "integer", "hidden": True, "default": 7},
    {"type": "string", "when": [{"key": "a", "op": "neq", "value": "#f00"}], "title": "Why not"},
)


def test_a_field_is_answered_only_if_its_conditions_hold() -> None:
    """By the value of the answer before; one about an empty answer does not hold. Hidden fields have their default."""
    form = make_form(*CONDITIONAL)
    assert [question.question for question in form.questions] == ["Colour", "Why red", "Why not"]
    assert fill_form(form, [["Red"], ["it is"], []]).answer == {"a": "#f00", "b": "it is", "c": 7}
    assert fill_form(form, [["#00f"], [], ["it is"]]).answer == {"a": "#00f", "c": 7, "d": "it is"}
    assert fill_form(form, [[], [], []]).answer == {"c": 7}
    with pytest.raises(WorkflowError, match="'Why red' takes one answer; got none"):
        fill_form(form, [["Red"], [], []])
    with pytest.raises(WorkflowError, match="'Why red' is answered only if the answer to 'Colour' is 'Red'"):
        fill_form(form, [["#00f"], ["it is"], []])
    filled = fill_form(form, [["#00f"], ["it is"], ["it is not"]], drops_inactive=True)
    assert (filled.texts, filled.answer["d"]) == ((("#00f",), (), ("it is not",)), "it is not")


def test_a_question_says_what_it_takes() -> None:
    """In words that neither its labels nor its text have; a question of the model's has none."""
    form = make_form(
        {"type": "integer", "minimum": 1, "default": 2, "title": "How many", "description": "Copies of it"},
        {"type": "string", "required": True, "placeholder": "main"},
        {"type": "boolean", "when": [{"key": "a", "op": "eq", "value": 2}]},
        {"type": "external", "url": PAGE, "title": "Sign in"},
    )
    assert [(question.question, question.header) for question in form.questions[::3]] == [
        ("Copies of it", "How many"),
        ("Sign in", ""),
    ]
    assert [question.model_dump()["takes"] for question in form.questions] == [
        "a whole number, at least 1; optional; default 2",
        "such as main",
        "optional; only if the answer to 'Copies of it' is '2'",
        "",
    ]
    assert [option.description for option in form.questions[3].options] == [f"after you have opened {PAGE}"]
    field = {"type": "string", "options": COLOURS, "custom": True, "title": "Colour", "description": "Which one?"}
    asked = make_form(field, metadata={"kind": "question"})
    assert (asked.title, asked.questions[0].model_dump()["takes"]) == ("", "")


def test_options_with_the_same_label_are_named_by_their_values() -> None:
    """Else an answer could mean both."""
    options = [{"value": "x1", "label": "x"}, {"value": "x2", "label": "x"}]
    form = make_form({"type": "string", "options": options})
    assert [option.label for option in form.questions[0].options] == ["x1", "x2"]
    assert fill_form(form, [["x2"]]).answer == {"a": "x2"}
