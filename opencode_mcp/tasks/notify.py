"""Sends events about the tasks of this bridge to the operator's command: a task waits, or it has ended.

prompt sent -> wait_until_settled -> waits, and still does after a moment? event, go on | ended? event, return

The bridge that has sent a prompt sends its events, so that several bridges do not repeat them. A lost event stream
changes nothing, as the state is read.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import anyio

from opencode_mcp.exceptions import APIError, OpenCodeError, WorkflowError
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.events import Event, event_session_id

from .context import Context
from .continue_as_task import find_turn
from .pending_requests import describe_request
from .queued_turns import Outcome
from .report import COST_DIGITS
from .session_watch import WAKEUP_EVENTS, ReportedError
from .start import SentPrompt
from .task_event import TaskEvent, WaitingRequest
from .turn import elapsed_seconds, read_family_usage, read_turn
from .turn_outcome import outcome_of_turn
from .wait import wait_until_settled

MOMENT_SECONDS = 1.0
"""How long a request must wait to be an event: a call may answer it at once, by the task's policy."""

READ_SECONDS = 120.0
"""How often a task that waits for an answer is read without an event."""

RETRY_SECONDS = 10.0
"""How long to pause when OpenCode does not answer."""

TEXT_CHARS = 2_000
"""How much of an answer or an error an event has: its end."""

LINE_CHARS = 300

log = logging.getLogger(__name__)


@dataclass
class TurnNotifier:
    """Sends the events of one turn.

    `prompt_id` is None until the session has the prompt. `sent` are the requests that an event was sent for, `family`
    the sessions whose events are a reason to read the task.
    """

    context: Context
    prompt: SentPrompt
    reported_error: ReportedError | None
    prompt_id: str | None = None
    sent: set[str] = field(default_factory=set[str])
    family: set[str] = field(default_factory=set[str])
    wakeup: anyio.Event = field(default_factory=anyio.Event)

    def on_event(self, event: Event) -> None:
        """Read the task again after an event of its family, or a gap in the stream."""
        session_id = event_session_id(event)
        if event["type"] in WAKEUP_EVENTS and (session_id is None or session_id in self.family):
            self.wakeup.set()

    async def run(self) -> None:
        """Send events until the turn has ended; where OpenCode does not answer, try again.

        Raises:
            APIError: the session was deleted.
            WorkflowError: the session no longer has the turn.
        """
        while True:
            try:
                if await self.has_ended():
                    return
            except OpenCodeError as error:
                if isinstance(error, WorkflowError) or (isinstance(error, APIError) and error.status == 404):
                    raise
                log.info("cannot read %s now: %s", self.prompt.session_id, error)
                await anyio.sleep(RETRY_SECONDS)

    async def has_ended(self) -> bool:
        """Wait until the turn has ended or waits, and send that; False after it has waited for some time."""
        if self.prompt_id is None:
            outcome = await self.read_outcome(deadline=0)
            turn = await find_turn(self.context, self.prompt, outcome)
            self.prompt_id = turn.message_id if turn is not None else None
        outcome = await self.read_outcome(deadline=float("inf"))
        if outcome.status.finished:
            await self.send(outcome)
            return True
        await anyio.sleep(MOMENT_SECONDS)
        self.family = {*outcome.snapshot.family}
        with self.context.opencode.events.subscribe(self.on_event):
            self.wakeup = anyio.Event()
            waiting = (
                set[str]() if outcome.is_queued else {request.id for request in outcome.snapshot.pending} - self.sent
            )
            outcome = await self.read_outcome(deadline=0)
            pending = {request.id for request in outcome.snapshot.pending}
            if waiting & pending:
                await self.send(outcome)
                self.sent |= pending
            if pending:
                with anyio.move_on_after(READ_SECONDS):
                    await self.wakeup.wait()
        return False

    async def read_outcome(self, deadline: float) -> Outcome:
        """Wait for the session until it has ended or waits, or until the deadline; return the outcome of this turn."""
        prompt = self.prompt
        outcome = await wait_until_settled(
            self.context,
            prompt.session_id,
            prompt.previous_prompt_id,
            deadline,
            reported_error=self.reported_error,
            prompt_id=self.prompt_id or prompt.queued_id,
        )
        if self.prompt_id is None:
            return outcome
        return await outcome_of_turn(self.context.opencode, outcome, self.prompt_id)

    async def send(self, outcome: Outcome) -> None:
        """Send an event."""
        assert self.context.send_event is not None
        self.context.send_event(await read_event(self.context, outcome))


