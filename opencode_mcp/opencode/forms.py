"""Forms of OpenCode 2 as questions: a field is a question that takes a value of its type."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from .models import Model, QuestionInfo, QuestionOption, QuestionRequest

NO_SESSION = "global"
"""Stands for the session of a form that has none: of an MCP server that asks its user (2.0.21)."""

DONE = "done"
"""The answer to an external field, once its page was visited."""

FORMATS: Mapping[str, str] = {
    "email": "an email address",
    "uri": "a URL",
    "date": "a date, YYYY-MM-DD",
    "date-time": "a date and time, as in 2026-01-31T12:00:00Z",
}


class FormOption(Model):
    """One choice of a field."""

    value: str
    label: str
    description: str = ""


class FormCondition(Model):
    """Whether another field is answered with a value, or with another one."""

    key: str
    op: Literal["eq", "neq"]
    value: str | bool | int | float


class FormField(Model):
    """A field; which of the limits are set depends on `type`. With `custom` it takes own words beside its options."""

    key: str
    type: Literal["string", "number", "integer", "boolean", "multiselect", "external"]
    title: str = ""
    description: str = ""
    required: bool = False
    hidden: bool = False
    when: tuple[FormCondition, ...] = ()
    options: tuple[FormOption, ...] = ()
    custom: bool = False
    default: str | bool | int | float | tuple[str, ...] | None = None
    format: Literal["email", "uri", "date", "date-time"] | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    placeholder: str = ""
    minimum: float | None = None
    maximum: float | None = None
    min_items: int | None = None
    max_items: int | None = None
    url: str = ""


class FormQuestion(QuestionInfo):
    """A field of a form as a question. `takes` says what it takes, "" for one of the options or any text."""

    field: FormField
    takes: str = ""

    @property
    def is_required(self) -> bool:
        """Whether it must be answered, unless its conditions do not hold."""
        return self.field.required or self.field.type == "external"


class FormRequest(QuestionRequest):
    """A form: its title, and all its fields, of which the hidden ones are no questions.

    `owner_id` is the session that OpenCode keeps it under: that of the request, or NO_SESSION.
    """

    title: str = ""
    fields: tuple[FormField, ...]
    owner_id: str

    @property
    def has_no_session(self) -> bool:
        """Whether it may be of any session in its directory."""
        return self.session_id == NO_SESSION

    @property
    def only_url(self) -> str:
        """The page to visit, where that is all that the form asks for; else ""."""
        return self.fields[0].url if len(self.fields) == 1 and self.fields[0].type == "external" else ""


def ask_fields(fields: Sequence[FormField]) -> tuple[FormQuestion, ...]:
    """Return the questions of the fields that are shown."""
    return tuple(ask_field(field, fields) for field in fields if is_shown(field))


def is_shown(field: FormField) -> bool:
    """Whether a field is a question: a hidden one is answered with its default, unless it must have an answer."""
    return not field.hidden or (field.required and field.default is None)


def ask_field(field: FormField, fields: Sequence[FormField]) -> FormQuestion:
    """Return a field as a question."""
    question = name_field(field)
    return FormQuestion(
        question=question,
        header=field.title if field.title != question else "",
        options=tuple(QuestionOption(label=text, description=description) for text, description in choices_of(field)),
        multiple=field.type == "multiselect",
        custom=field.custom or (not field.options and field.type not in {"boolean", "external", "multiselect"}),
        field=field,
        takes=describe_field(field, fields),
    )


def name_field(field: FormField) -> str:
    """Return the text that a person reads of a field."""
    return field.description or field.title or field.key


def choices_of(field: FormField) -> list[tuple[str, str]]:
    """Return the label and the description of each choice; of options with the same label, their values."""
    if field.type == "boolean":
        return [("true", ""), ("false", "")]
    if field.type == "external":
        return [(DONE, f"after you have opened {field.url}")]
    labels = [option.label for option in field.options]
    return [
        (option.label if labels.count(option.label) == 1 else option.value, option.description)
        for option in field.options
    ]


def describe_field(field: FormField, fields: Sequence[FormField]) -> str:
    """Say what a field takes; "" for what an ordinary question takes."""
    named = name_default(field)
    default = named if named is None or isinstance(named, str) else json.dumps(named)
    details = [
        LIMITS[field.type](field),
        "" if field.required or field.type == "external" else "optional",
        *(describe_condition(condition, fields) for condition in field.when),
        "" if default is None else f"default {default}",
        f"such as {field.placeholder}" if field.placeholder else "",
    ]
    return "; ".join(detail for detail in details if detail)


def name_default(field: FormField) -> str | bool | int | float | None:
    """Return the default of a field as a person reads it: the label of an option, several separated by commas."""
    if isinstance(field.default, tuple):
        return ", ".join(label_of(field, value) for value in field.default)
    return label_of(field, field.default) if isinstance(field.default, str) else field.default


def label_of(field: FormField | None, value: str) -> str:
    """Return the label of the option of a field that has a value, else the value."""
    options = field.options if field is not None else ()
    labels = choices_of(field) if field is not None else []
    return next((label for option, (label, _) in zip(options, labels, strict=False) if option.value == value), value)


def describe_condition(condition: FormCondition, fields: Sequence[FormField]) -> str:
    """Say when a field must be answered."""
    field = next((field for field in fields if field.key == condition.key), None)
    asked = condition.key if field is None else name_field(field)
    verb = "is" if condition.op == "eq" else "is not"
    value = label_of(field, condition.value) if isinstance(condition.value, str) else json.dumps(condition.value)
    return f"only if the answer to {asked!r} {verb} {value!r}"


def describe_text(field: FormField) -> str:
    """Say what a text must be like."""
    kind = FORMATS[field.format] if field.format else "text" if field.pattern or has_length(field) else ""
    length = describe_range(field.min_length, field.max_length)
    parts = [
        kind,
        f"of {length} characters" if length else "",
        f"that matches {field.pattern}" if field.pattern else "",
    ]
    return " ".join(part for part in parts if part)


def has_length(field: FormField) -> bool:
    """Whether the length of a text is limited."""
    return field.min_length is not None or field.max_length is not None


def describe_number(field: FormField) -> str:
    """Say what a number must be like."""
    between = describe_range(field.minimum, field.maximum)
    return f"a {'whole ' if field.type == 'integer' else ''}number{f', {between}' if between else ''}"


def describe_items(field: FormField) -> str:
    """Say how many choices a field takes, "" for any number."""
    count = describe_range(field.min_items, field.max_items)
    return f"{count} answers" if count else ""


def describe_range(least: float | None, most: float | None) -> str:
    """Say a range, "" for none."""
    if least is not None and most is not None:
        return f"{least:g} to {most:g}"
    return f"at least {least:g}" if least is not None else f"at most {most:g}" if most is not None else ""


LIMITS: Mapping[str, Callable[[FormField], str]] = {
    "string": describe_text,
    "number": describe_number,
    "integer": describe_number,
    "boolean": lambda field: "",
    "multiselect": describe_items,
    "external": lambda field: "",
}
