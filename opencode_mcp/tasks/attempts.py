"""The prompts of one turn of a task: its own, and those with which bridges have its work or its answer corrected.

The ids of the latter are derived from the former, so every bridge knows them, and none is sent twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from .idempotency import SUFFIX_CHARS, is_same_prompt, request_suffix

MAX_RETRIES = 10
"""How often a failed check may be sent back."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a prompt is for: the task's own is attempt 1, each failed check that is sent back begins the next.

    With `is_repair` it asks for the answer of that attempt again, in the form that the task demands.
    """

    number: int
    is_repair: bool = False


def retry_key(prompt_id: str, retries: int) -> str:
    """Return the request id of the prompt that sends a failed check back."""
    return f"{prompt_id} retry {retries}"


def repair_key(prompt_id: str, attempt: int) -> str:
    """Return the request id of the prompt that has the answer of an attempt corrected."""
    return f"{prompt_id} repair {attempt}"


def find_attempt(first_prompt_id: str, prompt_id: str) -> Attempt | None:
    """Return what a prompt is for in the turn that another one has begun; None if it is not of that turn."""
    if is_same_prompt(prompt_id, first_prompt_id):
        return Attempt(1)
    return further_attempts(first_prompt_id).get(prompt_id[-SUFFIX_CHARS:])


@lru_cache
def further_attempts(prompt_id: str) -> Mapping[str, Attempt]:
    """Return what bridges may send after a task's own prompt, by the end of its id."""
    numbers = range(1, MAX_RETRIES + 2)
    retries = {request_suffix(retry_key(prompt_id, number - 1)): Attempt(number) for number in numbers[1:]}
    repairs = {request_suffix(repair_key(prompt_id, number)): Attempt(number, is_repair=True) for number in numbers}
    return {**retries, **repairs}
