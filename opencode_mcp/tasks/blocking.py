"""Operations that block until the model is done, such as session_prompt: executed so that they never hang.

request | wait_and_reply on its session -> whichever ends first

While the request runs, the session's steps are sent as progress and its requests go to the user. If the client cannot
ask its user, the call fails with an error that names the pending request; the turn goes on.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NoReturn

import anyio

from opencode_mcp.catalog import Operation
from opencode_mcp.exceptions import OpenCodeError, WorkflowError
from opencode_mcp.opencode import Answer, ServerPool, execute
from opencode_mcp.opencode.concurrency import first_completed
from opencode_mcp.opencode.prepare import PreparedCall

from .context import Context
from .pending_requests import describe_request
from .session_state import SessionSnapshot
from .stop import abandon
from .wait import Outcome, wait_and_reply

RETURNS_TRUE = frozenset({"session_summarize", "session_init"})
"""They return `true`; the others return the last message."""


async def execute_blocking(context: Context, servers: ServerPool, call: PreparedCall) -> Answer:
    """Execute a blocking operation on one server; cancelling it aborts the session.

    Raises:
        InputRequired: the client must ask the user and call again; that call resumes the turn.
        WorkflowError: the session waits for an answer, and the client cannot ask its user.
    """
    session_id: str = call.arguments["sessionID"]
    context = replace(context, servers=servers, default_permissions="ask")
    try:
        if context.resume_state is not None:
            return await resume_blocking(context, call.operation, session_id)
        return await execute_and_watch(context, call, session_id)
    except anyio.get_cancelled_exc_class():
        await abandon(context, session_id)  # dropping the request stops nothing: OpenCode would work on, unseen
        raise


async def execute_and_watch(context: Context, call: PreparedCall, session_id: str) -> Answer:
    """Send the request, and reply to what the session asks until the response is there."""
    return await first_completed(
        partial(execute, context.opencode, call, context.report_progress), partial(until_blocked, context, session_id)
    )


async def until_blocked(context: Context, session_id: str) -> NoReturn:
    """Reply to what the session asks, until a request gets no reply.

    Raises:
        InputRequired, WorkflowError: what `execute_blocking` raises.
    """
    while True:  # the session may be idle for a moment before the request takes effect
        outcome: Outcome | None = None
        with suppress(OpenCodeError):  # the response of the operation says what happened
            outcome = await wait_and_reply(context, session_id, None, float("inf"), {})
        if outcome is not None and outcome.snapshot.pending:
            raise blocked_error(outcome.snapshot, outcome.status.note)
        await anyio.sleep(1)


async def resume_blocking(context: Context, operation: Operation, session_id: str) -> Answer:
    """Resume a turn after an InputRequired call: the request was dropped, so the result is read from the session."""
    outcome = await wait_and_reply(context, session_id, None, float("inf"), {})
    if outcome.snapshot.pending:
        raise blocked_error(outcome.snapshot, outcome.status.note)
    if operation.name in RETURNS_TRUE:
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
        f"Session {session_id} is waiting for a {request.kind} ({request.wants}), "
        f"request {request.id}. The turn continues in OpenCode. Answer with "
        f"answer_{request.kind} (request_id {request.id}, session_id {session_id}), which waits for the result."
        + (f" {note}" if note else ""),
        session_id,
    )
