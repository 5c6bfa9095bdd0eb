"""MCP tasks on OpenCode: handle -> state -> what the client may see of it.

The tool that a handle names must be enabled here, and the caller must be the one that got the handle. Everything else
is a state: a client that gets an error for a handle polls without end (Claude Code 2.1.332).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from typing import Any

import anyio
import mcp_types as types
from pydantic import ValidationError

from opencode_mcp.exceptions import ContinuesAsTask, OpenCodeError, WorkflowError
from opencode_mcp.opencode.client import CallOptions
from opencode_mcp.opencode.endpoint import ignore_progress
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import AgentRequest, QuestionRequest
from opencode_mcp.server.elicitation import can_elicit, elicitation_params, parse_decision, shows_urls
from opencode_mcp.server.lifespan import Lifespan, RequestContext
from opencode_mcp.server.request_state import principal_of
from opencode_mcp.tasks import Context, Decision
from opencode_mcp.tasks.context import TaskElicitor
from opencode_mcp.tasks.continue_as_task import promise
from opencode_mcp.tasks.mcp_task_handle import TaskHandle, hash_principal, load_group, parse_handle
from opencode_mcp.tasks.mcp_task_state import ReadTurns, read_turns, stop_turns
from opencode_mcp.tasks.replies import check_answers, send_unless_answered, wait_until_gone
from opencode_mcp.tasks.session_state import SessionSnapshot
from opencode_mcp.tasks.wait_and_report import add_session_ids
from opencode_mcp.tools import ToolRegistry, sent_once
from opencode_mcp.tools.results import failure
from opencode_mcp.tools.truncate import abbreviate

from .extension import Task, unknown_task
from .polled_task import PolledTask

MAX_POLLED_TASKS = 500
"""How many tasks one process keeps the state of; that of others is read again."""
STOP_ATTEMPTS = 10
STOP_PAUSE_SECONDS = 3.0
MESSAGE_CHARS = 300
MAX_ERROR_CHARS = 2000

MakeServers = Callable[[RequestContext], Awaitable[Any]]

log = logging.getLogger(__name__)


class OpenCodeTasks:
    """Reads, answers and stops the tasks whose handles tools/call has returned, in any process."""

    def __init__(
        self, registry_for: Callable[[RequestContext], ToolRegistry], make_servers: MakeServers, depth: int
    ) -> None:
        """`registry_for` returns the tools that a request may see, `make_servers` the servers for its caller."""
        self._registry_for = registry_for
        self._make_servers = make_servers
        self._depth = depth

    def hand_out(self, context: RequestContext, continued: ContinuesAsTask) -> dict[str, Any]:
        """Return the result of a call that continues as a task."""
        handle: TaskHandle = continued.handle.for_call(principal_of(context))
        polled = remember(context.lifespan_context, str(handle), PolledTask(handle, continued.notes))
        polled.view = replace(polled.view, activity=continued.activity)
        return self._show(context, str(handle), polled).as_handle()

    async def read(self, context: RequestContext, task_id: str) -> Task:
        """Return a task, as `TaskSource` says."""
        polled = self._find(context, task_id)
        if refusal := self._refuse(context, polled.handle):
            return refusal_of(task_id, polled, refusal)
        async with polled.lock:
            await self._refresh(context, polled)
        return self._show(context, task_id, polled)

    async def update(self, context: RequestContext, task_id: str, responses: Mapping[str, Any]) -> None:
        """Send the answers that decide pending requests; a request whose answer fails stays pending."""
        polled, answered_at = self._find(context, task_id), anyio.current_time()
        if self._refuse(context, polled.handle):
            return
        async with polled.lock:
            asked = dict(polled.asked)  # before it is read: another process may have shown the form
            polled.expire()
            await self._refresh(context, polled)
            for request, snapshot in polled.view.requests:
                seconds = answered_at - asked.get(request.id, -inf)
                decision = decide(polled, request, responses.get(request.id), seconds)
                if decision is not None:
                    await self._reply(context, polled, request, snapshot, decision)
            polled.expire()

    async def cancel(self, context: RequestContext, task_id: str) -> None:
        """Stop the task in the background, or only the wait for it; a task that has ended stays as it ended."""
        polled = self._find(context, task_id)
        if self._refuse(context, polled.handle) or polled.ended:
            return
        tool = self._registry_for(context).task_tools.get(polled.handle.tool)
        if tool is None or tool.owns_tasks:
            await self._start_stopping(context, polled)
        else:
            await polled.end_wait()

    def _find(self, context: RequestContext, task_id: str) -> PolledTask:
        """Return the task of a handle.

        Raises:
            MCPError: it is not a handle of the caller.
        """
        handle = parse_handle(task_id)
        if handle is None or not self._registry_for(context).becomes_task(handle.tool):
            raise unknown_task()
        if handle.principal != hash_principal(principal_of(context), handle.turns[0]):
            raise unknown_task()
        known = context.lifespan_context.polled_tasks.get(task_id)
        return known or remember(context.lifespan_context, task_id, PolledTask(handle))

    def _refuse(self, context: RequestContext, handle: TaskHandle) -> str:
        """Return why this server does not serve the handle's tool, "" if it does."""
        registry = self._registry_for(context)
        if registry.enables(handle.tool):
            return ""
        return registry.explain_unlisted(handle.tool) or f"{handle.tool} is not enabled on this server."

    async def _call_context(self, context: RequestContext, handle: TaskHandle) -> Context:
        # A failed read is not repeated: the client polls again.
        servers = await self._make_servers(context)
        options: CallOptions = {"min_version": engine_of(servers.default).traits.min_version, "retry_seconds": ()}
        servers = servers.with_options(**options)
        registry = self._registry_for(context)
        elicitor = TaskElicitor() if can_elicit(context) else None
        permissions = "report" if handle.tool in registry.task_tools else "ask"
        call_context = Context(
            servers,
            ignore_progress,
            elicitor,
            depth=self._depth,
            default_permissions=permissions,
            redactor=context.lifespan_context.redactor,
        )
        return registry.bounded(call_context)

    async def _refresh(self, context: RequestContext, polled: PolledTask) -> None:
        """Bring the state of a task up to date, or record why that fails."""
        call_context = await self._call_context(context, polled.handle)
        try:
            turns = await polled.refresh(call_context, context.lifespan_context.tasks)
            if turns is not None:
                await update_promises(call_context, turns)
                if turns.was_cancelled and not polled.ended:
                    await self._start_stopping(context, polled)
        except OpenCodeError as error:
            polled.record_error(error)
            if polled.is_unreachable:
                named = add_session_ids([turn.session_id for turn in polled.handle.turns], error)
                message = abbreviate(context.lifespan_context.redactor.redact_error(named), MAX_ERROR_CHARS)
                polled.failure = types.ErrorData(code=types.INTERNAL_ERROR, message=message)
        except Exception:
            # A bug in this package: its message is only logged, as it may contain anything.
            log.exception("tasks/get failed")
            message = "Internal error; see the server's log."
            polled.failure = types.ErrorData(code=types.INTERNAL_ERROR, message=message)

    def _show(self, context: RequestContext, task_id: str, polled: PolledTask) -> Task:
        """Return what the client may see of a task."""
        registry, redactor = self._registry_for(context), context.lifespan_context.redactor
        view, tool = polled.view, polled.handle.tool
        task = Task(
            task_id,
            "failed" if polled.failure is not None else view.status,
            polled.handle.turns[0].created,
            polled.updated,
            polled.poll_ms,
            abbreviate(redactor.redact_text(polled.activity), MESSAGE_CHARS),
            {request.id: elicitation_params(request, redactor, shows_urls(context)) for request, _ in view.requests},
            error=polled.failure,
        )
        if view.value is None:
            return task
        result = registry.task_result(tool, view.value, redactor)
        return replace(task, result=sent_once(result, tool in registry.task_tools, context.protocol_version))

    async def _reply(
        self,
        context: RequestContext,
        polled: PolledTask,
        request: AgentRequest,
        snapshot: SessionSnapshot,
        decision: Decision,
    ) -> None:
        """Send a decision about a request; if that fails, the request stays pending."""
        call_context = await self._call_context(context, polled.handle)
        try:
            async with call_context.for_session(snapshot.session.id) as session_context:
                opencode, directory = session_context.opencode, snapshot.session.directory
                await send_unless_answered(opencode, directory, request, decision)
                await wait_until_gone(opencode, directory, request)
        except OpenCodeError as error:
            log.warning("the reply to %s failed: %s", request.id, context.lifespan_context.redactor.redact_error(error))

    async def _start_stopping(self, context: RequestContext, polled: PolledTask) -> None:
        if polled.stopping:
            return
        polled.stopping = True
        call_context = await self._call_context(context, polled.handle)
        context.lifespan_context.tasks.start_soon(stop_task, call_context, polled)


