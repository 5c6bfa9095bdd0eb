"""Wait for a session to finish or to need an answer, within a time limit.

The state is always read from OpenCode; an event is only a reason to read it again. `wait_until_settled`:

    ┌──────── wait for an event, or for some seconds ◄───────┬───────────────────────────┐
    ▼                                                        │ no                        │
    read ─► classify ─┬─► running ─► has the deadline passed? ─► return running          │
                      ├─► stalled ─► for STALLED_SECONDS? ─► return failed;  no ─────────┘
                      │              (or running, with a note, where another process may run the turn)
                      └─► completed, failed, stopped, waiting for an answer ─► return

`wait_and_reply` does that, answers a pending request by the task's policy or by the client's user, and goes on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio

from opencode_mcp.opencode.deadline import seconds_left
from opencode_mcp.opencode.events import load_factor
from opencode_mcp.opencode.models import Message, Session, SessionStatus

from .context import Context
from .external_activity import OTHER_PROCESS_SECONDS, describe_last_write, describe_other_process
from .follower import follow
from .queued_turns import Outcome, select_turn
from .replies import reply_by_policy
from .report import describe_activity, find_retry
from .rules import apply_rules, rules_of
from .session_state import (
    SessionSnapshot,
    TaskStatus,
    classify,
    read_snapshot,
)
from .session_watch import ReportedError, SessionWatch
from .turn_prompts import READ_MESSAGES, read_messages_back_to

POLL_SECONDS = 3.0
"""How often the state is read without an event."""

FIRST_READ_SECONDS = 1.0
"""How long after a prompt its session is read for the first time, where no event says that it works, or more."""

FULL_RATE_LISTENERS = 10
"""How many listeners read that often; with more of them each reads less often, to limit the load on OpenCode."""

STALLED_SECONDS = 10.0
"""How long a session may do nothing about a prompt before the task has failed; 1.3 s were measured (1.18.33)."""

ERROR_STALLED_SECONDS = 2.0
"""The same after a session.error event: not every such event ends the turn (an unreadable file does not)."""

REPORT_MARGIN_SECONDS = 0.6
"""How long before the caller's time limit a stalled session is reported as running, so that the report is in time."""


async def wait_until_settled(
    context: Context,
    session_id: str,
    previous_prompt_id: str | None,
    deadline: float,
    *,
    reported_error: ReportedError | None = None,
    known: dict[str, str] | None = None,
    enforce: bool = False,
    prompt_id: str | None = None,
    session: Session | None = None,
) -> Outcome:
    """Wait until a session has ended or needs an answer, or until the deadline (anyio.current_time()).

    A stalled session is waited for past the deadline, as long as the cancel scopes around the call allow; if that is
    not long enough to fail it, the returned status keeps its `stalled_reason`. `reported_error` is the session.error
    event since the prompt was sent; `known` has the steps that were reported (`SessionWatch.known_steps`), and is
    added to. With `enforce` the rules of a task that still runs are enforced from now on (`follower.py`).
    `prompt_id` is the prompt whose turn is waited for; None: the newest one, and all that are queued. `session` is that
    of a prompt that this call has just sent, as it was before: it is read when an event says more than that it works.

    Raises:
        OpenCodeError: the session is unknown, or OpenCode cannot be reached.
    """
    known = {} if known is None else known
    watch = SessionWatch({session_id}, error=reported_error, known_steps=known, prompt_id=prompt_id)
    stalled_since: float | None = None
    snapshot: SessionSnapshot | None = None
    waited = False
    with context.opencode.events.subscribe(watch.on_event):
        if session is not None:
            snapshot = snapshot_of_accepted(session)
            await wait_for_news(context, snapshot, watch, deadline)
        while True:
            started, previous = anyio.current_time(), snapshot
            snapshot = await refresh_snapshot(context, session_id, snapshot, watch)
            if enforce and (rules_of(snapshot) is not None or snapshot.queued):
                follow(context, session_id)
            turn = await read_turn_status(context, snapshot, previous_prompt_id, previous, watch)
            status = turn.status
            if status.state != "running" and (waited or known or previous_prompt_id is not None):
                await backfill_steps(context, snapshot, watch)
            await report_steps(context, snapshot, watch)
            if status.state != "running":
                return turn
            now = anyio.current_time()
            # A snapshot is as old as the start of its read: a stall lasts from one start to another.
            stalled_since = None if status.stalled_reason is None else stalled_since or started
            stalled_limit = stalled_limit_of(snapshot, status, watch)
            if stalled_since is not None and started - stalled_since >= stalled_limit:
                context.opencode.server.set_active(session_id, active=False)
                if status.note is None:
                    return replace(turn, status=fail_stalled(snapshot, status, watch))
                status = replace(status, stalled_reason=None)
                await context.report_progress(status.note or "")
            wait_until, limit = next_read_time(
                context, deadline, now, stalled_since, None if status.stalled_reason is None else stalled_limit
            )
            if now >= wait_until:
                return replace(turn, status=status)
            with anyio.CancelScope(deadline=limit):
                await wait_for_wakeup(context, snapshot, watch)
            waited = True


