"""When a call continues as an MCP task: after it was held for some seconds, or when the client's user must be asked.

The turns run on; only the call ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import anyio

from opencode_mcp.exceptions import ContinuesAsTask
from opencode_mcp.opencode.concurrency import gather

from .context import Context
from .mcp_task_handle import Turn, make_handle
from .prompt import SentPrompt
from .queued_turns import Outcome, queued_prompt
from .replies import is_left_to_user
from .report import describe_activity
from .session_state import PICKUP_SECONDS, read_newest_messages

VISIBLE_SECONDS = 0.2
"""How often a session is read until it has the prompt."""


def waits_for_user(context: Context, outcome: Outcome, declined: Mapping[str, str]) -> bool:
    """Whether a turn waits for an answer that the client's user can give; `declined` has the requests they left."""
    pending = outcome.snapshot.pending
    return is_left_to_user(context, outcome.snapshot) and not any(request.id in declined for request in pending)


def classify_turns(
    context: Context,
    outcomes: Sequence[Outcome],
    until: Literal["any", "all"],
    declined: Mapping[str, str],
) -> Literal["working", "input_required", "completed"]:
    """Decide the status of a task by the outcomes of its turns."""
    if until == "any" and any(outcome.status.finished for outcome in outcomes):
        return "completed"
    if any(waits_for_user(context, outcome, declined) for outcome in outcomes):
        return "input_required"
    is_done = any if until == "any" else all
    return "completed" if is_done(outcome.status.state != "running" for outcome in outcomes) else "working"


def describe_outcomes(outcomes: Sequence[Outcome]) -> str:
    """Say what the turns do now, in one line."""
    unfinished = [outcome for outcome in outcomes if not outcome.status.finished]
    activity = (unfinished[0].status.activity or describe_activity(unfinished[0].snapshot)) if unfinished else ""
    if len(outcomes) == 1:
        return outcomes[0].status.note or activity
    return f"{len(outcomes) - len(unfinished)} of {len(outcomes)} ended; {activity}"


async def continue_as_task(
    context: Context, started: Sequence[tuple[SentPrompt, Outcome]], failed: Sequence[str], until: Literal["any", "all"]
) -> None:
    """Leave turns that go on to an MCP task; return if none goes on, or if OpenCode cannot store what names them.

    `failed` are sessions with an error, which the task's result has as well.

    Raises:
        ContinuesAsTask: any process can now read the task by its handle.
    """
    outcomes = [outcome for _, outcome in started]
    if not started or classify_turns(context, outcomes, until, {}) == "completed":
        return
    found: list[Turn | None] = await gather(*(partial(find_turn, context, *pair) for pair in started))
    turns = [turn for turn in found if turn is not None]
    if len(turns) < len(started):
        return
    handle = await make_handle(context, [*turns, *(Turn(session_id, "") for session_id in failed)], until)
    if handle is None:
        return
    for outcome in outcomes:
        if not outcome.status.finished:
            await promise(context, outcome.snapshot.session.id, outcome.snapshot.session.directory)
    notes = {prompt.session_id: prompt.note for prompt, _ in started if prompt.note}
    raise ContinuesAsTask(handle, describe_outcomes(outcomes), notes)


async def promise(context: Context, session_id: str, directory: str | None) -> None:
    """Promise the result of a session, with its directory, to the client; None: the client has got it."""
    async with context.for_session(session_id) as session_context:
        server = session_context.opencode.server
        server.promise(session_id, directory)
        await server.wait_until_published()


async def find_turn(context: Context, prompt: SentPrompt, outcome: Outcome) -> Turn | None:
    """Return the turn that a prompt began, once the session has the prompt; None if it does not get it.

    For a session that is only waited for it is the last turn, of a queued prompt if there is one.
    """
    if prompt.queued_id is not None:
        return Turn(prompt.session_id, prompt.queued_id)
    if prompt.previous_prompt_id is None and outcome.snapshot.queued:
        return Turn(prompt.session_id, queued_prompt(outcome.snapshot.queued[-1]).prompt_id)
    newest = outcome.snapshot.newest_message
    if newest is not None and newest.user_message_id != prompt.previous_prompt_id:
        return Turn(prompt.session_id, newest.user_message_id)
    with anyio.move_on_after(PICKUP_SECONDS if prompt.previous_prompt_id is not None else 0):
        async with context.for_session(prompt.session_id) as session_context:
            while True:
                messages = await read_newest_messages(session_context.opencode, prompt.session_id, 1)
                if messages and messages[-1].user_message_id != prompt.previous_prompt_id:
                    return Turn(prompt.session_id, messages[-1].user_message_id)
                await anyio.sleep(VISIBLE_SECONDS)
    return None
