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

from opencode_mcp.opencode.background import gather
from opencode_mcp.opencode.deadline import seconds_left
from opencode_mcp.opencode.error_words import describe_error
from opencode_mcp.opencode.events import Event, event_session_id
from opencode_mcp.opencode.models import Message, Part

from .activity import activity
from .answer import respond
from .context import Context
from .elsewhere import STAYS_SECONDS, elsewhere, since
from .report import doing, newest_messages
from .truth import Truth, Verdict, judge, look, renewed

LOOK_SECONDS = 3.0
"""How often to look without any event."""

AS_OFTEN = 10
"""So many listeners look as often as that, and of more each less often: else OpenCode would do little else."""

DOUBT_SECONDS = 10.0
"""How long a session may do nothing about a prompt before that counts as a failure; 1.3 s were seen."""

ERROR_SECONDS = 2.0
"""How long when OpenCode has told of an error: it tells of some that end nothing, as a file that cannot be read."""

REPORT_SECONDS = 0.6
"""How long before the caller's time limit a doubt is left open, so that the report is in time."""

CAUGHT_UP_MESSAGES = 20
"""How many of a turn's newest messages are looked at for steps that nothing has told of."""

TELLING = frozenset(
    {
        "stream.connected",
        "stream.heard",
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

GOES_ON = frozenset({"session.status", "message.updated"})
"""Those that may say no more than that a session works."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a wait for one session ended."""

    truth: Truth
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ToldError:
    """The text of a session.error event, and when it was received (anyio.current_time())."""

    words: str
    at: float

    @classmethod
    def of(cls, event: Event) -> ToldError:
        """Return that of a session.error event."""
        return cls(error_text(event), anyio.current_time())


@dataclass
class Watch:
    """Hears the events of one session's family; `stirred` is set when something is to be done.

    `look` is whether something told a reason to look, `at_work` whether something told that it works, `busy`
    whether it was found so, and `worked` whether it ever was; `steps` are what it did since that was told last;
    `known` the newest step of each part of a message, by the part's id.
    """

    family: set[str]
    prompts: set[str] = field(default_factory=set[str])
    stirred: anyio.Event = field(default_factory=anyio.Event)
    look: bool = True
    at_work: bool = False
    busy: bool = False
    worked: bool = False
    activity: str = ""
    steps: list[str] = field(default_factory=list[str])
    known: dict[str, str] = field(default_factory=dict[str, str])
    error: ToldError | None = None

    def notice(self, event: Event) -> None:
        """Take note of an event."""
        kind: str = event["type"]
        about = event_session_id(event)
        if about is None or about in self.family or parent_of(event) in self.family:
            if about is not None and kind == "session.created":
                self.family.add(about)
            if kind == "session.error" and about in self.family:
                self.error = ToldError.of(event)
            if kind == "message.updated" and event["properties"]["info"]["role"] == "user":
                self.prompts.add(event["properties"]["info"]["id"])
            if kind == "message.part.updated" and event["properties"]["part"]["messageID"] not in self.prompts:
                self.step(Part.model_validate(event["properties"]["part"]))
            if kind in GOES_ON and is_busy(event):
                self.at_work = True
            elif kind in TELLING:
                self.look = True
            self.stirred.set()

    @property
    def due(self) -> bool:
        """Whether there is a reason to look: that it works is none when it was found at work."""
        return self.look or (self.at_work and not self.busy)

    def step(self, part: Part) -> None:
        """Keep what a part says until it is reported. OpenCode sends parts again unchanged at the end of a turn."""
        step = activity([part])
        if step and step != self.known.get(part.id):
            self.known[part.id] = step
            if step != self.activity:
                self.activity = step
                self.steps.append(step)


def is_busy(event: Event) -> bool:
    """Whether an event says no more than that a session works."""
    status: dict[str, Any] = event["properties"].get("status") or {"type": "busy"}
    return status["type"] == "busy"


def parent_of(event: Event) -> str | None:
    """Return the parent of the session that an event announces."""
    info: dict[str, Any] = event.get("properties", {}).get("info") or {}
    return info.get("parentID")


def error_text(event: Event) -> str:
    """Return the words of a session.error event."""
    error: dict[str, Any] = event["properties"].get("error") or {}
    words = describe_error(str(error.get("name") or ""), error.get("data") or {})
    return f"{words}\n{words.advice}" if words.advice else str(words)


async def settle(
    context: Context,
    session_id: str,
    after: str | None,
    deadline: float,
    told: ToldError | None = None,
    known: dict[str, str] | None = None,
) -> Outcome:
    """Wait until a session is over, needs somebody, or the deadline has come; the state is always just read.

    A doubt whether it works at all is settled past the deadline, as far as the cancel scopes around the call leave
    time for that: then the verdict still has its doubt. `told` is the error that OpenCode has told of since the
    prompt was sent; `known` holds the steps that were reported, and is added to.

    Raises:
        OpenCodeError: the session is unknown, or OpenCode cannot be reached.
    """
    watch = Watch({session_id}, error=told, known={} if known is None else known)
    doubted: float | None = None
    truth: Truth | None = None
    waited = False
    with context.opencode.events.subscribe(watch.notice):
        while True:
            began, before = anyio.current_time(), truth
            truth = await look_again(context, session_id, truth, watch)
            verdict = await classify(context, truth, after, before, watch)
            if verdict.state != "running" and waited:
                _, truth = await gather(
                    partial(catch_up, context, truth, watch), partial(renewed, context.opencode, truth)
                )
                assert truth is not None
            await tell(context, truth, watch)
            if verdict.state != "running":
                return Outcome(truth, verdict)
            now = anyio.current_time()
            # A look tells how it was at its beginning: only from one to the other a doubt has been seen to stay.
            doubted = None if verdict.doubt is None else doubted or began
            patience = patience_with(truth, verdict, watch)
            if doubted is not None and began - doubted >= patience:
                context.opencode.server.set_active(session_id, active=False)
                if verdict.note is None:
                    return Outcome(truth, failed(truth, verdict, watch))
                verdict = replace(verdict, doubt=None)
                await context.report_progress(verdict.note or "")
            until, limit = time_to_look(context, deadline, now, doubted, None if verdict.doubt is None else patience)
            if now >= until:
                return Outcome(truth, verdict)
            with anyio.CancelScope(deadline=limit):
                await stirred(context, truth, watch)
            waited = True


async def look_again(context: Context, session_id: str, truth: Truth | None, watch: Watch) -> Truth:
    """Read a session, given what was read before, and note in the watch what was found."""
    watch.look = watch.at_work = False
    watch.stirred = anyio.Event()
    began = anyio.current_time()
    truth = await look(context.opencode, session_id, truth)
    watch.family.update(truth.family)
    watch.busy = truth.busy
    watch.worked |= truth.busy
    if truth.busy and watch.error is not None and began - watch.error.at >= ERROR_SECONDS:
        watch.error = None  # it ended nothing
    return truth


def patience_with(truth: Truth, verdict: Verdict, watch: Watch) -> float:
    """Return how many seconds a doubt must last to count.

    OpenCode reports the error of a reply that breaks off before the reply has it, and stores its files before that.
    """
    if verdict.note is not None:
        return STAYS_SECONDS
    return ERROR_SECONDS if watch.error and not is_incomplete(truth.newest) else DOUBT_SECONDS


def time_to_look(
    context: Context, deadline: float, now: float, doubted: float | None, patience: float | None
) -> tuple[float, float]:
    """Return when the wait must end, and when to look again without any event; `patience` None is no doubt.

    A doubt is settled even past the deadline: "running" may not be said of what does not run.
    """
    if doubted is None or patience is None:
        pause = LOOK_SECONDS * (1 if doubted else max(1, context.opencode.events.listener_count / AS_OFTEN))
        return deadline, min(deadline, now + pause)
    until = max(deadline, now + seconds_left() - REPORT_SECONDS)
    return until, min(until, now + LOOK_SECONDS, doubted + patience)


async def classify(context: Context, truth: Truth, after: str | None, before: Truth | None, watch: Watch) -> Verdict:
    """Judge a session; where the turn may be another process's than this OpenCode's, ask about that as well.

    A prompt that was sent here (`after` is known), and a turn that was seen to work or to fail here, is not.
    """
    verdict = judge(truth, after)
    if verdict.doubt is None or after is not None or watch.error or watch.worked:
        return verdict
    return replace(verdict, note=await elsewhere(context.opencode, truth, before))


def failed(truth: Truth, verdict: Verdict, watch: Watch) -> Verdict:
    """Return the verdict of a session whose doubt stays."""
    doubt = f"{verdict.doubt}; {since(truth)}"
    return Verdict("failed", error=watch.error.words if watch.error else doubt, doubt=verdict.doubt)


def is_incomplete(newest: Message | None) -> bool:
    """Whether the newest message is a reply that is neither complete nor has an error."""
    return newest is not None and newest.info.role == "assistant" and newest.info.time.completed is None


async def stirred(context: Context, truth: Truth, watch: Watch) -> None:
    """Report what the session does until there is a reason to look."""
    while not watch.due:
        await watch.stirred.wait()
        watch.stirred = anyio.Event()
        if watch.steps:
            await tell(context, truth, watch)


async def catch_up(context: Context, truth: Truth, watch: Watch) -> None:
    """Note the steps whose events have not come: the end of a turn can overtake them, or the stream was cut."""
    for message in await newest_messages(context.opencode, truth.session.id, CAUGHT_UP_MESSAGES):
        if (
            message.info.role == "assistant"
            and truth.newest
            and message.user_message_id == truth.newest.user_message_id
        ):
            for part in message.parts:
                if part.id not in watch.known:
                    watch.step(part)


async def tell(context: Context, truth: Truth, watch: Watch) -> None:
    """Report each step that a session has taken since, what it does now, and what it has cost so far."""
    spent = f"{truth.session.tokens.total} tokens, ${truth.session.cost:.2f}"
    steps, watch.steps = watch.steps, []
    for step in steps:
        await context.report_progress(f"{step} [{spent}]")
    if truth.busy or watch.activity:
        retrying = any(status.type == "retry" for status in truth.statuses.values())
        await context.report_progress(f"{doing(truth) if retrying or not watch.activity else watch.activity} [{spent}]")


async def attend(
    context: Context, session_id: str, after: str | None, deadline: float, state: Any, told: ToldError | None = None
) -> Outcome:
    """Settle a session, answering what it asks where its policy or its user can answer; `told` is as in `settle`."""
    known: dict[str, str] = {}
    async with context.for_session(session_id) as there:
        while True:
            outcome = await settle(there, session_id, after, deadline, told, known)
            if not outcome.truth.pending:
                return outcome
            response = await respond(there, outcome.truth, deadline, state)
            if not response.answered:
                return replace(outcome, verdict=replace(outcome.verdict, note=response.note))