def snapshot_of_accepted(session: Session) -> SessionSnapshot:
    """Return what is known of a session whose prompt OpenCode has just accepted, until it is read."""
    return SessionSnapshot(session, (session.id,), {session.id: SessionStatus(type="busy")}, (), None)


async def wait_for_news(context: Context, snapshot: SessionSnapshot, watch: SessionWatch, deadline: float) -> None:
    """Wait for a reason to read a session that has just got a prompt: an event, or that none comes in time.

    Once an event says that it works, it is read as often as any other that works.
    """
    watch.busy, watch.read_requested = True, watch.error is not None
    started = anyio.current_time()
    with anyio.CancelScope(deadline=min(deadline, started + FIRST_READ_SECONDS * load_of(context))) as scope:
        while not watch.needs_read:
            await watch.wakeup.wait()
            watch.wakeup = anyio.Event()
            if watch.busy_reported:
                scope.deadline = min(deadline, started + read_pause(context))
            if watch.steps:
                await report_steps(context, snapshot, watch)


async def refresh_snapshot(
    context: Context, session_id: str, snapshot: SessionSnapshot | None, watch: SessionWatch
) -> SessionSnapshot:
    """Read a session, given the previous snapshot, and record in the watch what was read."""
    watch.read_requested = watch.busy_reported = False
    watch.wakeup = anyio.Event()
    started = anyio.current_time()
    snapshot = await read_snapshot(context.opencode, session_id, snapshot)
    watch.family.update(snapshot.family)
    watch.busy = snapshot.busy
    watch.was_busy |= snapshot.busy
    if snapshot.busy and watch.error is not None and started - watch.error.received >= ERROR_STALLED_SECONDS:
        watch.error = None  # it did not end the turn
    return snapshot


def stalled_limit_of(snapshot: SessionSnapshot, status: TaskStatus, watch: SessionWatch) -> float:
    """Return how many seconds a stall must last before it is decided.

    After the session.error event of a reply that breaks off, OpenCode takes some time to store the error in the reply
    (1.18.33); hence the longer limit for an incomplete reply.
    """
    if status.note is not None:
        return OTHER_PROCESS_SECONDS
    return ERROR_STALLED_SECONDS if watch.error and not is_incomplete(snapshot.newest_message) else STALLED_SECONDS


def next_read_time(
    context: Context, deadline: float, now: float, stalled_since: float | None, stalled_limit: float | None
) -> tuple[float, float]:
    """Return when the wait must end, and when to read again without an event; both as anyio.current_time().

    `stalled_limit` is None when nothing stalls. Otherwise the wait may pass the deadline: a task that does not run must
    not be reported as running.
    """
    if stalled_since is None or stalled_limit is None:
        return deadline, min(deadline, now + (POLL_SECONDS if stalled_since else read_pause(context)))
    wait_until = max(deadline, now + seconds_left() - REPORT_MARGIN_SECONDS)
    return wait_until, min(wait_until, now + POLL_SECONDS, stalled_since + stalled_limit)


def read_pause(context: Context) -> float:
    """Return how many seconds pass between two reads of a session that works, without an event."""
    return POLL_SECONDS * load_of(context)


def load_of(context: Context) -> float:
    """Return the factor by which all pauses are longer where many listeners would load OpenCode with their reads."""
    return load_factor(context.opencode.events.listener_count, FULL_RATE_LISTENERS)


async def read_turn_status(
    context: Context,
    snapshot: SessionSnapshot,
    previous_prompt_id: str | None,
    previous: SessionSnapshot | None,
    watch: SessionWatch,
) -> Outcome:
    """Return the turn that is waited for, with its status. A call that sent a prompt finds its turn by what is new."""
    newest_id = snapshot.newest_message.user_message_id if snapshot.newest_message is not None else None
    if watch.prompt_id is None and previous_prompt_id not in {None, newest_id}:
        watch.prompt_id = newest_id
    status = await classify_across_processes(context, snapshot, previous_prompt_id, previous, watch)
    turn = await select_turn(context.opencode, snapshot, status, watch.prompt_id, previous_prompt_id is not None)
    was_queued, watch.is_queued = watch.is_queued, turn.is_queued
    watch.error = None if was_queued or turn.is_queued else watch.error  # that of a turn before does not count
    return turn


