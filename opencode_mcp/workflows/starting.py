"""Tasks that are being started, several at once. A start goes on when the call that began it has returned.

begun -> its session is there -> over: the prompt was sent, or it failed and nothing of it is left
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from opencode_mcp.exceptions import NotUndone, OpenCodeError, StartFailed, UnsupportedServer, WorkflowError
from opencode_mcp.opencode.background import background_task_group
from opencode_mcp.opencode.events import Event, event_session_id
from opencode_mcp.opencode.models import Session

from .context import Context
from .report import Changes, NextCall, TaskReport
from .start import StartTask, Turn, start
from .stop import abandon
from .wait import ToldError

AT_ONCE = 8
"""So many tasks are started at a time: a worktree costs OpenCode 0.3 to 2.5 s of CPU (1.18.33)."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Start:
    """A task from its beginning until its prompt was sent.

    `session_id` and `directory` are set as soon as its session is there (`named` says so), `turn` or `failure` when
    it is `over`. `caller_returned`: a call reported it as still starting, so a failure has no caller to raise in.
    `reported_error`: the session.error event since.
    """

    session_id: str | None = None
    request_id: str | None = None
    directory: str = ""
    turn: Turn | None = None
    failure: Exception | None = None
    told: bool = False
    error: ToldError | None = None
    named: anyio.Event = field(default_factory=anyio.Event)
    over: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    @classmethod
    def sent(cls, turn: Turn) -> Start:
        """Return the start of a task whose prompt was sent, by whichever call."""
        start = cls(session_id=turn.session_id, turn=turn)
        start.named.set()
        start.over.set()
        return start

    def hear(self, event: Event) -> None:
        """Record a session.error event: it may arrive before anything waits for the turn."""
        if (
            event["type"] == "session.error"
            and self.session_id is not None
            and event_session_id(event) == self.session_id
        ):
            self.error = ToldError.of(event)

    async def stop(self, context: Context) -> TaskReport | None:
        """Give the task up before its prompt is sent, and report that; None when it was sent meanwhile."""
        self.told = True
        self.scope.cancel()
        await self.over.wait()
        if self.turn is not None:
            return None
        if self.session_id is not None and context.servers.pending_starts.get(self.session_id) is self:
            del context.servers.pending_starts[self.session_id]
        return unstarted(context, self).model_copy(update={"state": "stopped", "error": "stopped before it started"})

    async def run(self, context: Context, task: StartTask, limiter: anyio.CapacityLimiter) -> None:
        """Start the task; cancelled by its scope, it leaves nothing behind, a turn that has begun included."""

        def name(session: Session) -> None:
            self.session_id, self.directory = session.id, session.directory
            before = context.servers.pending_starts.get(session.id)
            if before is None or before.over.is_set():
                context.servers.pending_starts[session.id] = self
            self.named.set()

        try:
            with self.scope, context.opencode.events.subscribe(self.hear):
                async with limiter:
                    self.turn = await start(context, task, name)
            if self.turn is not None:
                self.session_id = self.turn.session_id
            if self.turn is None:
                self.failure = WorkflowError("the task was abandoned before its prompt was sent")
            elif self.scope.cancel_called:
                await abandon(context, self.turn.session_id, self.turn.after)
        except Exception as error:  # the calls that wait for it raise it
            self.failure = error
            if self.told:
                log.warning("task %s could not be started: %s", self.session_id, error)
        finally:
            if self.session_id is not None and not (self.told and self.failure is not None):
                if context.servers.pending_starts.get(self.session_id) is self:
                    del context.servers.pending_starts[self.session_id]
            self.failure = self.failure or (None if self.turn else WorkflowError("this server shut down"))
            self.named.set()
            self.over.set()


