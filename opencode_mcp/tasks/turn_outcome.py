"""The outcome of one turn, from that of its session: a later prompt there does not change it."""

from __future__ import annotations

from dataclasses import replace

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import OpenCodeClient

from .queued_turns import Outcome
from .rules import apply_rules
from .session_state import TaskStatus, classify_reply
from .turn_prompts import find_last_prompt, find_turn_prompts, read_messages_back_to


async def outcome_of_turn(opencode: OpenCodeClient, outcome: Outcome, prompt_id: str) -> Outcome:
    """Return the outcome of the turn that a prompt began, from the outcome of its session.

    Raises:
        WorkflowError: the session no longer has the turn.
        OpenCodeError: the session is unknown, or OpenCode cannot be reached.
    """
    session_id, newest = outcome.snapshot.session.id, outcome.snapshot.newest_message
    if outcome.is_own:
        return outcome
    found = await read_messages_back_to(opencode, session_id, prompt_id, outcome.snapshot.recent)
    prompt_ids = find_turn_prompts(found, prompt_id)
    messages = [message for message in found if message.user_message_id in prompt_ids]
    if not messages:
        raise WorkflowError(f"session {session_id} no longer has the turn {prompt_id}", session_id)
    if newest is not None and newest.user_message_id in prompt_ids:
        return outcome
    # A later prompt came: what runs and waits in the session now belongs to that.
    snapshot = replace(
        outcome.snapshot,
        statuses={},
        pending=(),
        newest_message=messages[-1],
        continued_prompt_id=find_last_prompt(prompt_ids, prompt_id),
    )
    status = classify_reply(messages[-1]) if messages[-1].info.role == "assistant" else TaskStatus("running")
    status = await apply_rules(opencode, snapshot, status)
    if not status.finished:
        status = TaskStatus("stopped", error="a later prompt came before this turn had ended")
    return Outcome(snapshot, status, is_own=True)
