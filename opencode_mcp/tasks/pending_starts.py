"""Tasks that are being started, several at once. A start goes on after the call that made it has returned.

start -> session known -> finished: the prompt was sent, or the start failed and was undone
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio

from opencode_mcp.exceptions import (
    NotUndone,
    OpenCodeError,
    SetupFailed,
    StartFailed,
    UnsupportedServer,
    WorkflowError,
)
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.opencode.events import Event, event_session_id
from opencode_mcp.opencode.models import Session

from .context import Context
from .next_call import NextCall
from .notify import notify_of, notify_of_failed_start
from .options import StartTask
from .prompt import SentPrompt
from .report import NO_ACTIVITY, TaskReport
from .session_watch import ReportedError
from .start import submit_task
from .stop import abandon

MAX_CONCURRENT_STARTS = 8
"""How many tasks start at a time: a worktree costs OpenCode 0.3 to 2.5 s of CPU (1.18.33)."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class PendingStart:
    """The start of a task, until its prompt is sent.

    `session_id` and `directory` are set as soon as its session exists (then `session_known` is set), `prompt` or
    `failure` when it has `finished`. `caller_returned`: a call reported it as still starting, so no caller can raise a
    failure. `reported_error`: the last session.error event. `activity`: what the start does now.
    """

    session_id: str | None = None
    request_id: str | None = None
    directory: str = ""
    prompt: SentPrompt | None = None
    failure: Exception | None = None
    caller_returned: bool = False
    reported_error: ReportedError | None = None
    activity: str = "its prompt is not sent yet"
    session_known: anyio.Event = field(default_factory=anyio.Event)
    finished: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    @property
    def is_reported(self) -> bool:
        """Whether a failure is reported, not raised."""
        return self.caller_returned or isinstance(self.failure, SetupFailed)

    @classmethod
    def from_prompt(cls, prompt: SentPrompt) -> PendingStart:
        """Return the finished start of a task whose prompt was sent, by any call."""
        start = cls(session_id=prompt.session_id, prompt=prompt)
        start.session_known.set()
        start.finished.set()
        return start

    def on_event(self, event: Event) -> None:
        """Record a session.error event: it may arrive before anything waits for the turn."""
        if (
            event["type"] == "session.error"
            and self.session_id is not None
            and event_session_id(event) == self.session_id
        ):
            self.reported_error = ReportedError.from_event(event)

    async def stop(self, context: Context) -> TaskReport | None:
        """Cancel the start before the prompt is sent, and report that; None when it was sent meanwhile."""
        self.caller_returned = True
        self.scope.cancel()
        await self.finished.wait()
        if self.prompt is not None:
            return None
        if self.session_id is not None and context.servers.pending_starts.get(self.session_id) is self:
            del context.servers.pending_starts[self.session_id]
        return report_unstarted(context, self).model_copy(
            update={"state": "stopped", "error": "stopped before it started"}
        )

    async def run(self, context: Context, task: StartTask, limiter: anyio.CapacityLimiter) -> None:
        """Start the task; cancelled by its scope, it removes what it made and stops a turn that has started."""

        async def report_progress(message: str) -> None:
            self.activity = message
            await context.report_progress(message)

        def on_session(session: Session) -> None:
            slot.close()
            self.session_id, self.directory = session.id, session.directory
            previous = context.servers.pending_starts.get(session.id)
            if previous is None or previous.finished.is_set():
                context.servers.pending_starts[session.id] = self
            self.session_known.set()

        starting = replace(context, report_progress=report_progress)
        try:
            with self.scope, context.opencode.events.subscribe(self.on_event), ExitStack() as slot:
                await limiter.acquire_on_behalf_of(self)
                slot.callback(limiter.release_on_behalf_of, self)
                self.prompt = await submit_task(starting, task, on_session)
            if self.prompt is not None:
                self.session_id = self.prompt.session_id
                notify_of(context, self.prompt, self.reported_error)
            if self.prompt is None:
                self.failure = WorkflowError("the task was abandoned before its prompt was sent")
            elif self.scope.cancel_called:
                await abandon_prompt(context, self.prompt)
        except Exception as error:  # raised by the calls that wait for it
            self.failure = error
            if self.caller_returned:
                log.warning("task %s could not be started: %s", self.session_id, error)
            if self.is_reported:
                notify_of_failed_start(context, self.session_id, self.directory, error)
        finally:
            if self.session_id is not None and not (self.is_reported and self.failure is not None):
                if context.servers.pending_starts.get(self.session_id) is self:
                    del context.servers.pending_starts[self.session_id]
            self.failure = self.failure or (None if self.prompt else WorkflowError("this server shut down"))
            self.session_known.set()
            self.finished.set()


