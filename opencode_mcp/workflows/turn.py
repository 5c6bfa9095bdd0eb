"""The newest turn of a session and what its family has spent: read from messages and sessions, for a report.

prompt, replies (one for each call of a model), their parts -> `TurnFacts`; session + subagents -> `Spent`
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.background import gather
from opencode_mcp.opencode.models import Message, Part, Session

from .truth import Truth, read_session

READ_MESSAGES = (20, 200, 1000)
"""How many of the newest messages are read, more only where the turn is longer."""

SHOWN_CALLS = 5
CALL_CHARS = 200


@dataclass(frozen=True, slots=True)
class Spent:
    """US dollars and tokens: input, output and reasoning, without what a provider had cached."""

    cost: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class TurnFacts:
    """A session's newest turn. `began` is when its prompt was sent (ms); `model` what answered last.

    `spent` is that of its replies without subagents; `failed_calls` are the newest of its tool calls, and of its
    subagents', that failed or were rejected, one line each.
    """

    began: float
    model: str | None
    spent: Spent
    failed_calls: tuple[str, ...]


async def read_turn(opencode: OpenCodeClient, truth: Truth) -> TurnFacts | None:
    """Read the newest turn; None when there was no prompt yet."""
    newest = truth.newest
    if newest is None:
        return None
    messages = await turn_messages(opencode, truth.session.id, newest.user_message_id)
    replies = [one for one in messages if one.info.role == "assistant"]
    prompts = [one for one in messages if one.info.id == newest.user_message_id]
    began = (prompts or messages or [newest])[0].info.time.created
    children = await gather(*(partial(replies_since, opencode, id, began) for id in truth.family[1:]))
    everywhere = [*(one for child in children for one in child), *replies]
    failed = [failed_line(part) for one in everywhere for part in one.parts if has_failed(part)]
    return TurnFacts(
        began=began,
        model=next((name for one in reversed(replies) if (name := model_of(one))), None),
        spent=Spent(
            sum(one.info.cost for one in replies),
            sum(one.info.tokens.total for one in replies),
        ),
        failed_calls=tuple(failed[-SHOWN_CALLS:]),
    )


async def turn_messages(opencode: OpenCodeClient, session_id: str, prompt_id: str) -> list[Message]:
    """Return a turn's messages, oldest first; of one that is longer than what is ever read, the newest."""
    messages: list[Message] = []
    for limit in READ_MESSAGES:
        messages = await opencode.call_as(list[Message], "session_messages", sessionID=session_id, limit=limit)
        if len(messages) < limit or messages[0].info.id <= prompt_id:
            break
    return [one for one in messages if one.user_message_id == prompt_id]


async def replies_since(opencode: OpenCodeClient, session_id: str, began: float) -> list[Message]:
    """Return the newest replies of a subagent since the turn began."""
    messages = await opencode.call_as(list[Message], "session_messages", sessionID=session_id, limit=READ_MESSAGES[0])
    return [one for one in messages if one.info.role == "assistant" and one.info.time.created >= began]


async def family_spent(opencode: OpenCodeClient, truth: Truth) -> Spent:
    """Add up what a session and its subagents have spent."""
    children = await gather(*(partial(read_session, opencode, id) for id in truth.family[1:]))
    family: Sequence[Session] = (truth.session, *children)
    return Spent(sum(one.cost for one in family), sum(one.tokens.total for one in family))


def seconds(turn: TurnFacts | None, truth: Truth, *, over: bool) -> float:
    """Return how long the newest turn has taken, by the server's clock where it is over."""
    if turn is None or truth.newest is None:
        return 0.0
    end = truth.newest.info.time.completed if over else None
    return round(max(0.0, (end or time.time() * 1000) - turn.began) / 1000, 1)


def model_of(reply: Message) -> str | None:
    """Return the model that was asked, as `provider/model`."""
    return f"{reply.info.provider_id}/{reply.info.model_id}" if reply.info.model_id else None


def has_failed(part: Part) -> bool:
    """Whether a tool call failed, or was rejected."""
    return part.state is not None and part.state.status == "error"


def failed_line(part: Part) -> str:
    """Say in one line which tool call failed, and why."""
    assert part.state is not None
    first = next((value for value in part.state.input.values() if isinstance(value, str)), "")
    subject = " ".join(first.split())[:100]
    reason = " ".join((part.state.error or "it failed").split())[:CALL_CHARS]
    return f"{part.tool} {subject}: {reason}" if subject else f"{part.tool}: {reason}"


def reverted(truth: Truth) -> str | None:
    """Say that the newest turn was taken back, if it was: its messages stay in the session until the next prompt."""
    revert, newest = truth.session.revert, truth.newest
    if revert is None or newest is None or newest.user_message_id < revert.message_id:
        return None
    return (
        "This turn was reverted: its answer no longer counts, and its file changes were undone. session_unrevert "
        "restores it until the next prompt."
    )
