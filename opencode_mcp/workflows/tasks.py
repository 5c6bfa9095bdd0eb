"""Tools on tasks that exist: wait, report, answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from opencode_mcp.opencode.deadline import DEFAULT_LIMIT_SECONDS, time_limit
from opencode_mcp.opencode.models import AgentRequest

from .answer import (
    AnswerPermission,
    AnswerQuestion,
    find_request,
    find_root_session_id,
    send_reply,
    validate_answers,
    wait_until_gone,
)
from .arguments import Arguments
from .context import Context, Decision
from .report import TaskReport, build_report
from .run import RUN_SECONDS, TaskReports
from .several import report_now, wait_and_report
from .start import SentPrompt
from .starting import find_start
from .wait import wait_until_settled


class WaitForTasks(Arguments):
    """Arguments of wait_for_tasks."""

    session_ids: list[str] = Field(min_length=1, max_length=50)
    until: Literal["any", "all"] = Field(
        "any", description=("Return when one (any) or all have finished or need an answer.")
    )
    timeout_seconds: float = Field(RUN_SECONDS, ge=0, le=3600)


class ReportTask(Arguments):
    """Arguments of report_task."""

    session_id: str = Field(pattern="^ses")
    answer_offset: int = Field(0, ge=0, description="Offset into a long answer, in characters.")


async def wait_for_tasks(context: Context, arguments: WaitForTasks) -> TaskReports:
    """Wait for tasks, whoever started them; cancelled, only the wait ends."""
    starts = [
        find_start(context, SentPrompt(session_id=session_id)) for session_id in dict.fromkeys(arguments.session_ids)
    ]
    return TaskReports(tasks=await wait_and_report(context, starts, arguments.until, arguments.timeout_seconds))


async def report_task(context: Context, arguments: ReportTask) -> TaskReport:
    """Report a task now; within 20 s, whatever OpenCode does."""

    async def build() -> TaskReport:
        outcome = await wait_until_settled(context, arguments.session_id, None, deadline=0)
        return await build_report(context, outcome.snapshot, outcome.status, arguments.answer_offset)

    return await report_now(context, arguments.session_id, build)


async def answer_permission(context: Context, arguments: AnswerPermission) -> TaskReport:
    """Answer a permission request, and see that the task goes on; within 20 s, whatever OpenCode does."""
    with time_limit(DEFAULT_LIMIT_SECONDS):
        context, directory, request = await resolve_request(context, arguments)
        decision = Decision(reply=arguments.reply, message=arguments.message)
        return await reply_and_report(context, directory, request, decision)


async def answer_question(context: Context, arguments: AnswerQuestion) -> TaskReport:
    """Answer a question request, and see that the task goes on; within 20 s, whatever OpenCode does."""
    with time_limit(DEFAULT_LIMIT_SECONDS):
        context, directory, request = await resolve_request(context, arguments)
        decision = Decision(answers=validate_answers(request, arguments.answers))
        return await reply_and_report(context, directory, request, decision)


async def resolve_request(
    context: Context, arguments: AnswerPermission | AnswerQuestion
) -> tuple[Context, str, AgentRequest]:
    """Find a request: its server, its directory, and what it asks.

    Raises:
        WorkflowError: nothing waits under this id.
    """
    servers, (directory, request) = await context.servers.find_first(
        lambda opencode: find_request(opencode, arguments.request_id, arguments.session_id)
    )
    return replace(context, servers=servers), directory, request


async def reply_and_report(context: Context, directory: str, request: AgentRequest, decision: Decision) -> TaskReport:
    """Send an answer, see that the request is gone, and report the task that it belongs to."""
    await send_reply(context.opencode, directory, request, decision)
    await wait_until_gone(context.opencode, directory, request)
    task = await find_root_session_id(context.opencode, request.session_id)
    outcome = await wait_until_settled(context, task, None, deadline=0)
    return await build_report(context, outcome.snapshot, outcome.status)
