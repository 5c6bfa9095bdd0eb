"""Forms of OpenCode 2 as elicitation: the schema of every kind of field, and the answers that users give."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import pytest

from opencode_mcp.opencode.engine.opencode2.traits import TRAITS
from opencode_mcp.opencode.models import StoredPermissionRequest
from opencode_mcp.redaction import NO_REDACTION, Redactor
from opencode_mcp.server.elicitation import elicitation_message, elicitation_params, form_schema, parse_decision
from opencode_mcp.tasks import Decision, Undecided
from opencode_mcp.tasks.pending_requests import describe_request
from tests.opencode.test_forms import COLOURS, PAGE, make_form

FIELDS: tuple[dict[str, Any], ...] = (
    {"type": "string", "options": COLOURS, "required": True, "title": "Colour", "default": "#f00"},
    {"type": "string", "format": "email", "maxLength": 20, "title": "Address"},
    {"type": "integer", "minimum": 1, "maximum": 3, "title": "How many", "required": True},
    {"type": "boolean", "title": "Sure", "when": [{"key": "a", "op": "eq", "value": "#00f"}], "default": False},
    {"type": "multiselect", "options": COLOURS, "maxItems": 2, "title": "Others"},
    {"type": "external", "url": PAGE, "title": "Sign in"},
)
LIMITS = {
    "answer_1": {"type": "string", "enum": ["Red", "Blue, dark"], "default": "Red"},
    "answer_2": {"type": "string", "format": "email", "maxLength": 20},
    "answer_3": {"type": "integer", "minimum": 1, "maximum": 3},
    "answer_4": {"type": "boolean", "default": False},
    "answer_5": {"type": "string"},
    "answer_6": {"type": "boolean"},
}
DESCRIPTIONS = [
    "default Red",
    "an email address of at most 20 characters; optional",
    "a whole number, 1 to 3",
    "optional; only if the answer to 'Colour' is 'Blue, dark'; default false",
    "One or more of Red, Blue, dark, separated by commas. at most 2 answers; optional",
    f"Open {PAGE} first.",
]
FILLED = {"answer_1": "Red", "answer_3": 2, "answer_4": False, "answer_5": "Blue, dark, Red", "answer_6": True}


def decide(form: Any, action: Any, content: dict[str, Any] | None = None) -> Decision | Undecided:
    """Return the decision of a user who took a minute."""
    return parse_decision(form, types.ElicitResult(action=action, content=content), 60)


def test_every_kind_of_field_is_in_the_form() -> None:
    """With its limits as far as a form can have them, and all of them in words; what must be filled in is required."""
    schema = form_schema(make_form(*FIELDS))
    shown = schema["properties"]
    assert [field.pop("title") for field in shown.values()] == [field["title"] for field in FIELDS]
    assert [field.pop("description") for field in shown.values()] == DESCRIPTIONS
    assert shown == LIMITS
    assert schema["required"] == ["answer_1", "answer_3", "answer_6"]


def test_the_answers_of_a_form_are_texts() -> None:
    """What is left in a field whose condition does not hold is dropped; labels may have commas."""
    texts = (("Red",), (), ("2",), (), ("Blue, dark", "Red"), ("true",))
    assert decide(make_form(*FIELDS), "accept", FILLED) == Decision(answers=texts)
    assert decide(make_form(*FIELDS), "decline") == Decision(reply="reject")
    assert decide(make_form(*FIELDS), "cancel") == Undecided()


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"answer_3": 4}, "'How many' takes a whole number, 1 to 3; got '4'."),
        ({"answer_2": "me"}, "'Address' takes an email address of at most 20 characters; got 'me'."),
        ({"answer_6": False}, "'Sign in' takes one of done; got 'false'."),
        ({"answer_1": "Blue, dark", "answer_4": None, "answer_3": None}, "takes a whole number, 1 to 3; got none."),
    ],
)
def test_an_answer_that_does_not_fit_decides_nothing(changes: dict[str, Any], note: str) -> None:
    """The note says why the request is still pending."""
    decided = decide(make_form(*FIELDS), "accept", {**FILLED, **changes})
    assert isinstance(decided, Undecided)
    assert decided.note is not None
    assert decided.note.startswith("The user's answer does not fit: ")
    assert decided.note.endswith(note)


def test_a_page_is_opened_by_clients_that_can() -> None:
    """Other clients show its address in a form, as does a form with more fields; a secret in it is not shown at all."""
    form = make_form(FIELDS[5])
    params = elicitation_params(form, NO_REDACTION, opens_pages=True)
    assert isinstance(params, types.ElicitRequestURLParams)
    assert (params.message, params.url) == ("OpenCode asks: Deploy: Sign in", PAGE)
    assert decide(form, "accept") == Decision(answers=(("done",),))
    others = [
        elicitation_params(form, NO_REDACTION),
        elicitation_params(form, Redactor(["opencode.ai/login"]), opens_pages=True),
        elicitation_params(make_form(*FIELDS), NO_REDACTION, opens_pages=True),
    ]
    assert [type(params) for params in others] == [types.ElicitRequestFormParams] * 3
    assert "ai/login" not in str(others[1])


def test_a_report_says_what_a_field_takes() -> None:
    """An ordinary question has the fields that OpenCode 1's has."""
    described = describe_request(make_form(*FIELDS[1:3]), "ses_1").model_dump(exclude_defaults=True)
    assert described["wants"] == "Deploy: Address / How many"
    assert [question["takes"] for question in described["questions"]] == DESCRIPTIONS[1:3]
    asked = make_form({"type": "string", "options": COLOURS, "custom": True}, metadata={"kind": "question"})
    [question] = describe_request(asked, "ses_1").model_dump(exclude_defaults=True)["questions"]
    assert question.keys() == {"question", "options", "multiple", "custom"}


def test_a_user_reads_that_always_is_stored() -> None:
    """OpenCode 1's lasts until it exits."""
    facts: dict[str, Any] = {"id": "per_1", "session_id": "ses_1", "permission": "shell", "patterns": ("ls",)}
    request = StoredPermissionRequest(**facts, always=("ls *",), always_lasts=TRAITS.always_lasts)
    assert elicitation_message(request) == "OpenCode asks for permission: shell: ls (always: ls *, permanently)"
