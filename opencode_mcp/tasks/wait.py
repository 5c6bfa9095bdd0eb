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
from .replies import reply_by_policy
from .report import describe_activity, read_newest_messages
from .session_state import SessionSnapshot, TaskStatus, classify, read_snapshot, refresh_session
from .transcript import summarize_parts

POLL_SECONDS = 3.0
"""How often to look without any event."""

FULL_RATE_LISTENERS = 10
"""So many listeners look as often as that, and of more each less often: else OpenCode would do little else."""

STALLED_SECONDS = 10.0
"""How long a session may do nothing about a prompt before that counts as a failure; 1.3 s were seen."""

ERROR_STALLED_SECONDS = 2.0
"""How long when OpenCode has told of an error: it tells of some that end nothing, as a file that cannot be read."""

REPORT_MARGIN_SECONDS = 0.6
"""How long before the caller's time limit a doubt is left open, so that the report is in time."""

BACKFILL_MESSAGES = 20
"""How many of a turn's newest messages are looked at for steps that nothing has told of."""

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
        "permission.asked",
        "permission.replied",
        "question.asked",
        "question.replied",
        "question.rejected",
    }
)
"""Events that are a reason to look."""

BUSY_EVENTS = frozenset({"session.status", "message.updated"})
"""Those that may say no more than that a session works."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a wait for one session ended."""

    snapshot: SessionSnapshot
    status: TaskStatus


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
    """Hears the events of one session's family; `stirred` is set when something is to be done.

    `look` is whether something told a reason to look, `busy_reported` whether something told that it works, `busy`
    whether it was found so, and `was_busy` whether it ever was; `steps` are what it did since that was told last;
    `known` the newest step of each part of a message, by the part's id.
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
    known_subjects: dict[str, str] = field(default_factory=dict[str, str])
    error: ReportedError | None = None

    def on_event(self, event: Event) -> None:
        """Take note of an event."""
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
        """Whether there is a reason to look: that it works is none when it was found at work."""
        return self.read_requested or (self.busy_reported and not self.busy)

    def add_step(self, part: Part) -> None:
        """Keep what a part says until it is reported. OpenCode sends parts again unchanged at the end of a turn."""
        step = summarize_parts([part])
        if step and step != self.known_subjects.get(part.id):
            self.known_subjects[part.id] = step
            if step != self.activity:
                self.activity = step
                self.steps.append(step)


def is_busy(event: Event) -> bool:
    """Whether an event says no more than that a session works."""
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
) -> Outcome:
    """Wait until a session is over, needs somebody, or the deadline has come; the state is always just read.

    A doubt whether it works at all is settled past the deadline, as far as the cancel scopes around the call leave
    time for that: then the verdict still has its doubt. `reported_error` is the error that OpenCode has told of since
    the prompt was sent; `known` holds the steps that were reported, and is added to.

    Raises:
        OpenCodeError: the session is unknown, or OpenCode cannot be reached.
    """
    watch = SessionWatch({session_id}, error=reported_error, known_subjects={} if known is None else known)
    stalled_since: float | None = None
    snapshot: SessionSnapshot | None = None
    waited = False
    with context.opencode.events.subscribe(watch.on_event):
        while True:
            started, previous = anyio.current_time(), snapshot
            snapshot = await refresh_snapshot(context, session_id, snapshot, watch)
            status = await classify_across_processes(context, snapshot, previous_prompt_id, previous, watch)
            if status.state != "running" and waited:
                _, snapshot = await gather(
                    partial(backfill_steps, context, snapshot, watch),
                    partial(refresh_session, context.opencode, snapshot),
                )
                assert snapshot is not None
            await report_steps(context, snapshot, watch)
            if status.state != "running":
                return Outcome(snapshot, status)
            now = anyio.current_time()
            # A look tells how it was at its beginning: only from one to the other a doubt has been seen to stay.
            stalled_since = None if status.stalled_reason is None else stalled_since or started
            stalled_limit = stalled_limit_of(snapshot, status, watch)
            if stalled_since is not None and started - stalled_since >= stalled_limit:
                context.opencode.server.set_active(session_id, active=False)
                if status.note is None:
                    return Outcome(snapshot, fail_stalled(snapshot, status, watch))
                status = replace(status, stalled_reason=None)
                await context.report_progress(status.note or "")
            wait_until, limit = next_read_time(
                context, deadline, now, stalled_since, None if status.stalled_reason is None else stalled_limit
            )
            if now >= wait_until:
                return Outcome(snapshot, status)
            with anyio.CancelScope(deadline=limit):
                await wait_for_wakeup(context, snapshot, watch)
            waited = True


async def refresh_snapshot(
    context: Context, session_id: str, snapshot: SessionSnapshot | None, watch: SessionWatch
) -> SessionSnapshot:
    """Read a session, given what was read before, and note in the watch what was found."""
    watch.read_requested = watch.busy_reported = False
    watch.wakeup = anyio.Event()
    started = anyio.current_time()
    snapshot = await read_snapshot(context.opencode, session_id, snapshot)
    watch.family.update(snapshot.family)
    watch.busy = snapshot.busy
    watch.was_busy |= snapshot.busy
    if snapshot.busy and watch.error is not None and started - watch.error.received >= ERROR_STALLED_SECONDS:
        watch.error = None  # it ended nothing
    return snapshot


def stalled_limit_of(snapshot: SessionSnapshot, status: TaskStatus, watch: SessionWatch) -> float:
    """Return how many seconds a doubt must last to count.

    OpenCode reports the error of a reply that breaks off before the reply has it, and stores its files before that.
    """
    if status.note is not None:
        return OTHER_PROCESS_SECONDS
    return ERROR_STALLED_SECONDS if watch.error and not is_incomplete(snapshot.newest_message) else STALLED_SECONDS


def next_read_time(
    context: Context, deadline: float, now: float, stalled_since: float | None, stalled_limit: float | None
) -> tuple[float, float]:
    """Return when the wait must end, and when to look again without any event; `stalled_limit` None is no doubt.

    A doubt is settled even past the deadline: "running" may not be said of what does not run.
    """
    if stalled_since is None or stalled_limit is None:
        pause = POLL_SECONDS * (
            1 if stalled_since else max(1, context.opencode.events.listener_count / FULL_RATE_LISTENERS)
        )
        return deadline, min(deadline, now + pause)
    wait_until = max(deadline, now + seconds_left() - REPORT_MARGIN_SECONDS)
    return wait_until, min(wait_until, now + POLL_SECONDS, stalled_since + stalled_limit)


async def classify_across_processes(
    context: Context,
    snapshot: SessionSnapshot,
    previous_prompt_id: str | None,
    previous: SessionSnapshot | None,
    watch: SessionWatch,
) -> TaskStatus:
    """Judge a session; where the turn may be another process's than this OpenCode's, ask about that as well.

    A prompt that was sent here (`previous_prompt_id` is known), and a turn that was seen to work or to fail here, is
    not.
    """
    status = classify(snapshot, previous_prompt_id)
    if status.stalled_reason is None or previous_prompt_id is not None or watch.error or watch.was_busy:
        return status
    return replace(status, note=await describe_other_process(context.opencode, snapshot, previous))


def fail_stalled(snapshot: SessionSnapshot, status: TaskStatus, watch: SessionWatch) -> TaskStatus:
    """Return the verdict of a session whose doubt stays."""
    reason = f"{status.stalled_reason}; {describe_last_write(snapshot)}"
    return TaskStatus("failed", error=watch.error.text if watch.error else reason, stalled_reason=status.stalled_reason)


def is_incomplete(newest: Message | None) -> bool:
    """Whether the newest message is a reply that is neither complete nor has an error."""
    return newest is not None and newest.info.role == "assistant" and newest.info.time.completed is None


async def wait_for_wakeup(context: Context, snapshot: SessionSnapshot, watch: SessionWatch) -> None:
    """Report what the session does until there is a reason to look."""
    while not watch.needs_read:
        await watch.wakeup.wait()
        watch.wakeup = anyio.Event()
        if watch.steps:
            await report_steps(context, snapshot, watch)


async def backfill_steps(context: Context, snapshot: SessionSnapshot, watch: SessionWatch) -> None:
    """Note the steps whose events have not come: the end of a turn can overtake them, or the stream was cut."""
    for message in await read_newest_messages(context.opencode, snapshot.session.id, BACKFILL_MESSAGES):
        if (
            message.info.role == "assistant"
            and snapshot.newest_message
            and message.user_message_id == snapshot.newest_message.user_message_id
        ):
            for part in message.parts:
                if part.id not in watch.known_subjects:
                    watch.add_step(part)


async def report_steps(context: Context, snapshot: SessionSnapshot, watch: SessionWatch) -> None:
    """Report each step that a session has taken since, what it does now, and what it has cost so far."""
    usage = f"{snapshot.session.tokens.total} tokens, ${snapshot.session.cost:.2f}"
    steps, watch.steps = watch.steps, []
    for step in steps:
        await context.report_progress(f"{step} [{usage}]")
    if snapshot.busy or watch.activity:
        retrying = any(status.type == "retry" for status in snapshot.statuses.values())
        await context.report_progress(
            f"{describe_activity(snapshot) if retrying or not watch.activity else watch.activity} [{usage}]"
        )


async def wait_and_reply(
    context: Context,
    session_id: str,
    previous_prompt_id: str | None,
    deadline: float,
    state: Any,
    reported_error: ReportedError | None = None,
) -> Outcome:
    """Settle a session, answering what it asks where its policy or its user can answer; `reported_error` is as in
    `wait_until_settled`.
    """
    known: dict[str, str] = {}
    async with context.for_session(session_id) as session_context:
        while True:
            outcome = await wait_until_settled(
                session_context, session_id, previous_prompt_id, deadline, reported_error, known
            )
            if not outcome.snapshot.pending:
                return outcome
            response = await reply_by_policy(session_context, outcome.snapshot, deadline, state)
            if not response.answered:
                return replace(outcome, status=replace(outcome.status, note=response.note))
