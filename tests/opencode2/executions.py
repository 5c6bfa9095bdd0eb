"""Executions: the busy periods of sessions. Source: the coordinator of runs, the runner and the inbox.

A busy period goes on until the inbox has nothing more that it may deliver. It begins and ends with one event, and
leaves one idle message. What steers is delivered before the next step; what is queued, one at a time, when there is no
step left to do. There is no mark on what stays in the inbox: any later wake delivers it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import anyio

from .model_call import ModelError
from .rules import Declined
from .step import Step
from .store import Json, Session, new_id, now
from .tools import ToolRun

if TYPE_CHECKING:
    from .engine import Engine

Scope = Literal["input", "steer"]
"""What a busy period may deliver: `input` is all, `steer` leaves what is queued."""


@dataclass(eq=False)
class Execution:
    """A busy period: `runs` are the calls of tools that run, `woken` whether it must look into the inbox again."""

    delivers: Scope = "input"
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)
    runs: list[ToolRun] = field(default_factory=list[ToolRun])
    compacted: bool = False
    woken: bool = False
    resumes: bool = False


@dataclass(eq=False)
class Executions:
    """The busy periods of a process. Facts, running: only these are active, and they end with the process."""

    engine: Engine
    active: dict[str, Execution] = field(default_factory=dict[str, Execution])

    def wake(self, session: Session, delivers: Scope = "input") -> None:
        """Start a busy period, or have the one that runs look into the inbox again before it ends."""
        if self.engine.ended:
            return
        if session.id in self.active:
            self.active[session.id].woken = True
        else:
            self.start(session, delivers)

    def start(self, session: Session, delivers: Scope) -> None:
        """Start a busy period."""
        self.active[session.id] = execution = Execution(delivers)
        self.engine.tasks.start_soon(self.execute, session, execution)

    async def execute(self, session: Session, execution: Execution) -> None:
        """Run a busy period. Facts, running: nothing is recorded when the process ends."""
        outcome, error = "succeeded", None
        self.engine.events.publish("session.execution.started", session)
        try:
            with execution.scope:
                await self.drain_again(session, execution)
            if execution.scope.cancelled_caught:
                outcome = "interrupted"
        except ModelError as reason:
            outcome, error = "failed", reason.error
        except Declined:
            outcome = "interrupted"
        self.finish(session, execution, outcome, error)

    def finish(self, session: Session, execution: Execution, outcome: str, error: Json | None) -> None:
        """Record the end of a busy period. Source: what came during one that failed begins the next."""
        del self.active[session.id]
        if session.id in self.engine.store.sessions:
            self.add_idle(session, outcome, error)
            more: Json = {"error": error} if error else {"reason": "user"} if outcome == "interrupted" else {}
            self.engine.events.publish(f"session.execution.{outcome}", session, **more)
            if execution.woken:
                self.start(session, "input")
            elif execution.resumes:
                self.start(session, "steer")
        execution.ended.set()

    def add_idle(self, session: Session, outcome: str, error: Json | None = None) -> None:
        """Add the idle message of a busy period."""
        message: Json = {"id": new_id("msg"), "type": "idle", "outcome": outcome, "time": {"created": now()}}
        session.messages.append({**message, "error": error} if error else message)
        session.info["outcome"] = outcome
        session.info["time"] |= {"idle": now(), "updated": now()}

    async def drain_again(self, session: Session, execution: Execution) -> None:
        """Deliver what may be delivered, again if the session was woken meanwhile."""
        execution.woken = True
        while execution.woken:
            execution.woken = False
            await self.drain(session, execution)

    async def drain(self, session: Session, execution: Execution) -> None:
        """Run one turn after another until there is nothing to deliver."""
        self.settle_stale_calls(session)
        while True:
            if compaction := next_compaction(session, "input"):
                await self.compact(session, compaction)
                continue
            if not has_promotable(session, execution.delivers):
                return
            await self.run_turn(session, execution)

    async def run_turn(self, session: Session, execution: Execution) -> None:
        """Run steps until the model calls no tool and nothing steers. Facts, prompt."""
        delivers, needs_step = execution.delivers, True
        while needs_step or has_promotable(session, "steer"):
            while compaction := next_compaction(session, "steer"):
                await self.compact(session, compaction)
            self.deliver(session, [*promotable(session, delivers)])
            delivers, needs_step = "steer", await self.run_step(session, execution)

    async def run_step(self, session: Session, execution: Execution) -> bool:
        """Run a step; return whether another one follows.

        Raises:
            ModelError: the model failed.
            Declined: the user rejected a call.
        """
        try:
            return await Step(self.engine, session, execution, self.engine.resolve_model(session)).run()
        except ModelError as error:
            if not error.is_overflow or not self.engine.may_compact(session, execution):
                raise
        execution.compacted = True
        await self.engine.compact(session, "auto")
        return True

    def deliver(self, session: Session, items: list[Json]) -> None:
        """Move items of the inbox into the conversation. Recorded: the instructions come before the first one."""
        is_first = not any(message["type"] in ("user", "synthetic") for message in session.messages)
        if items and is_first:
            self.engine.events.publish("session.instructions.updated", session, delta={})
        for item in items:
            session.inbox.remove(item)
            self.engine.events.publish("session.inbox.delivered", session, inboxID=item["id"])
            message = {"id": item["id"], "type": item["type"], "time": {"created": now()}, **item["payload"]}
            session.messages.append(message)
        if items:
            self.engine.begin_title(session)

    async def compact(self, session: Session, item: Json) -> None:
        """Do a compaction that a client has asked for."""
        session.inbox.remove(item)
        self.engine.events.publish("session.inbox.delivered", session, inboxID=item["id"])
        await self.engine.compact(session, "manual")

    def settle_stale_calls(self, session: Session) -> None:
        """Fail the calls that an earlier process was running. Source: that is done when the session runs again."""
        for message in session.messages:
            for item in message.get("content", []):
                if item["type"] == "tool" and item["state"]["status"] in ("streaming", "running"):
                    self.fail_stale_call(session, message, item)

    def fail_stale_call(self, session: Session, message: Json, item: Json) -> None:
        """Fail a call that no process runs."""
        error = {"type": "aborted", "message": f"Tool execution interrupted: {item['name']}"}
        values = item["state"]["input"]
        item["state"] = {"status": "error", "input": values if isinstance(values, dict) else {}, "error": error}
        self.engine.events.publish(
            "session.tool.failed",
            session,
            assistantMessageID=message["id"],
            id=item["id"],
            error=error,
            executed=False,
        )

    def interrupt(self, session: Session, resume: bool = False) -> Execution | None:
        """Interrupt a session; return what ran. Source: a wake from before is forgotten, what comes later counts.

        Facts, interrupt: with `resume` what steers is delivered, what is queued stays in the inbox.
        """
        execution = self.active.get(session.id)
        if execution is None or self.engine.ended:
            return None
        if not execution.scope.cancel_called:
            execution.woken = False
            execution.resumes = resume and has_promotable(session, "steer")
            execution.scope.cancel()
        return execution

    def detach_calls(self, session: Session) -> None:
        """Let the calls that run go on in the background."""
        execution = self.active.get(session.id)
        for run in execution.runs if execution is not None else []:
            run.detached.set()

    async def wait_until_idle(self, session: Session) -> None:
        """Wait until a session does not run."""
        while execution := self.active.get(session.id):
            await execution.ended.wait()


def promotable(session: Session, delivers: Scope) -> Iterator[Json]:
    """Yield what is delivered next: all that steers, or the oldest that is queued."""
    steering = [item for item in session.inbox if item["delivery"] == "steer"]
    queued = [item for item in session.inbox if item["delivery"] == "queue"]
    for item in steering or (queued[:1] if delivers == "input" else []):
        if item["type"] == "compaction":
            return
        yield item


def has_promotable(session: Session, delivers: Scope) -> bool:
    """Whether something is delivered next."""
    return next(promotable(session, delivers), None) is not None


def next_compaction(session: Session, delivers: Scope) -> Json | None:
    """Return the compaction that comes next. Source: one that steers comes before any prompt."""
    steering = [item for item in session.inbox if item["delivery"] == "steer"]
    waiting = [item for item in steering if item["type"] == "compaction"]
    if not steering and delivers == "input":
        waiting = [item for item in session.inbox[:1] if item["type"] == "compaction"]
    return waiting[0] if waiting else None
