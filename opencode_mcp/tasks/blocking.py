"""The operations that block until the model is done (session_prompt and its kind), so that they never hang.

While one runs its session is watched: what it does is reported, what it asks is put to the user.
Where nobody can be asked the call ends with an error that says what waits; the turn goes on.
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
from .report import describe_request
from .session_state import SessionSnapshot
from .stop import abandon
from .wait import Outcome, wait_and_reply

RETURNS_TRUE = frozenset({"session_summarize", "session_init"})
"""Their answer is `true`; that of the others is the last message."""


async def execute_blocking(context: Context, servers: ServerPool, call: PreparedCall) -> Answer:
    """Execute a blocking operation on one server; cancelling it aborts the session.

    Raises:
        InputRequired: the user is to be asked by the client; called again, the turn is gone on with.
        WorkflowError: the session waits for somebody, and nobody can be asked.
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
    """Send the request, and attend to the session until it is answered."""
    return await first_completed(
        partial(execute, context.opencode, call, context.report_progress), partial(until_blocked, context, session_id)
    )


async def until_blocked(context: Context, session_id: str) -> NoReturn:
    """Reply to what the session asks for, until nobody can reply.

    Raises:
        InputRequired, WorkflowError: what `execute_blocking` raises.
    """
    while True:  # the session may be idle for a moment before the request takes effect
        outcome: Outcome | None = None
        with suppress(OpenCodeError):  # the answer of the operation says what happened
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
    """Say what a session waits for, and how to go on; `note` is why nobody has answered."""
    request = describe_request(snapshot.pending[0])
    session_id = snapshot.session.id
    return WorkflowError(
        f"Session {session_id} is waiting for a {request.kind} ({request.wants}), "
        f"request {request.id}. The turn continues in OpenCode. Answer with "
        f"answer_{request.kind} (request_id {request.id}, session_id {session_id}), "
        f"then call wait_for_tasks (session_ids [{session_id!r}]) for the result." + (f" {note}" if note else ""),
        session_id,
    )