@asynccontextmanager
async def begun(context: Context, tasks: Sequence[StartTask]) -> AsyncGenerator[list[Start]]:
    """Begin to start tasks, all at once; when the block is cancelled or fails, they are stopped.

    The second half of a call that asked the user goes on with the tasks that the first has started.
    """
    starts = [known(context, turn) for turn in turns_before(context)]

    def hear(event: Event) -> None:
        for one in starts:
            one.hear(event)

    # The stream of events opens while the tasks are started: nobody has to wait for it then.
    with context.opencode.events.subscribe(hear):
        async with outliving(context) as group:
            if context.resumed is None:
                limiter = anyio.CapacityLimiter(AT_ONCE)
                starts = [Start(request_id=task.request_id) for task in tasks]
                for one, task in zip(starts, tasks, strict=True):
                    group.start_soon(one.run, context, task, limiter)
            try:
                yield starts
            except (anyio.get_cancelled_exc_class(), StartFailed, UnsupportedServer):
                await abandon_all(context, starts)
                raise


def turns_before(context: Context) -> list[Turn]:
    """Return the turns of the call that asked the user."""
    turns: dict[str, str | None] = {} if context.resumed is None else context.resumed["turns"]
    return [Turn(session_id=session_id, after=after) for session_id, after in turns.items()]


def known(context: Context, turn: Turn) -> Start:
    """Return the start of a task by its session: one that still goes on, or that of a prompt that was sent."""
    start: Start | None = context.servers.pending_starts.get(turn.session_id)
    if start is None:
        return Start.sent(turn)
    start.told = True
    return start


@asynccontextmanager
async def outliving(context: Context) -> AsyncGenerator[anyio.abc.TaskGroup]:
    """Provide the task group for what goes on after the call; without one it ends with the call."""
    if context.servers.tasks is not None:
        yield context.servers.tasks
    else:
        async with background_task_group() as tasks:
            yield tasks


async def abandon_all(context: Context, starts: Sequence[Start]) -> None:
    """Stop tasks whose caller has gone, those that are being started included."""
    with anyio.CancelScope(shield=True):
        async with anyio.create_task_group() as group:
            for one in starts:
                group.start_soon(abandon_one, context, one)


async def abandon_one(context: Context, start: Start) -> None:
    """Stop a task, or keep it from being started."""
    if not start.over.is_set():
        start.scope.cancel()
        await start.over.wait()
    elif start.turn is not None:
        await abandon(context, start.turn.session_id, start.turn.after)


def raised_by(failure: Exception, number: int, among: int) -> Exception:
    """Return what the call raises for the task `number` that could not be started.

    A refusal of the server concerns every task, and is raised as it is.
    """
    if among == 1 or isinstance(failure, UnsupportedServer) or not isinstance(failure, OpenCodeError):
        return failure
    return StartFailed(f"task {number} failed to start, so the others were stopped: {failure}")


def unstarted(context: Context, start: Start) -> TaskReport:
    """Report a task that is being started, or that was not: no model was asked yet."""
    failure: str | None = None
    if start.failure is not None or start.session_id is None:
        left = "" if isinstance(start.failure, NotUndone) else ", and nothing was left behind"
        failure = f"the task was not started{left}: {start.failure or not_started(context)}"
    else:
        start.told = True
    session_id = start.session_id or ""
    return TaskReport(
        session_id=session_id,
        server=context.opencode.server.name,
        directory=start.directory,
        state="starting" if failure is None else "failed",
        answer="",
        answer_chars=0,
        error=failure,
        pending=[],
        activity="nothing" if failure else "its prompt is not sent yet",
        todos=[],
        changes=Changes(files=0, additions=0, deletions=0, paths=[]),
        cost=0,
        tokens=0,
        turn_cost=0,
        turn_tokens=0,
        family_cost=0,
        family_tokens=0,
        model=None,
        failed_calls=[],
        elapsed_seconds=0,
        next=None if failure else NextCall(tool="wait_for_tasks", arguments={"session_ids": [session_id]}),
    )


def not_started(context: Context) -> str:
    """Say that the time was too short for a task to begin."""
    return f"{context.opencode.server.describe()} created no session within the time limit"
