"""The newest turn of a session and what its family has spent: read from messages and sessions, for a report.

prompt, replies (one for each call of a model), their parts -> `TurnFacts`; session + subagents -> `Usage`
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import Message, Part, Session
from opencode_mcp.redaction import to_one_line

from .ask_timeout import was_unanswered
from .attempts import find_attempt
from .metadata import task_metadata
from .session_state import SessionSnapshot, read_session, unless_deleted
from .transcript import name_tool_call
from .turn_prompts import READ_MESSAGES, find_turn_prompts, read_messages_back_to

SHOWN_CALLS = 5
CALL_CHARS = 200


@dataclass(frozen=True, slots=True)
class Usage:
    """US dollars and tokens: input, output and reasoning, without what a provider had cached."""

    cost: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class TurnFacts:
    """A session's newest turn. `started` is when its prompt was sent (ms).

    `models` are those that answered, as `provider/model`, the last one first; `variant` and `agent` are those of the
    last reply. None of the three counts a reply that compacts the conversation. `text` is that of its newest reply that
    has any.

    `tool_calls` are the calls of the session itself, how many of each tool. `usage` is that of its replies without
    subagents; `failed_calls` are the newest of its tool calls, and of its subagents', that failed or were rejected, one
    line each. `unanswered_calls` are the newest of those whose request was rejected without an answer in time.
    """

    started: float
    models: tuple[str, ...]
    variant: str | None
    agent: str | None
    text: str
    tool_calls: Mapping[str, int]
    usage: Usage
    failed_calls: tuple[str, ...]
    unanswered_calls: tuple[str, ...]


async def read_turn(opencode: OpenCodeClient, snapshot: SessionSnapshot) -> TurnFacts | None:
    """Read the newest turn; None when there was no prompt yet."""
    newest = snapshot.newest_message
    if newest is None:
        return None
    first_prompt_id = find_first_prompt_id(snapshot)
    messages = await read_turn_messages(opencode, snapshot, first_prompt_id)
    replies = [message for message in messages if message.info.role == "assistant"]
    prompts = [message for message in messages if message.info.id == first_prompt_id]
    started = (prompts or messages or [newest])[0].info.time.created
    children = await gather(
        *(
            partial(unless_deleted, partial(read_replies_since, opencode, child_id, started), [])
            for child_id in snapshot.family[1:]
        )
    )
    all_replies = [*(message for child in children for message in child), *replies]
    answers = [message for message in reversed(replies) if message.info.summary is not True]
    parts = [part for message in all_replies for part in message.parts]
    failed_calls = [format_failed_call(part) for part in parts if has_failed(part)]
    unanswered_calls = [name_tool_call(part) for part in parts if was_unanswered(part)]
    return TurnFacts(
        started=started,
        models=tuple(dict.fromkeys(name for message in answers if (name := format_model(message)))),
        variant=answers[0].info.variant if answers else None,
        agent=answers[0].info.agent if answers else None,
        text=next((text for message in reversed(replies) if (text := message.text.strip())), ""),
        tool_calls=Counter(part.tool for message in replies for part in message.parts if part.state is not None),
        usage=Usage(
            sum(message.info.cost for message in replies),
            sum(message.info.tokens.total for message in replies),
        ),
        failed_calls=tuple(failed_calls[-SHOWN_CALLS:]),
        unanswered_calls=tuple(unanswered_calls[-SHOWN_CALLS:]),
    )


async def read_turn_messages(opencode: OpenCodeClient, snapshot: SessionSnapshot, prompt_id: str) -> list[Message]:
    """Return the messages of the turn that a prompt began, oldest first: of a long one the newest (READ_MESSAGES)."""
    messages = await read_messages_back_to(opencode, snapshot.session.id, prompt_id, snapshot.recent)
    prompt_ids = find_turn_prompts(messages, prompt_id)
    return [message for message in messages if message.user_message_id in prompt_ids]


def find_first_prompt_id(snapshot: SessionSnapshot) -> str:
    """Return the prompt that began the newest turn, "" for none; OpenCode or a bridge may have continued that since.

    What OpenCode has continued is known of a turn with rules only.
    """
    rules, newest = task_metadata(snapshot.session).rules, snapshot.newest_message
    if rules is not None and find_attempt(rules.prompt_id, snapshot.prompt_id):
        return rules.prompt_id
    return newest.user_message_id if newest is not None else ""


async def read_replies_since(opencode: OpenCodeClient, session_id: str, started: float) -> list[Message]:
    """Return the newest replies of a subagent since the turn began."""
    messages = await engine_of(opencode).list_messages(session_id, READ_MESSAGES[0])
    return [
        message for message in messages if message.info.role == "assistant" and message.info.time.created >= started
    ]


async def read_family_usage(opencode: OpenCodeClient, snapshot: SessionSnapshot) -> Usage:
    """Add up what a session and its subagents have spent."""
    children: list[Session | None] = await gather(
        *(partial(unless_deleted, partial(read_session, opencode, child_id), None) for child_id in snapshot.family[1:])
    )
    family = [snapshot.session, *(child for child in children if child is not None)]
    return Usage(sum(session.cost for session in family), sum(session.tokens.total for session in family))


def elapsed_seconds(turn: TurnFacts | None, snapshot: SessionSnapshot, *, over: bool) -> float:
    """Return how long the newest turn has taken, by the server's clock where it is over."""
    if turn is None or snapshot.newest_message is None:
        return 0.0
    end = snapshot.newest_message.info.time.completed if over else None
    return round(max(0.0, (end or time.time() * 1000) - turn.started) / 1000, 1)


def format_model(reply: Message) -> str | None:
    """Return the model that was asked, as `provider/model`."""
    return f"{reply.info.provider_id}/{reply.info.model_id}" if reply.info.model_id else None


def describe_other_model(turn: TurnFacts | None, session: Session) -> str | None:
    """Say that other models answered than the prompt was sent to, or more than one; None if it was that one.

    The session has the model that the prompt named, or OpenCode's choice; plugins can replace it in the prompt, which
    leaves the session as it was (1.18.33).
    """
    if turn is None or not turn.models:
        return None
    asked = f"{session.model['providerID']}/{session.model['id']}" if session.model else turn.models[0]
    if turn.models == (asked,):
        return None
    return (
        f"model {' and '.join(reversed(turn.models))} answered, not only {asked}"
        if asked in turn.models
        else (f"model {' and '.join(reversed(turn.models))} answered instead of {asked}")
    )


def has_failed(part: Part) -> bool:
    """Whether a tool call failed, or was rejected."""
    return part.state is not None and part.state.status == "error"


def format_failed_call(part: Part) -> str:
    """Say in one line which tool call failed, and why."""
    assert part.state is not None
    return f"{name_tool_call(part)}: {to_one_line(part.state.error or 'it failed', CALL_CHARS)}"


def describe_unanswered(turn: TurnFacts | None) -> str | None:
    """Say which requests of a turn were rejected without an answer; None if there are none."""
    calls = turn.unanswered_calls if turn is not None else ()
    return f"Rejected after ask_timeout_minutes without an answer: {'; '.join(calls)}." if calls else None


def describe_revert(snapshot: SessionSnapshot) -> str | None:
    """Say that the newest turn was reverted, or None. Its messages stay in the session until the next prompt."""
    revert, newest = snapshot.session.revert, snapshot.newest_message
    if revert is None or newest is None or newest.user_message_id < revert.message_id:
        return None
    return (
        "This turn was reverted: its answer no longer counts, and its file changes were undone. session_unrevert "
        "restores it until the next prompt."
    )
