"""The task tools that answer a request of a task, and then wait for the task.

find the request -> reply -> wait -> report
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio

from opencode_mcp.exceptions import OpenCodeError, WorkflowError
from opencode_mcp.opencode.deadline import DEFAULT_LIMIT_SECONDS, time_limit
from opencode_mcp.opencode.models import AgentRequest

from .context import Context, Decision
from .pending_starts import PendingStart, resumed_prompts
from .prompt import SentPrompt
from .replies import (
    AnswerForm,
    AnswerPermission,
    AnswerQuestion,
    find_request,
    find_task_id,
    send_unless_answered,
    validate_answers,
    wait_until_gone,
)
from .report import TaskReport
from .wait_and_report import wait_and_report

ANSWERED_BEFORE = "Another client had answered"
"""How the note of a reply that was not sent begins; the board looks for it."""


async def answer_permission(context: Context, arguments: AnswerPermission) -> TaskReport:
    """Answer a permission request, then wait for its task and report it."""
    decision = Decision(reply=arguments.reply, message=arguments.message)
    return await answer_and_wait(context, arguments, lambda request: decision)


async def answer_question(context: Context, arguments: AnswerQuestion) -> TaskReport:
    """Answer a question, then wait for its task and report it."""
    message = arguments.message if isinstance(arguments, AnswerForm) else ""
    return await answer_and_wait(
        context, arguments, lambda request: Decision(answers=validate_answers(request, arguments), message=message)
    )


@dataclass(frozen=True, slots=True)
class FoundRequest:
    """A pending request, the directory that lists it, the session of its task, and the context of its server."""

    request: AgentRequest
    directory: str
    task_id: str
    context: Context


async def answer_and_wait(
    context: Context, arguments: AnswerPermission | AnswerQuestion, decide: Callable[[AgentRequest], Decision]
) -> TaskReport:
    """Reply within 20 s, then wait for the task until `timeout_seconds` have passed since the call began.

    Cancelling the wait does not stop the task. The call that resumes an `InputRequired` call sends no reply, as that
    call has sent it.

    Raises:
        WorkflowError: no such request is pending; or a failure after the reply, whose message says that it was sent.
        InputRequired: the task asks again, and the client must ask its user.
        OpenCodeError: what failed before the reply.
    """
    began = anyio.current_time()
    if prompts := resumed_prompts(context):
        return await wait_for_task(context, prompts[0], arguments.timeout_seconds, began)
    done, task_id = "", arguments.session_id
    try:
        with time_limit(DEFAULT_LIMIT_SECONDS):
            found = await resolve_request(context, arguments)
            decision = decide(found.request)
            sent = await send_unless_answered(found.context.opencode, found.directory, found.request, decision)
            context.servers.last_reports.pop(found.task_id, None)  # it shows the request as pending
            name = found.request.id
            done = f"The reply to {name} was sent." if sent else f"{ANSWERED_BEFORE} {name} before."
            task_id = found.task_id
            if sent:
                await wait_until_gone(found.context.opencode, found.directory, found.request)
        prompt = SentPrompt(session_id=found.task_id, note=None if sent else done)
        return await wait_for_task(found.context, prompt, arguments.timeout_seconds, began)
    except OpenCodeError as error:
        if not done:
            raise
        raise WorkflowError(f"{done} {error}", task_id) from error


async def resolve_request(context: Context, arguments: AnswerPermission | AnswerQuestion) -> FoundRequest:
    """Find a request: its server, its directory, what it asks, and for which task.

    Raises:
        WorkflowError: no pending request has this id.
    """
    session_id = arguments.session_id or reported_session_id(context, arguments.request_id)
    servers, (directory, request) = await context.servers.find_first(
        lambda opencode: find_request(opencode, arguments.request_id, session_id)
    )
    task_id = await find_task_id(servers.default, request, session_id)
    return FoundRequest(request, directory, task_id, replace(context, servers=servers))


def reported_session_id(context: Context, request_id: str) -> str | None:
    """Return the session in whose last report a request is pending, or None."""
    for session_id, (_, report) in context.servers.last_reports.items():
        if any(request.id == request_id for request in report.pending):
            return session_id
    return None


async def wait_for_task(context: Context, prompt: SentPrompt, seconds: float, began: float) -> TaskReport:
    """Wait for a task until `seconds` after `began`, and report it; the report may take until 20 s after `began`."""
    passed = anyio.current_time() - began
    start = PendingStart.from_prompt(prompt)
    [report] = await wait_and_report(
        context, [start], "all", max(0.0, seconds - passed), report_seconds=max(0.0, DEFAULT_LIMIT_SECONDS - passed)
    )
    return report