@asynccontextmanager
async def started_tasks(context: Context, tasks: Sequence[StartTask]) -> AsyncGenerator[list[PendingStart]]:
    """Start tasks concurrently and provide their starts at once; if the block is cancelled or fails, stop the tasks.

    A call that resumes an `InputRequired` call continues with the tasks that the first one started.
    """
    starts = [find_start(context, turn) for turn in resumed_prompts(context)]

    def on_event(event: Event) -> None:
        for start in starts:
            start.on_event(event)

    # The event stream opens while the tasks are started, so that the wait finds it ready.
    with context.opencode.events.subscribe(on_event):
        async with surviving_task_group(context) as group:
            if context.resume_state is None:
                limiter = anyio.CapacityLimiter(MAX_CONCURRENT_STARTS)
                starts = [PendingStart(request_id=task.request_id) for task in tasks]
                for start, task in zip(starts, tasks, strict=True):
                    group.start_soon(start.run, context, task, limiter)
            try:
                yield starts
            except (anyio.get_cancelled_exc_class(), StartFailed, UnsupportedServer):
                await abandon_all(context, starts)
                raise


def resumed_prompts(context: Context) -> list[SentPrompt]:
    """Return the prompts of the `InputRequired` call that this one resumes; none if it resumes no call."""
    state = context.resume_state or {}
    queued_ids = state.get("queued", {})
    return [
        SentPrompt(session_id=session_id, previous_prompt_id=previous_prompt_id, queued_id=queued_ids.get(session_id))
        for session_id, previous_prompt_id in state.get("turns", {}).items()
    ]


def find_start(context: Context, prompt: SentPrompt) -> PendingStart:
    """Return the start of a task by its session: one that still goes on, or that of a prompt that was sent."""
    start: PendingStart | None = context.servers.pending_starts.get(prompt.session_id)
    if start is None:
        return PendingStart.from_prompt(prompt)
    start.caller_returned = True
    return start


@asynccontextmanager
async def surviving_task_group(context: Context) -> AsyncGenerator[anyio.abc.TaskGroup]:
    """Provide the server's task group, whose tasks outlive the call; without one, a group that ends with the call."""
    if context.servers.tasks is not None:
        yield context.servers.tasks
    else:
        async with background_task_group() as tasks:
            yield tasks


async def abandon_all(context: Context, starts: Sequence[PendingStart]) -> None:
    """Stop tasks whose caller has gone, those that are being started included."""
    with anyio.CancelScope(shield=True):
        async with anyio.create_task_group() as group:
            for start in starts:
                group.start_soon(abandon_start, context, start)


async def abandon_start(context: Context, start: PendingStart) -> None:
    """Stop a task, or cancel its start."""
    if not start.finished.is_set():
        start.scope.cancel()
        await start.finished.wait()
    elif start.prompt is not None:
        await abandon_prompt(context, start.prompt)


async def abandon_prompt(context: Context, prompt: SentPrompt) -> None:
    """Stop the turn of a prompt, or drop the prompt if it is queued."""
    await abandon(context, prompt.session_id, prompt.previous_prompt_id, prompt.queued_id)


def start_error(failure: Exception, number: int, task_count: int) -> Exception:
    """Return what the call raises for the task `number` that could not be started.

    A refusal of the server concerns every task, and is raised as it is.
    """
    if task_count == 1 or isinstance(failure, UnsupportedServer) or not isinstance(failure, OpenCodeError):
        return failure
    return StartFailed(f"task {number} failed to start, so the others were stopped: {failure}")


def report_unstarted(context: Context, start: PendingStart) -> TaskReport:
    """Report a task that is being started, or whose start failed: no model was called yet."""
    failure: str | None = None
    if start.failure is not None or start.session_id is None:
        leftover_note = "" if isinstance(start.failure, NotUndone | SetupFailed) else ", and nothing was left behind"
        failure = f"the task was not started{leftover_note}: {start.failure or no_session_message(context)}"
    else:
        start.caller_returned = True
    session_id = start.session_id or ""
    return TaskReport(
        session_id=session_id,
        server=context.opencode.server.name,
        directory=start.directory,
        state="starting" if failure is None else "failed",
        error=failure,
        activity=NO_ACTIVITY if failure else start.activity,
        next=None if failure else NextCall(tool="wait_for_tasks", arguments={"session_ids": [session_id]}),
    )


def no_session_message(context: Context) -> str:
    """Say that the time limit was too short for a task to start."""
    return f"{context.opencode.server.describe()} created no session within the time limit"
