"""Operations that block until the model is done, such as session_prompt: executed so that they never hang.

request | wait_and_reply on its session | the time until it continues as an MCP task -> whichever ends first

While the request runs, the session's steps are sent as progress and its requests go to the user. If the client cannot
ask its user, the call fails with an error that names the pending request; the turn goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NoReturn

import anyio

from opencode_mcp.catalog import Operation
from opencode_mcp.exceptions import (
    APIError,
    ContinuesAsTask,
    InvalidArguments,
    OpenCodeError,
    TransportError,
    WorkflowError,
)
from opencode_mcp.opencode import Answer, ServerPool, execute
from opencode_mcp.opencode.concurrency import first_completed
from opencode_mcp.opencode.prepare import PreparedCall
from opencode_mcp.redaction import to_one_line

from .context import Context
from .continue_as_task import VISIBLE_SECONDS, promise
from .mcp_task_handle import Turn, make_handle
from .pending_requests import describe_request
from .queued_turns import Outcome
from .replies import is_left_to_user
from .session_state import SessionSnapshot, read_newest_messages, read_session
from .stop import abandon
from .wait import wait_and_reply

RETURNS_TRUE = frozenset({"session_summarize", "session_init"})
"""They return `true`; the others return the last message."""


async def execute_blocking(context: Context, servers: ServerPool, call: PreparedCall) -> Answer:
    """Execute a blocking operation on one server; cancelling it aborts the session.

    Raises:
        InputRequired: the client must ask the user and call again; that call resumes the turn.
        ContinuesAsTask: the turn runs on, and the client has MCP Tasks.
        WorkflowError: the session waits for an answer, and the client cannot ask its user.
    """
    session_id: str = call.arguments["sessionID"]
    context = replace(context, servers=servers, default_permissions="ask").holding(call.operation.name)
    try:
        if context.resume_state is not None:
            return await resume_blocking(context, call.operation, session_id)
        return await execute_and_watch(context, call, session_id)
    except anyio.get_cancelled_exc_class():
        await abandon(context, session_id)  # dropping the request stops nothing: OpenCode would work on, unseen
        raise


async def execute_and_watch(context: Context, call: PreparedCall, session_id: str) -> Answer:
    """Send the request, and reply to what the session asks until the response is there."""
    calls = [partial(execute, context.opencode, call, context.report_progress)]
    if context.hold_seconds is None:
        return await first_completed(*calls, partial(until_blocked, context, session_id))
    previous = await read_newest_prompt_id(context, session_id)
    continue_as_task = partial(until_continued, context, session_id, previous)
    return await first_completed(
        *calls,
        partial(continue_as_task, context.hold_seconds),
        partial(until_blocked, context, session_id, partial(continue_as_task, 0)),
    )


async def read_newest_prompt_id(context: Context, session_id: str) -> str:
    """Return the id of a session's newest user message, "" if there is none."""
    try:
        newest = await read_newest_messages(context.opencode, session_id, 1)
    except (APIError, InvalidArguments) as error:
        if isinstance(error, APIError) and error.status != 404:
            raise
        return ""  # the operation itself says that the session is unknown, or not allowed
    return newest[-1].user_message_id if newest else ""


async def until_continued(context: Context, session_id: str, previous_prompt_id: str, seconds: float) -> NoReturn:
    """Wait some seconds, and until the session has the prompt; then leave the turn to an MCP task.

    Dropping the request stops nothing in OpenCode (1.18.33).

    Raises:
        ContinuesAsTask: always.
    """
    await anyio.sleep(seconds)
    while True:
        with suppress(TransportError):
            message_id = await read_newest_prompt_id(context, session_id)
            if message_id not in {previous_prompt_id, ""}:
                handle = await make_handle(context, [Turn(session_id, message_id)])
                if handle is not None:
                    session = await read_session(context.opencode, session_id)
                    await promise(context, session_id, session.directory)
                    raise ContinuesAsTask(handle, context.held_tool, {})
        await anyio.sleep(VISIBLE_SECONDS)


async def until_blocked(
    context: Context, session_id: str, continue_as_task: Callable[[], Awaitable[NoReturn]] | None = None
) -> NoReturn:
    """Reply to what the session asks, until a request gets no reply.

    Raises:
        ContinuesAsTask: the client's user is asked through a task.
        InputRequired, WorkflowError: what `execute_blocking` raises.
    """
    while True:  # the session may be idle for a moment before the request takes effect
        outcome: Outcome | None = None
        with suppress(OpenCodeError):  # the response of the operation says what happened
            outcome = await wait_and_reply(context, session_id, None, float("inf"), {})
        if outcome is not None and outcome.snapshot.pending:
            if continue_as_task is not None and is_left_to_user(context, outcome.snapshot):
                await continue_as_task()
            raise blocked_error(outcome.snapshot, outcome.status.note)
        await anyio.sleep(1)


async def resume_blocking(context: Context, operation: Operation, session_id: str) -> Answer:
    """Resume a turn after an InputRequired call: the request was dropped, so the result is read from the session."""
    outcome = await wait_and_reply(context, session_id, None, float("inf"), {})
    if outcome.snapshot.pending:
        raise blocked_error(outcome.snapshot, outcome.status.note)
    return await read_answer(context, operation.name, outcome)


async def read_answer(context: Context, operation_name: str, outcome: Outcome) -> Answer:
    """Return the response of a blocking operation, read from the session after the turn has ended."""
    session_id = outcome.snapshot.session.id
    if operation_name in RETURNS_TRUE:
        return Answer(outcome.status.state == "completed")
    assert outcome.snapshot.newest_message is not None
    message_id = outcome.snapshot.newest_message.info.id
    message = await context.opencode.call("session_message", sessionID=session_id, messageID=message_id)
    failed = outcome.status.state == "failed" or outcome.snapshot.newest_message.info.error is not None
    return Answer(message, failed=failed)


def blocked_error(snapshot: SessionSnapshot, note: str | None) -> WorkflowError:
    """Say what a session waits for, and how to go on; `note` says why there is no answer."""
    session_id = snapshot.session.id
    request = describe_request(snapshot.pending[0], session_id)
    return WorkflowError(
        f"Session {session_id} is waiting for a {request.kind} ({to_one_line(request.wants)}), "
        f"request {request.id}. The turn continues in OpenCode. Answer with "
        f"answer_{request.kind} (request_id {request.id}, session_id {session_id}), which waits for the result."
        + (f" {note}" if note else ""),
        session_id,
    )