async def read_event(context: Context, outcome: Outcome) -> TaskEvent:
    """Read what the outcome lacks, and return its event; texts are redacted before they are cut.

    Raises:
        OpenCodeError: OpenCode does not answer.
    """
    opencode, redactor, snapshot, status = context.opencode, context.redactor, outcome.snapshot, outcome.status
    session, newest = snapshot.session, snapshot.newest_message
    turn, usage = await gather(partial(read_turn, opencode, snapshot), partial(read_family_usage, opencode, snapshot))
    redactor.refresh()
    has_answer = newest is not None and newest.info.role == "assistant" and status.finished
    answer = last_chars(redactor.redact_text(newest.text)) if newest is not None and has_answer else None
    error = last_chars(redactor.redact_text(status.error or "")) or None
    requests = [describe_request(request, session.id) for request in snapshot.pending]
    pending = [WaitingRequest(kind=request.kind, wants=redactor.redact_text(request.wants)) for request in requests]
    requested = "; ".join(request.wants for request in pending)
    return TaskEvent(
        time=now(),
        session_id=session.id,
        title=first_line_chars(redactor.redact_text(session.title)),
        state=status.state,
        directory=session.directory,
        server=opencode.server.name,
        message=first_line_chars(requested or error or last_chars(answer or "", LINE_CHARS - 1)),
        pending=pending,
        answer=answer,
        error=error,
        cost=round(usage.cost, COST_DIGITS),
        elapsed_seconds=elapsed_seconds(turn, snapshot, over=status.finished),
    )


def last_chars(text: str, limit: int = TEXT_CHARS) -> str:
    """Return the end of a redacted text."""
    return text if len(text) <= limit else f"…{text[-limit:]}"


def first_line_chars(text: str) -> str:
    """Return the beginning of a redacted text, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= LINE_CHARS else f"{line[:LINE_CHARS]}…"


def notify_of(context: Context, prompt: SentPrompt, reported_error: ReportedError | None) -> None:
    """Send the events of a prompt that this bridge has sent or queued, if the operator has set a command.

    That is done in the background. `reported_error` is the session.error event since it was sent.
    """
    tasks = context.servers.tasks
    was_sent = prompt.previous_prompt_id is not None or prompt.queued_id is not None
    if context.send_event is not None and tasks is not None and was_sent:
        tasks.start_soon(partial(notify_until_ended, context.without_caller(), prompt, reported_error))


def notify_of_failed_start(context: Context, session_id: str | None, directory: str, failure: Exception) -> None:
    """Send the event of a task that was not started after all; its caller has already returned."""
    if context.send_event is None:
        return
    error = last_chars(context.redactor.redact_error(failure))
    context.send_event(
        TaskEvent(
            time=now(),
            session_id=session_id or "",
            title="",
            state="failed",
            directory=directory,
            server=context.opencode.server.name,
            message=first_line_chars(f"the task was not started: {error}"),
            pending=[],
            answer=None,
            error=error,
            cost=0,
            elapsed_seconds=0,
        )
    )


def now() -> str:
    """Return the time as events have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


async def notify_until_ended(context: Context, prompt: SentPrompt, reported_error: ReportedError | None) -> None:
    """Send the events of a turn; an error ends only that."""
    try:
        async with context.for_session(prompt.session_id) as session_context:
            await TurnNotifier(session_context, prompt, reported_error).run()
    except OpenCodeError as error:
        log.info("no more events about %s: %s", prompt.session_id, error)
    except Exception:
        log.exception("events about %s failed", prompt.session_id)
