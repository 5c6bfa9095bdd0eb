"""Wait for tasks and report them within the caller's time limit, even when OpenCode does not answer.

started? -> wait_and_reply -> report; at the limit: the last report with its age, or an error that names the session
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import anyio

from opencode_mcp.exceptions import (
    InputRequired,
    LimitReached,
    OpenCodeError,
    ServerStartError,
    TransportError,
    WorkflowError,
)
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.deadline import DEFAULT_LIMIT_SECONDS, START_GRACE_SECONDS, time_limit

from .context import Context
from .continue_as_task import continue_as_task
from .pending_starts import PendingStart, no_session_message, report_unstarted, start_error
from .prompt import SentPrompt
from .queued_turns import Outcome
from .report import TaskReport, build_report
from .session_state import ENDED_STATES
from .session_watch import ReportedError
from .wait import wait_and_reply, wait_until_settled

START_SECONDS = 40.0
"""How long tasks may take to start where the call returns once they run: OpenCode itself may have to be started."""


@dataclass
class TasksWait:
    """One wait for several tasks; without `until_end` it ends for a task as soon as that runs.

    The wait ends at `deadline`; a task without a session at `start_deadline` is cancelled.
    An error of one task ends the wait; with `separate_errors` it is kept, and the wait goes on for the others.
    `outcomes`, `unanswered` and `errors` have the task's index as key; `previous_prompt_ids` its session id.
    """

    context: Context
    starts: Sequence[PendingStart]
    until: Literal["any", "all"]
    deadline: float
    start_deadline: float
    until_end: bool = True
    separate_errors: bool = False
    outcomes: dict[int, Outcome] = field(default_factory=dict[int, Outcome])
    unanswered: dict[int, OpenCodeError] = field(default_factory=dict[int, OpenCodeError])
    errors: dict[int, OpenCodeError] = field(default_factory=dict[int, OpenCodeError])
    failures: list[Exception] = field(default_factory=list[Exception])
    previous_prompt_ids: dict[str, str | None] = field(default_factory=dict[str, "str | None"])

    @property
    def queued_ids(self) -> dict[str, str]:
        """The ids of the prompts that were queued, by session."""
        prompts = [start.prompt for start in self.starts if start.prompt is not None]
        return {prompt.session_id: prompt.queued_id for prompt in prompts if prompt.queued_id is not None}

    @property
    def sessions(self) -> list[str]:
        """The ids of the tasks' sessions that exist so far."""
        return [start.session_id for start in self.starts if start.session_id is not None]

    async def run(self) -> None:
        """Wait for all tasks, or for one.

        Raises:
            InputRequired: the client must ask its user.
            OpenCodeError: a task cannot be started, a session is unknown, or OpenCode cannot be reached.
        """
        async with anyio.create_task_group() as group:
            for index, start in enumerate(self.starts):
                group.start_soon(self._wait_for_task, index, start, group.cancel_scope)
        if self.failures:
            failure = self.failures[0]
            if isinstance(failure, InputRequired):  # its state must name every task
                await gather(*(partial(self._wait_until_started, start) for start in self.starts))
            raise failure
        unread = [
            index
            for index, start in enumerate(self.starts)
            if start.prompt and index not in {*self.outcomes, *self.unanswered, *self.errors}
        ]
        await gather(*(partial(self._read_outcome, index) for index in unread))

    async def _wait_for_task(self, index: int, start: PendingStart, group_scope: anyio.CancelScope) -> None:
        """Wait for one task; if its end ends the whole wait, cancel `group_scope`."""
        await self._wait_until_started(start)
        if start.failure is not None and not start.is_reported:
            self.failures.append(start_error(start.failure, index + 1, len(self.starts)))
        elif start.prompt is not None:
            await self._wait_and_reply(index, start)
        outcome = self.outcomes.get(index)
        if self.failures or (self.until == "any" and outcome and outcome.status.state != "running"):
            group_scope.cancel()

    async def _wait_until_started(self, start: PendingStart) -> None:
        """Wait until a task is started or the time is up; a task without a session by then is cancelled."""
        with anyio.CancelScope(deadline=self.start_deadline + START_GRACE_SECONDS):
            await start.finished.wait()
        if start.session_id is None and not start.finished.is_set():
            start.scope.cancel()
        if start.prompt is not None:
            self.previous_prompt_ids[start.prompt.session_id] = start.prompt.previous_prompt_id
        elif start.session_id is not None:
            self.previous_prompt_ids[start.session_id] = None

    async def _wait_and_reply(self, index: int, start: PendingStart) -> None:
        assert start.prompt is not None
        prompt = start.prompt
        try:
            if self.until_end:
                state = {"turns": self.previous_prompt_ids, "queued": self.queued_ids}
                self.outcomes[index] = await wait_and_reply(
                    self.context,
                    prompt.session_id,
                    prompt.previous_prompt_id,
                    self.deadline,
                    state,
                    reported_error=start.reported_error,
                    prompt_id=prompt.queued_id,
                    session=prompt.session,
                )
            else:
                self.outcomes[index] = await self._wait_until_running(prompt, start.reported_error)
        except (TransportError, ServerStartError) as error:
            if anyio.current_time() >= self.deadline:
                self.unanswered[index] = error
            elif self.separate_errors:
                self.errors[index] = error
            else:
                self.failures.append(add_session_ids(self.sessions, error))
        except InputRequired as required:
            self.failures.append(required)
        except OpenCodeError as error:
            if self.separate_errors:
                self.errors[index] = error
            else:
                self.failures.append(error)

    async def _wait_until_running(self, prompt: SentPrompt, reported_error: ReportedError | None) -> Outcome:
        """Wait until an accepted prompt runs or has ended: the 204 says neither.

        Raises:
            WorkflowError: it never ran.
        """
        async with self.context.for_session(prompt.session_id) as session_context:
            outcome = await wait_until_settled(
                session_context,
                prompt.session_id,
                prompt.previous_prompt_id,
                0,
                reported_error=reported_error,
                prompt_id=prompt.queued_id,
            )
        if outcome.status.state == "failed" and outcome.status.stalled_reason is not None:
            raise WorkflowError(f"the task did not run: {outcome.status.error}", prompt.session_id)
        return outcome

    async def _read_outcome(self, index: int) -> None:
        start = self.starts[index]
        prompt = start.prompt
        assert prompt is not None
        try:
            async with self.context.for_session(prompt.session_id) as session_context:
                self.outcomes[index] = await wait_until_settled(
                    session_context,
                    prompt.session_id,
                    prompt.previous_prompt_id,
                    0,
                    reported_error=start.reported_error,
                    prompt_id=prompt.queued_id,
                )
        except (TransportError, ServerStartError) as error:
            self.unanswered[index] = error
        except OpenCodeError as error:
            if not self.separate_errors:
                raise
            self.errors[index] = error

    async def continue_as_task(self) -> None:
        """Leave tasks that go on to an MCP task, if the client has them, all tasks have started and OpenCode answers.

        Raises:
            ContinuesAsTask: the call ends, and the tasks run on.
        """
        started = [
            (start.prompt, self.outcomes[index]) for index, start in enumerate(self.starts) if index in self.outcomes
        ]
        prompted = [(prompt, outcome) for prompt, outcome in started if prompt is not None]
        if self.context.hold_seconds is not None and len(prompted) + len(self.errors) == len(self.starts):
            failed = [self.starts[index].session_id or "" for index in sorted(self.errors)]
            with suppress(TransportError, ServerStartError):  # the reports say so, and name the sessions
                await continue_as_task(self.context, prompted, failed, self.until)

    async def build_reports(self) -> list[TaskReport]:
        """Report the tasks in their order, without those that have an error.

        Raises:
            OpenCodeError: a task cannot be reported; with `separate_errors`, none can.
        """
        reports: dict[int, TaskReport] = {}

        async def build(index: int) -> None:
            try:
                reports[index] = await self._build_report_at(index)
            except OpenCodeError as error:
                if not self.separate_errors:
                    raise
                self.errors[index] = error

        await gather(*(partial(build, index) for index in range(len(self.starts)) if index not in self.errors))
        if not reports:
            raise join_errors(self.sessions, list(self.errors.values()))
        return [reports[index] for index in sorted(reports)]

    async def _build_report_at(self, index: int) -> TaskReport:
        start, outcome = self.starts[index], self.outcomes.get(index)
        if outcome is None and index in self.unanswered:
            assert start.session_id is not None
            return last_report(self.context, start.session_id, self.unanswered[index])
        if outcome is None:
            return report_unstarted(self.context, start)
        note = start.prompt.note if start.prompt else None
        return await report_outcome(self.context, outcome, note, report_count=len(self.starts))