async def classify_across_processes(
    context: Context,
    snapshot: SessionSnapshot,
    previous_prompt_id: str | None,
    previous: SessionSnapshot | None,
    watch: SessionWatch,
) -> TaskStatus:
    """Classify a session; if its turn may run in another OpenCode process, the status has a note about that.

    It cannot if this call sent the prompt (`previous_prompt_id` is known), or this OpenCode ran or failed the turn.
    """
    status = await apply_rules(context.opencode, snapshot, classify(snapshot, previous_prompt_id))
    if status.stalled_reason is None or previous_prompt_id is not None or watch.error or watch.was_busy:
        return status
    return replace(status, note=await describe_other_process(context.opencode, snapshot, previous))


def fail_stalled(snapshot: SessionSnapshot, status: TaskStatus, watch: SessionWatch) -> TaskStatus:
    """Return the status of a session that has stalled for too long."""
    reason = f"{status.stalled_reason}; {describe_last_write(snapshot)}"
    return TaskStatus("failed", error=watch.error.text if watch.error else reason, stalled_reason=status.stalled_reason)


def is_incomplete(newest: Message | None) -> bool:
    """Whether the newest message is a reply that is neither complete nor has an error."""
    return newest is not None and newest.info.role == "assistant" and newest.info.time.completed is None


async def wait_for_wakeup(context: Context, snapshot: SessionSnapshot, watch: SessionWatch) -> None:
    """Report what the session does until there is a reason to read its state."""
    while not watch.needs_read:
        await watch.wakeup.wait()
        watch.wakeup = anyio.Event()
        if watch.steps:
            await report_steps(context, snapshot, watch)


async def backfill_steps(context: Context, snapshot: SessionSnapshot, watch: SessionWatch) -> None:
    """Add the steps whose events are missing: they came before the first read, the stream was cut, or the turn's end
    overtook them."""
    if snapshot.newest_message is None:
        return
    prompt_id = snapshot.newest_message.user_message_id
    opencode, limits = context.opencode, READ_MESSAGES[:1]
    for message in await read_messages_back_to(opencode, snapshot.session.id, prompt_id, snapshot.recent, limits):
        if message.info.role == "assistant" and message.user_message_id == prompt_id:
            for part in message.parts:
                watch.add_step(part)


async def report_steps(context: Context, snapshot: SessionSnapshot, watch: SessionWatch) -> None:
    """Report each step that a session has taken since, what it does now, and what it has cost so far."""
    newest = snapshot.newest_message
    if snapshot.busy and not watch.activity and newest is not None and newest.info.role == "assistant":
        for part in newest.parts:  # before the first event, the snapshot has the steps
            watch.add_step(part)
    usage = f"{snapshot.session.tokens.total} tokens, ${snapshot.session.cost:.2f}"
    steps, watch.steps = watch.steps, []
    for step in steps:
        await context.report_progress(f"{step} [{usage}]")
    if snapshot.busy or watch.activity:
        await context.report_progress(
            f"{describe_activity(snapshot) if find_retry(snapshot) or not watch.activity else watch.activity} [{usage}]"
        )


async def wait_and_reply(
    context: Context,
    session_id: str,
    previous_prompt_id: str | None,
    deadline: float,
    state: Any,
    *,
    reported_error: ReportedError | None = None,
    prompt_id: str | None = None,
    session: Session | None = None,
) -> Outcome:
    """Wait until a session is settled, replying to its requests by the task's policy or through the client's user.

    Arguments are as in `wait_until_settled`; `state` is what an `InputRequired` call gets back when it is resumed. A
    request that gets no reply ends the wait; the status then has a note about the reason.

    Raises:
        InputRequired: the client must ask its user.
        OpenCodeError: the session is unknown, or OpenCode cannot be reached.
    """
    known: dict[str, str] = {}
    async with context.for_session(session_id) as session_context:
        while True:
            outcome = await wait_until_settled(
                session_context,
                session_id,
                previous_prompt_id,
                deadline,
                reported_error=reported_error,
                known=known,
                enforce=True,
                prompt_id=prompt_id,
                session=session,
            )
            session = None
            if not outcome.snapshot.pending:
                return outcome
            response = await reply_by_policy(session_context, outcome.snapshot, deadline, state)
            if not response.answered:
                return replace(outcome, status=replace(outcome.status, note=response.note))