async def stop_task(context: Context, polled: PolledTask) -> None:
    """Stop the turns of a task until all have ended, however long OpenCode takes to answer."""
    try:
        for _ in range(STOP_ATTEMPTS):
            try:
                turns = await read_turns(context, await load_group(context, polled.handle))
                if not turns.unfinished:
                    return
                await stop_turns(context, turns)
            except OpenCodeError as error:
                log.info("a task could not be stopped yet: %s", error)
                await anyio.sleep(STOP_PAUSE_SECONDS)
    except Exception:  # it would end the task group, and the server with it
        log.exception("a task could not be stopped")
    finally:
        polled.stopping = False
        polled.expire()


def remember(lifespan: Lifespan, task_id: str, polled: PolledTask) -> PolledTask:
    """Keep the state of a task, and forget the oldest of too many."""
    lifespan.polled_tasks[task_id] = polled
    if len(lifespan.polled_tasks) > MAX_POLLED_TASKS:
        del lifespan.polled_tasks[next(iter(lifespan.polled_tasks))]
    return polled


def refusal_of(task_id: str, polled: PolledTask, reason: str) -> Task:
    """Return a task whose result says why it is not shown."""
    now = datetime.now(UTC)
    return Task(task_id, "completed", polled.handle.turns[0].created, now, polled.poll_ms, result=failure(reason))


async def update_promises(context: Context, turns: ReadTurns) -> None:
    """Promise the results of turns that go on, also in a process that did not return the handle."""
    for turn, outcome in turns.read.items():
        directory = None if outcome.status.finished else outcome.snapshot.session.directory
        await promise(context, turn.session_id, directory)


def decide(polled: PolledTask, request: AgentRequest, answer: Any, seconds: float) -> Decision | None:
    """Return the decision in a client's answer; None leaves the request pending.

    A user who makes no decision leaves the request to the model. `seconds` is the time since the form was sent.
    """
    try:
        result = types.ElicitResult.model_validate(answer)
        decision = parse_decision(request, result, seconds)
        if isinstance(decision, Decision):
            if isinstance(request, QuestionRequest) and decision.answers is not None:
                check_answers(request, decision.answers)
            return decision
    except (ValidationError, WorkflowError) as error:
        log.info("an answer to %s is not valid: %s", request.id, type(error).__name__)
        return None
    if result.action != "accept":
        polled.declined[request.id] = decision.note or ""
    return None
