"""Forms of OpenCode 2 as questions: a field is a question that takes a value of its type.

fields -> questions; lists of texts -> the form's answer, checked before it is sent
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from opencode_mcp.exceptions import WorkflowError

from .models import Model, QuestionInfo, QuestionOption, QuestionRequest

NO_SESSION = "global"
"""Stands for the session of a form that has none: of an MCP server that asks its user (2.0.21)."""

DONE = "done"
"""The answer to an external field, once its page was visited."""

TRUTHS = {"true": True, "yes": True, "false": False, "no": False}
FORMATS: Mapping[str, str] = {
    "email": "an email address",
    "uri": "a URL",
    "date": "a date, YYYY-MM-DD",
    "date-time": "a date and time, as in 2026-01-31T12:00:00Z",
}
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

Answer = dict[str, Any]
"""A form's answer: a value for each key."""


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
    """Say when a field is to be answered."""
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


@dataclass(frozen=True)
class FilledForm:
    """A form's answer, and the texts that it is made of: a list for each question."""

    answer: Answer
    texts: tuple[tuple[str, ...], ...]


def fill_form(request: FormRequest, answers: Sequence[Sequence[str]], drops_inactive: bool = False) -> FilledForm:
    """Fill in a form with a list of texts for each question; an empty one takes the field's default.

    An answer to a field whose conditions do not hold is dropped, or refused.

    Raises:
        WorkflowError: which question takes what.
    """
    remaining = iter(answers)
    answer: Answer = {}
    used: list[tuple[str, ...]] = []
    for field in request.fields:
        texts = tuple(next(remaining, ())) if is_shown(field) else ()
        active = is_active(field, answer)
        if texts and not active and not drops_inactive:
            condition = "; ".join(describe_condition(condition, request.fields) for condition in field.when)
            raise WorkflowError(f"{name_field(field)!r} is answered {condition}: leave it empty, []")
        if is_shown(field):
            used.append(texts if active else ())
        value = read_field(field, texts) if active else None
        if value is not None:
            answer[field.key] = value
    return FilledForm(answer, tuple(used))


def read_field(field: FormField, texts: Sequence[str]) -> Any:
    """Return the value of a field that is active, None for no answer.

    Raises:
        WorkflowError: what it takes.
    """
    if texts:
        return read_texts(field, texts)
    if field.default is None and (field.required or field.type == "external"):
        raise WorkflowError(f"{name_field(field)!r} takes {describe_need(field)}; got none")
    return [*field.default] if isinstance(field.default, tuple) else field.default


def is_active(field: FormField, answer: Answer) -> bool:
    """Whether the conditions of a field hold; one about a field without an answer does not."""
    return all(holds(condition, answer.get(condition.key)) for condition in field.when)


def holds(condition: FormCondition, value: Any) -> bool:
    """Whether a condition holds for the answer to its field."""
    if value is None:
        return False
    return (condition.value in (value if isinstance(value, list) else [value])) == (condition.op == "eq")


def read_texts(field: FormField, texts: Sequence[str]) -> Any:
    """Return the value that texts are for a field.

    Raises:
        WorkflowError: they are none.
    """
    if field.type == "multiselect":
        values = [read_choice(field, text) for text in texts]
        count = len(values)
        if None in values or not (field.min_items or 0) <= count <= (field.max_items or count):
            raise wrong_answer(field, texts)
        return values
    value = READERS[field.type](field, texts[0]) if len(texts) == 1 else None
    if value is None:
        raise wrong_answer(field, texts)
    return value


def wrong_answer(field: FormField, texts: Sequence[str]) -> WorkflowError:
    """Return the error of an answer that does not fit."""
    return WorkflowError(f"{name_field(field)!r} takes {describe_need(field)}; got {', '.join(map(repr, texts))}")


def describe_need(field: FormField) -> str:
    """Say what an answer must be, with the choices."""
    labels = ", ".join(label for label, _ in choices_of(field))
    if field.type == "multiselect":
        needed = f"{describe_items(field) or 'one or more answers'} of {labels}"
    else:
        needed = f"one of {labels}" if labels else LIMITS[field.type](field) or "one answer"
    return f"{needed}, or own words" if labels and field.custom else needed


def read_choice(field: FormField, text: str) -> str | None:
    """Return the value of the option that a text names by its label or value, or own words; None if it names none."""
    for option, (label, _) in zip(field.options, choices_of(field), strict=True):
        if text in {label, option.value}:
            return option.value
    return text if field.custom else None


def read_string(field: FormField, text: str) -> str | None:
    """Return the text, or the option's value; None if it does not fit."""
    if field.options:
        return read_choice(field, text)
    fits = (field.min_length or 0) <= len(text) <= (field.max_length if field.max_length is not None else len(text))
    return text if fits and matches_pattern(field.pattern, text) and has_format(field.format, text) else None


def matches_pattern(pattern: str | None, text: str) -> bool:
    """Whether a text matches a regular expression; one that Python does not know is left to OpenCode."""
    try:
        return pattern is None or re.search(pattern, text) is not None
    except re.error:
        return True


def has_format(kind: str | None, text: str) -> bool:
    """Whether a text has a format."""
    try:
        match kind:
            case "email":
                return EMAIL.fullmatch(text) is not None
            case "uri":
                return bool(urlsplit(text).scheme)
            case "date":
                return date.fromisoformat(text).isoformat() == text
            case "date-time":
                return "T" in text.upper() and bool(datetime.fromisoformat(text))
            case _:
                return True
    except ValueError:
        return False


def read_number(field: FormField, text: str) -> float | int | None:
    """Return a number; None if it is none, or out of range."""
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number) or (field.type == "integer" and not number.is_integer()):
        return None
    least, most = field.minimum, field.maximum
    if (least is not None and number < least) or (most is not None and number > most):
        return None
    return int(number) if number.is_integer() else number


def read_boolean(field: FormField, text: str) -> bool | None:
    """Return yes or no; None if it is neither."""
    return TRUTHS.get(text.strip().lower())


def read_done(field: FormField, text: str) -> bool | None:
    """Return that a page was visited; None if it was not."""
    return True if text.strip().lower() == DONE or read_boolean(field, text) else None


READERS: Mapping[str, Callable[[FormField, str], Any]] = {
    "string": read_string,
    "number": read_number,
    "integer": read_number,
    "boolean": read_boolean,
    "external": read_done,
}
