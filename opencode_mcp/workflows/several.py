"""Wait for tasks and report them within the caller's time limit, even when OpenCode does not answer.

start over? -> attend -> report; at the limit: what is known, when it was seen, or an error that names the session
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
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
from opencode_mcp.opencode.background import gather

from .context import Context
from .limits import ANSWER_SECONDS, STARTING_SECONDS, time_limit
from .report import TaskReport, build_report
from .start import Turn
from .starting import Start, not_started, raised_by, unstarted
from .wait import Outcome, ToldError, attend, settle


@dataclass
class Wait:
    """One wait for several tasks; `for_end` says whether they are waited for once they run.

    `outcomes` and `silent` are by the place of the task; `turns` by its session.
    """

    context: Context
    starts: Sequence[Start]
    until: Literal["any", "all"]
    deadline: float
    for_end: bool
    outcomes: dict[int, Outcome] = field(default_factory=dict[int, Outcome])
    silent: dict[int, OpenCodeError] = field(default_factory=dict[int, OpenCodeError])
    failures: list[Exception] = field(default_factory=list[Exception])
    turns: dict[str, str | None] = field(default_factory=dict[str, "str | None"])

    @property
    def sessions(self) -> list[str]:
        """The sessions of the tasks, as far as they are there."""
        return [start.session_id for start in self.starts if start.session_id is not None]

    async def run(self) -> None:
        """Wait for all tasks, or for one.

        Raises:
            InputRequired: a user is to be asked by the client.
            OpenCodeError: a task cannot be started, a session is unknown, or OpenCode cannot be reached.
        """
        async with anyio.create_task_group() as group:
            for index, start in enumerate(self.starts):
                group.start_soon(self._follow, index, start, group.cancel_scope)
        if self.failures:
            failure = self.failures[0]
            if isinstance(failure, InputRequired):  # its state must name every task
                await gather(*(partial(self._until_over, start) for start in self.starts))
            raise failure
        rest = [
            index
            for index, start in enumerate(self.starts)
            if start.turn and index not in {*self.outcomes, *self.silent}
        ]
        await gather(*(partial(self._settle_now, index) for index in rest))

    async def _follow(self, index: int, start: Start, all_of_them: anyio.CancelScope) -> None:
        """Wait for one task; what ends the wait for all cancels that."""
        await self._until_over(start)
        if start.failure is not None and not start.told:
            self.failures.append(raised_by(start.failure, index + 1, len(self.starts)))
        elif start.turn is not None:
            await self._attend(index, start)
        outcome = self.outcomes.get(index)
        if self.failures or (self.until == "any" and outcome and outcome.verdict.state != "running"):
            all_of_them.cancel()

    async def _until_over(self, start: Start) -> None:
        """Wait until a task is started or the time is up; its session must be there, or it is given up."""
        with anyio.CancelScope(deadline=self.deadline + STARTING_SECONDS):
            await start.over.wait()
        if start.session_id is None and not start.over.is_set():
            start.scope.cancel()
        if start.turn is not None:
            self.turns[start.turn.session_id] = start.turn.after
        elif start.session_id is not None:
            self.turns[start.session_id] = None

    async def _attend(self, index: int, start: Start) -> None:
        assert start.turn is not None
        turn = start.turn
        try:
            if self.for_end:
                state = {"turns": self.turns}
                self.outcomes[index] = await attend(
                    self.context, turn.session_id, turn.after, self.deadline, state, start.error
                )
            else:
                self.outcomes[index] = await self._known_to_run(turn, start.error)
        except (TransportError, ServerStartError) as error:
            if anyio.current_time() >= self.deadline:
                self.silent[index] = error
            else:
                self.failures.append(out_of_reach(self.sessions, error))
        except (OpenCodeError, InputRequired) as error:
            self.failures.append(error)

    async def _known_to_run(self, turn: Turn, told: ToldError | None) -> Outcome:
        """Wait until a prompt that was accepted is seen to run, or to be over: a 204 says neither.

        Raises:
            WorkflowError: it never ran.
        """
        async with self.context.for_session(turn.session_id) as there:
            outcome = await settle(there, turn.session_id, turn.after, 0, told)
        if outcome.verdict.state == "failed" and outcome.verdict.doubt is not None:
            raise WorkflowError(f"the task did not run: {outcome.verdict.error}", turn.session_id)
        return outcome

    async def _settle_now(self, index: int) -> None:
        start = self.starts[index]
        turn = start.turn
        assert turn is not None
        try:
            async with self.context.for_session(turn.session_id) as there:
                self.outcomes[index] = await settle(there, turn.session_id, turn.after, 0, start.error)
        except (TransportError, ServerStartError) as error:
            self.silent[index] = error

    async def report(self, index: int) -> TaskReport:
        """Report a task as it was found."""
        start, outcome = self.starts[index], self.outcomes.get(index)
        if outcome is None and index in self.silent:
            assert start.session_id is not None
            return last_seen(self.context, start.session_id, self.silent[index])
        if outcome is None:
            return unstarted(self.context, start)
        note = start.turn.note if start.turn else None
        return await reported(self.context, outcome, note, among=len(self.starts))


async def wait_and_report(
    context: Context, starts: Sequence[Start], until: Literal["any", "all"], seconds: float, for_end: bool = True
) -> list[TaskReport]:
    """Wait for tasks, and report all of them in their order, within the time limit and a little more.

    Without `for_end` a task that is known to run is not waited for.

    Raises:
        What `Wait.run` raises; or, when nothing is known of a task, an error that names all of them.
    """
    wait = Wait(context, starts, until, anyio.current_time() + seconds, for_end)
    try:
        with time_limit(seconds):
            await wait.run()
            if not any(start.session_id for start in starts):
                raise LimitReached(f"nothing was started: {not_started(context)}")
            return await gather(*(partial(wait.report, index) for index in range(len(starts))))
    except LimitReached as error:
        raise out_of_reach(wait.sessions, error) from error


async def report_now(context: Context, session_id: str, build: Callable[[], Awaitable[TaskReport]]) -> TaskReport:
    """Build the report of a session within the fixed time limit; where OpenCode does not answer, the last one.

    Raises:
        OpenCodeError: OpenCode does not answer and there is no report; or what `build` raises.
    """
    start: Start | None = context.servers.pending_starts.get(session_id)
    if start is not None:
        return unstarted(context, start)
    try:
        with time_limit(ANSWER_SECONDS):
            report = await build()
    except (LimitReached, TransportError, ServerStartError) as error:
        return last_seen(context, session_id, error)
    context.servers.remember_report(session_id, report)
    return report


async def reported(context: Context, outcome: Outcome, note: str | None = None, among: int = 1) -> TaskReport:
    """Report how a wait for a session ended; one that was not seen to work is not just said to run."""
    verdict, session_id = outcome.verdict, outcome.truth.session.id
    if verdict.state == "running" and verdict.doubt is not None:
        note = "; ".join(one for one in (note, f"not running yet: {verdict.doubt}") if one)
    try:
        report = await build_report(context, outcome.truth, verdict, note=note, among=among)
    except (TransportError, ServerStartError) as error:
        return last_seen(context, session_id, error)
    context.servers.remember_report(session_id, report)
    return report


def last_seen(context: Context, session_id: str, error: OpenCodeError) -> TaskReport:
    """Return the last report of a session, saying how old it is, when OpenCode does not answer.

    Raises:
        WorkflowError: this server has none.
    """
    seen = context.servers.last_reports.get(session_id)
    if seen is None:
        raise out_of_reach([session_id], error) from error
    at, report = seen
    note = f"OpenCode does not answer; this report is {anyio.current_time() - at:.0f} s old. {error}"
    return report.model_copy(update={"note": note})


def out_of_reach(session_ids: Sequence[str], error: OpenCodeError) -> OpenCodeError:
    """Say where the tasks are to be found again."""
    match session_ids:
        case []:
            return error
        case [session_id]:
            where = f"The task is session {session_id}: call report_task once OpenCode answers again."
            return WorkflowError(f"{error}\n{where}", session_id)
        case _:
            where = f"The tasks are sessions {', '.join(session_ids)}"
            return WorkflowError(f"{error}\n{where}: call report_task for each once OpenCode answers again.")
