"""Fill in forms of OpenCode 2: lists of texts -> the form's answer, checked before it is sent."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import urlsplit

from opencode_mcp.exceptions import WorkflowError

from .forms import (
    DONE,
    LIMITS,
    FormCondition,
    FormField,
    FormRequest,
    choices_of,
    describe_condition,
    describe_items,
    is_shown,
    name_field,
)

TRUTHS = {"true": True, "yes": True, "false": False, "no": False}
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

Answer = dict[str, Any]
"""A form's answer: a value for each key."""


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