async def wait_and_report(
    context: Context,
    starts: Sequence[PendingStart],
    until: Literal["any", "all"],
    seconds: float,
    until_end: bool = True,
    report_seconds: float = 0.0,
) -> list[TaskReport]:
    """Wait for tasks, and report all of them in their order, within the time limit and a little more.

    Without `until_end` the wait ends for a task as soon as that runs. The reports may take until `report_seconds` have
    passed, if that is longer.

    Raises:
        What `TasksWait.run` raises; or, when there is no report of a task, an error that names all sessions.
        ContinuesAsTask: the client has MCP Tasks, and the tasks run on.
    """
    wait = make_wait(context, starts, until, seconds, until_end=until_end)
    return await run_within(wait, max(start_seconds(context, seconds), report_seconds))


def make_wait(
    context: Context,
    starts: Sequence[PendingStart],
    until: Literal["any", "all"],
    seconds: float,
    until_end: bool = True,
    separate_errors: bool = False,
) -> TasksWait:
    """Return the wait of a call with a time limit; where it can continue as an MCP task, it is held for less time."""
    now = anyio.current_time()
    hold_seconds = seconds if context.hold_seconds is None else min(seconds, context.hold_seconds)
    start_deadline = now + start_seconds(context, seconds)
    return TasksWait(context, starts, until, now + hold_seconds, start_deadline, until_end, separate_errors)


