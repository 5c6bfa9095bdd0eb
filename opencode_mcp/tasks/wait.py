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

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import anyio

from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.deadline import seconds_left
from opencode_mcp.opencode.events import Event, event_session_id
from opencode_mcp.opencode.models import Message, Part
from opencode_mcp.opencode.responses import describe_error

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
    read_newest_messages,
    read_snapshot,
    refresh_session,
)
from .transcript import summarize_parts

POLL_SECONDS = 3.0
"""How often the state is read without an event."""

FULL_RATE_LISTENERS = 10
"""How many listeners read that often; with more of them each reads less often, to limit the load on OpenCode."""

STALLED_SECONDS = 10.0
"""How long a session may do nothing about a prompt before the task has failed; 1.3 s were measured (1.18.33)."""

ERROR_STALLED_SECONDS = 2.0
"""The same after a session.error event: not every such event ends the turn (an unreadable file does not)."""

REPORT_MARGIN_SECONDS = 0.6
"""How long before the caller's time limit a stalled session is reported as running, so that the report is in time."""

BACKFILL_MESSAGES = 20
"""How many of a turn's newest messages are searched for steps without an event."""

WAKEUP_EVENTS = frozenset(
    {
        "stream.connected",
        "stream.ready",
        "server.instance.disposed",
        "global.disposed",
        "session.created",
        "session.status",
        "session.idle",
        "session.error",
        "session.deleted",
        "message.updated",
        "message.removed",
        "permission.asked",
        "permission.replied",
        "question.asked",
        "question.replied",
        "question.rejected",
    }
)
"""Events that are a reason to read the state."""

BUSY_EVENTS = frozenset({"session.status", "message.updated"})
"""Events that may say no more than that a session is busy."""


@dataclass(frozen=True, slots=True)
class ReportedError:
    """The text of a session.error event, and when it was received (anyio.current_time())."""

    text: str
    received: float

    @classmethod
    def from_event(cls, event: Event) -> ReportedError:
        """Return that of a session.error event."""
        return cls(format_error(event), anyio.current_time())


@dataclass
class SessionWatch:
    """Listens to the events of one session's family; `wakeup` is set when one has arrived.

    `read_requested`: an event was a reason to read the state. `busy_reported`: an event said that the session is busy;
    `busy`: it was busy when last read; `was_busy`: in any read. `prompt_ids` are the ids of the user's messages, which
    have no steps. `steps` are those not reported yet, `activity` is the newest one; `known_steps` has the newest
    step of each part of a message, by the part's id. `error` is the last session.error event. `prompt_id` is the prompt
    that is waited for, once it is known; `is_queued`: it is not sent yet.
    """

    family: set[str]
    prompt_ids: set[str] = field(default_factory=set[str])
    wakeup: anyio.Event = field(default_factory=anyio.Event)
    read_requested: bool = True
    busy_reported: bool = False
    busy: bool = False
    was_busy: bool = False
    activity: str = ""
    steps: list[str] = field(default_factory=list[str])
    known_steps: dict[str, str] = field(default_factory=dict[str, str])
    error: ReportedError | None = None
    prompt_id: str | None = None
    is_queued: bool = False

    def on_event(self, event: Event) -> None:
        """Record an event."""
        event_type: str = event["type"]
        session_id = event_session_id(event)
        if session_id is None or session_id in self.family or event_parent_id(event) in self.family:
            if session_id is not None and event_type == "session.created":
                self.family.add(session_id)
            if event_type == "session.error" and session_id in self.family:
                self.error = ReportedError.from_event(event)
            if event_type == "message.updated" and event["properties"]["info"]["role"] == "user":
                self.prompt_ids.add(event["properties"]["info"]["id"])
            if event_type == "message.part.updated" and event["properties"]["part"]["messageID"] not in self.prompt_ids:
                self.add_step(Part.model_validate(event["properties"]["part"]))
            if event_type in BUSY_EVENTS and is_busy(event):
                self.busy_reported = True
            elif event_type in WAKEUP_EVENTS:
                self.read_requested = True
            self.wakeup.set()

    @property
    def needs_read(self) -> bool:
        """Whether there is a reason to read the state; that a session is busy is news only when it was idle."""
        return self.read_requested or (self.busy_reported and not self.busy)

    def add_step(self, part: Part) -> None:
        """Keep a part's step until it is reported, unless it is the one that the part had before."""
        step = summarize_parts([part])
        if step and step != self.known_steps.get(part.id):
            self.known_steps[part.id] = step
            if step != self.activity:
                self.activity = step
                self.steps.append(step)


