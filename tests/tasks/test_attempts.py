"""The prompts of one turn: a task's own, and those that have its work or its answer corrected."""

from __future__ import annotations

import pytest

from opencode_mcp.opencode.models import FileChange, Message, Session, parse_model
from opencode_mcp.tasks.attempts import MAX_RETRIES, Attempt, find_attempt, repair_key, retry_key
from opencode_mcp.tasks.idempotency import make_prompt_id
from opencode_mcp.tasks.turn_changes import TurnChanges
from opencode_mcp.tasks.turn_prompts import find_turn_prompts

SESSION = parse_model("a test", Session, {"id": "ses_1", "directory": "/", "time": {"created": 1000}})
FIRST = f"msg_{make_prompt_id(SESSION, None, 'the task')}"


def user_message(message_id: str) -> Message:
    """Return a user's message with a text."""
    info = {"id": message_id, "role": "user", "time": {"created": 1000}}
    return parse_model("a test", Message, {"info": info, "parts": [{"type": "text", "text": "more"}]})


def id_after(previous: str, key: str) -> str:
    """Return the id of the prompt that is sent after another one, with a key."""
    return f"msg_{make_prompt_id(SESSION, user_message(previous), key)}"


@pytest.mark.parametrize(
    ("key", "attempt"),
    [
        (retry_key(FIRST, 1), Attempt(2)),
        (retry_key(FIRST, MAX_RETRIES), Attempt(MAX_RETRIES + 1)),
        (repair_key(FIRST, 1), Attempt(1, is_repair=True)),
        (repair_key(FIRST, MAX_RETRIES + 1), Attempt(MAX_RETRIES + 1, is_repair=True)),
        (retry_key(FIRST, MAX_RETRIES + 1), None),
        ("another request", None),
    ],
)
def test_a_prompt_belongs_to_the_turn_that_its_id_is_derived_from(key: str, attempt: Attempt | None) -> None:
    """Whatever came between them."""
    assert find_attempt(FIRST, id_after(FIRST, key)) == attempt
    assert find_attempt(FIRST, id_after(id_after(FIRST, "between"), key)) == attempt
    assert find_attempt(id_after(FIRST, "another task"), id_after(FIRST, key)) is None


def test_the_first_prompt_is_the_first_attempt() -> None:
    """It is the task's own."""
    assert find_attempt(FIRST, FIRST) == Attempt(1)


def test_what_a_bridge_sends_continues_the_turn() -> None:
    """And the prompt of a client ends it."""
    retry = id_after(FIRST, retry_key(FIRST, 1))
    repair = id_after(retry, repair_key(FIRST, 2))
    follow_up = id_after(repair, "follow-up")
    messages = [user_message(message_id) for message_id in (FIRST, retry, repair, follow_up)]

    assert find_turn_prompts(messages, FIRST) == {FIRST, retry, repair}


def test_a_file_that_two_prompts_changed_counts_once() -> None:
    """Its lines are added up."""
    changes = [FileChange(file=path, additions=2, deletions=1) for path in ("a", "b", "a")]

    assert TurnChanges.from_files(changes) == TurnChanges(files=2, additions=6, deletions=3, paths=["a", "b"])