def start_seconds(context: Context, seconds: float) -> float:
    """Return how long tasks may take to start within a call's time limit; an MCP task exists once they have."""
    return seconds if context.hold_seconds is None else max(seconds, START_SECONDS)


async def wait_and_report_each(
    context: Context, starts: Sequence[PendingStart], until: Literal["any", "all"], seconds: float
) -> tuple[list[TaskReport], dict[str, str]]:
    """Wait for tasks as `wait_and_report` does, but return the errors of single tasks, by session id.

    `until` "any" waits for a task without an error.

    Raises:
        InputRequired: the client must ask its user.
        OpenCodeError: every task has an error.
    """
    wait = make_wait(context, starts, until, seconds, separate_errors=True)
    reports = await run_within(wait, start_seconds(context, seconds))
    return reports, {starts[index].session_id or "": str(error) for index, error in sorted(wait.errors.items())}


async def run_within(wait: TasksWait, seconds: float) -> list[TaskReport]:
    """Run a wait and report its tasks within a time limit.

    Raises:
        OpenCodeError: what `TasksWait` raises; or an error that names all sessions, when the limit is reached.
    """
    try:
        with time_limit(seconds):
            await wait.run()
            if not wait.sessions:
                raise LimitReached(f"nothing was started: {no_session_message(wait.context)}")
            await wait.continue_as_task()
            return await wait.build_reports()
    except LimitReached as error:
        raise add_session_ids(wait.sessions, error) from error


async def report_now(context: Context, session_id: str, build: Callable[[], Awaitable[TaskReport]]) -> TaskReport:
    """Build the report of a session within the fixed time limit; where OpenCode does not answer, the last one.

    Raises:
        OpenCodeError: OpenCode does not answer and there is no report; or what `build` raises.
    """
    start: PendingStart | None = context.servers.pending_starts.get(session_id)
    if start is not None:
        return report_unstarted(context, start)
    try:
        with time_limit(DEFAULT_LIMIT_SECONDS):
            report = await build()
    except (LimitReached, TransportError, ServerStartError) as error:
        return last_report(context, session_id, error)
    remember_report(context, report)
    return report


async def report_outcome(
    context: Context, outcome: Outcome, note: str | None = None, report_count: int = 1
) -> TaskReport:
    """Report how a wait for a session ended; where OpenCode does not answer, return the last report.

    Raises:
        OpenCodeError: OpenCode does not answer and there is no report.
    """
    try:
        return await build_outcome_report(context, outcome, note, report_count)
    except (TransportError, ServerStartError) as error:
        return last_report(context, outcome.snapshot.session.id, error)


async def build_outcome_report(context: Context, outcome: Outcome, note: str | None, report_count: int) -> TaskReport:
    """Build the report of how a wait ended; the note says so when a running task may not run yet.

    Raises:
        OpenCodeError: OpenCode does not answer.
    """
    status = outcome.status
    if status.state == "running" and status.stalled_reason is not None:
        note = "; ".join(text for text in (note, f"not running yet: {status.stalled_reason}") if text)
    report = await build_report(context, outcome.snapshot, status, note=note, report_count=report_count)
    remember_report(context, report)
    return report


def remember_report(context: Context, report: TaskReport) -> None:
    """Remember the last report of a session, and that its result is still to come if it has not ended."""
    context.servers.remember_report(report.session_id, report)
    has_ended = report.state in ENDED_STATES
    context.opencode.server.promise(report.session_id, None if has_ended else report.directory)


def last_report(context: Context, session_id: str, error: OpenCodeError) -> TaskReport:
    """Return the last report of a session, saying how old it is, when OpenCode does not answer.

    Raises:
        WorkflowError: this server has none.
    """
    remembered = context.servers.last_reports.get(session_id)
    if remembered is None:
        raise add_session_ids([session_id], error) from error
    reported_at, report = remembered
    note = f"OpenCode does not answer; this report is {anyio.current_time() - reported_at:.0f} s old. {error}"
    return report.model_copy(update={"note": note})


def add_session_ids(session_ids: Sequence[str], error: OpenCodeError) -> OpenCodeError:
    """Return the error with the ids of the tasks' sessions, so that the caller can find them again."""
    match session_ids:
        case []:
            return error
        case [session_id]:
            hint = f"The task is session {session_id}: call report_task once OpenCode answers again."
            return WorkflowError(f"{error}\n{hint}", session_id)
        case _:
            hint = f"The tasks are sessions {', '.join(session_ids)}"
            return WorkflowError(f"{error}\n{hint}: call report_task for each once OpenCode answers again.")


def join_errors(session_ids: Sequence[str], errors: Sequence[OpenCodeError]) -> OpenCodeError:
    """Return one error for those of all tasks."""
    texts = [*dict.fromkeys(map(str, errors))]
    if len(texts) > 1:
        return WorkflowError("\n".join(texts))
    return add_session_ids(session_ids, errors[0]) if isinstance(errors[0], TransportError) else errors[0]