def is_busy(event: Event) -> bool:
    """Whether an event says no more than that a session is busy."""
    status: dict[str, Any] = event["properties"].get("status") or {"type": "busy"}
    return status["type"] == "busy"


def event_parent_id(event: Event) -> str | None:
    """Return the parent of the session that an event announces."""
    info: dict[str, Any] = event.get("properties", {}).get("info") or {}
    return info.get("parentID")


def format_error(event: Event) -> str:
    """Return the words of a session.error event."""
    error: dict[str, Any] = event["properties"].get("error") or {}
    words = describe_error(str(error.get("name") or ""), error.get("data") or {})
    return f"{words}\n{words.advice}" if words.advice else str(words)


async def wait_until_settled(
    context: Context,
    session_id: str,
    previous_prompt_id: str | None,
    deadline: float,
    reported_error: ReportedError | None = None,
    known: dict[str, str] | None = None,
    enforce: bool = False,
    prompt_id: str | None = None,
) -> Outcome:
    """Wait until a session has ended or needs an answer, or until the deadline (anyio.current_time()).

    A stalled session is waited for past the deadline, as long as the cancel scopes around the call allow; if that is
    not long enough to fail it, the returned status keeps its `stalled_reason`. `reported_error` is the session.error
    event since the prompt was sent; `known` has the steps that were reported (`SessionWatch.known_steps`), and is
    added to. With `enforce` the rules of a task that still runs are enforced from now on (`follower.py`).
    `prompt_id` is the prompt whose turn is waited for; None: the newest one, and all that are queued.

    Raises:
        OpenCodeError: the session is unknown, or OpenCode cannot be reached.
    """
    known = {} if known is None else known
    watch = SessionWatch({session_id}, error=reported_error, known_steps=known, prompt_id=prompt_id)
    stalled_since: float | None = None
    snapshot: SessionSnapshot | None = None
    waited = False
    with context.opencode.events.subscribe(watch.on_event):
        while True:
            started, previous = anyio.current_time(), snapshot
            snapshot = await refresh_snapshot(context, session_id, snapshot, watch)
            if enforce and (rules_of(snapshot) is not None or snapshot.queued):
                follow(context, session_id)
            turn = await read_turn_status(context, snapshot, previous_prompt_id, previous, watch)
            status = turn.status
            if status.state != "running" and (waited or known or previous_prompt_id is not None):
                _, shown = await gather(
                    partial(backfill_steps, context, snapshot, watch),
                    partial(refresh_session, context.opencode, turn.snapshot),
                )
                turn, snapshot = replace(turn, snapshot=shown), replace(snapshot, session=shown.session)
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
        pause = POLL_SECONDS * (
            1 if stalled_since else max(1, context.opencode.events.listener_count / FULL_RATE_LISTENERS)
        )
        return deadline, min(deadline, now + pause)
    wait_until = max(deadline, now + seconds_left() - REPORT_MARGIN_SECONDS)
    return wait_until, min(wait_until, now + POLL_SECONDS, stalled_since + stalled_limit)


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
    for message in await read_newest_messages(context.opencode, snapshot.session.id, BACKFILL_MESSAGES):
        if (
            message.info.role == "assistant"
            and snapshot.newest_message
            and message.user_message_id == snapshot.newest_message.user_message_id
        ):
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
    reported_error: ReportedError | None = None,
    prompt_id: str | None = None,
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
                session_context, session_id, previous_prompt_id, deadline, reported_error, known, True, prompt_id
            )
            if not outcome.snapshot.pending:
                return outcome
            response = await reply_by_policy(session_context, outcome.snapshot, deadline, state)
            if not response.answered:
                return replace(outcome, status=replace(outcome.status, note=response.note))
