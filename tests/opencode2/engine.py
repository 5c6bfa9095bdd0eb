"""A process of OpenCode 2: what it runs, and what is lost with it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup

from .events import Events
from .jobs import Jobs
from .model_call import ModelCall, ModelError, Reply, to_chat
from .project import Project, compare
from .requests import Requests
from .rules import Declined
from .step import Step
from .store import NO_TOKENS, Json, Session, Store, new_id, now
from .tools import ToolRun


@dataclass(frozen=True)
class Options:
    """How the fake behaves where that differs between tests. `config` is in V1's form, for every directory."""

    config: Json
    retry_seconds: tuple[float, ...] = (2, 4, 8, 10, 10, 10, 10, 10, 10, 10)
    idle_between_turns: bool = False
    folder: Path = Path("/tmp")


@dataclass(eq=False)
class Execution:
    """A busy period of a session: `runs` are the calls of tools that run."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)
    runs: list[ToolRun] = field(default_factory=list[ToolRun])
    compacted: bool = False


@dataclass(eq=False)
class Engine:
    """What a process holds in memory. Facts, running: only its own executions are active."""

    store: Store
    events: Events
    tasks: TaskGroup
    options: Options
    active: dict[str, Execution] = field(default_factory=dict[str, Execution])
    environments: dict[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    shells: dict[str, Any] = field(default_factory=dict[str, Any])
    known_projects: dict[str, Path] = field(default_factory=dict[str, Path])
    ended: bool = False

    def __post_init__(self) -> None:
        self.requests = Requests(self)
        self.jobs = Jobs(self)

    def project(self, where: Session | str) -> Project:
        """Return the location of a session or a directory."""
        return Project(Path(where if isinstance(where, str) else where.directory), self.options.config)

    def environment(self, session: Session) -> Mapping[str, str]:
        """Return the environment of a session's commands. Facts, prompt: what is set replaces all of it."""
        return self.environments.get(session.id, os.environ)

    def model_url(self, model: Json) -> str:
        """Return where a model is served."""
        return self.options.config["provider"][model["providerID"]]["options"]["baseURL"]

    def cost(self, model: Json, sent: int, received: int) -> float:
        """Return what a call costs; prices are for a million tokens."""
        [price] = model["cost"]
        return (sent * price["input"] + received * price["output"]) / 1_000_000

    def take_snapshot(self, session: Session) -> str | None:
        """Store the state of a session's files; return its id, None where there are no snapshots."""
        snapshot = self.project(session).take_snapshot()
        if snapshot is None:
            return None
        key = hashlib.sha1(json.dumps(snapshot, sort_keys=True).encode()).hexdigest()
        self.store.snapshots[key] = snapshot
        return key

    def compare(self, start: str, end: str, context: int = 3) -> list[Json]:
        """Return what changed between two snapshots."""
        return compare(self.store.snapshots[start], self.store.snapshots[end], context)

    # Sessions

    def create_session(self, directory: str, **fields: Any) -> Session:
        """Create a session. Recorded: `agent`, `model` and `title` are absent until they are set or used."""
        info: Json = {
            "id": new_id("ses"),
            "projectID": self.project(directory).id,
            "cost": 0,
            "tokens": NO_TOKENS,
            "time": {"created": now(), "updated": now()},
            "location": {"directory": directory},
            **fields,
        }
        session = Session(info)
        self.store.sessions[session.id] = session
        known = ("projectID", "location", "title", "agent", "model", "metadata", "permissions", "parentID")
        created = {name: info[name] for name in known if name in info}
        self.events.publish("session.created", session, slug="fake", version="2.1.2", **created)
        return session

    def create_child(self, parent: Session, agent: str, title: str) -> Session:
        """Create the session of a subagent. Facts, subagents: it inherits location, metadata and permissions."""
        own_model = any(item["id"] == agent and "model" in item for item in self.project(parent).agents())
        names = ("metadata", "permissions") if own_model else ("model", "metadata", "permissions")
        inherited = {name: parent.info[name] for name in names if name in parent.info}
        return self.create_session(parent.directory, parentID=parent.id, agent=agent, title=title, **inherited)

    def remove_session(self, session: Session) -> None:
        """Remove a session and its children. Facts, operations."""
        for member in [*self.store.family(session.id)]:
            self.interrupt(member)
            self.events.publish("session.deleted", member)
            del self.store.sessions[member.id]

    def save_permissions(self, session: Session, request: Json) -> None:
        """Store what "always" allows. Facts, permissions: for the whole project, until it is removed."""
        for resource in request.get("save", request["resources"]):
            item = {"projectID": session.info["projectID"], "action": request["action"], "resource": resource}
            self.store.saved.append({"id": new_id("psv"), **item, "time": {"created": now(), "updated": now()}})

    # The inbox

    async def admit_text(self, session: Session, text: str) -> Json:
        """Admit a prompt that the process itself makes."""
        return self.admit(session, "user", {"text": text})

    async def admit_synthetic(self, session: Session, text: str, metadata: Json, description: str) -> Json:
        """Admit a text that no user wrote."""
        payload = {"text": text, "description": description, "metadata": metadata}
        return self.admit(session, "synthetic", payload)

    def admit(
        self,
        session: Session,
        kind: str,
        payload: Json,
        delivery: str = "steer",
        message_id: str | None = None,
        resume: bool = True,
    ) -> Json:
        """Put something into the inbox, and wake the session. Facts, prompt: it is only admitted."""
        item: Json = {
            "id": message_id or new_id("msg"),
            "sessionID": session.id,
            "time": {"created": now()},
            "type": kind,
            "payload": payload,
            "delivery": delivery,
        }
        session.inbox.append(item)
        event_item = {name: item[name] for name in ("type", "payload", "delivery")}
        self.events.publish("session.inbox.enqueued", session, inboxID=item["id"], item=event_item)
        if resume:
            self.wake(session)
        else:
            session.parked.add(item["id"])
        return item

    def take(self, session: Session, delivery: str) -> list[Json]:
        """Take what is delivered next: all that steers, or the oldest that is queued."""
        found = [item for item in session.inbox if item["id"] not in session.parked and item["delivery"] == delivery]
        taken = found if delivery == "steer" else found[:1]
        for item in taken:
            session.inbox.remove(item)
        return taken

    async def deliver(self, session: Session, execution: Execution, items: list[Json]) -> bool:
        """Move items of the inbox into the conversation; return whether the model must answer."""
        for item in items:
            self.events.publish("session.inbox.delivered", session, inboxID=item["id"])
            if item["type"] == "compaction":
                await self.compact(session, "manual")
            else:
                message = {"id": item["id"], "type": item["type"], "time": {"created": now()}, **item["payload"]}
                session.messages.append(message)
        return any(item["type"] != "compaction" for item in items)

    # Executions

    def wake(self, session: Session) -> None:
        """Run a session that has something to do and does not run."""
        if session.id not in self.active and not self.ended:
            self.active[session.id] = execution = Execution()
            self.tasks.start_soon(self.execute, session, execution)

    async def execute(self, session: Session, execution: Execution) -> None:
        """Run a busy period. Facts, running: nothing is recorded when the process ends."""
        outcome, error = "succeeded", None
        self.events.publish("session.execution.started", session)
        try:
            with execution.scope:
                await self.drain(session, execution)
            if execution.scope.cancelled_caught:
                outcome = "interrupted"
        except ModelError as reason:
            outcome, error = "failed", reason.error
        except Declined:
            outcome = "interrupted"
        self.finish(session, execution, outcome, error)

    def finish(self, session: Session, execution: Execution, outcome: str, error: Json | None) -> None:
        """Record the end of a busy period. Facts, running: one idle message, the outcome, a durable event."""
        if not execution.scope.cancelled_caught and outcome != "succeeded":
            session.parked |= {item["id"] for item in session.inbox}
        self.active.pop(session.id)
        execution.ended.set()
        if session.id not in self.store.sessions:
            return
        self.add_idle(session, outcome, error)
        more: Json = {"error": error} if error else {"reason": "user"} if outcome == "interrupted" else {}
        self.events.publish(f"session.execution.{outcome}", session, **more)
        if any(item["id"] not in session.parked for item in session.inbox):
            self.wake(session)

    def add_idle(self, session: Session, outcome: str, error: Json | None = None) -> None:
        """Add the idle message of a turn."""
        message: Json = {"id": new_id("msg"), "type": "idle", "outcome": outcome, "time": {"created": now()}}
        session.messages.append({**message, "error": error} if error else message)
        session.info["outcome"] = outcome
        session.info["time"] |= {"idle": now(), "updated": now()}

    async def drain(self, session: Session, execution: Execution) -> None:
        """Run one turn after another until the inbox is empty; what was parked comes last."""
        is_first = not any(message["type"] in ("user", "synthetic") for message in session.messages)
        while True:
            items = self.take(session, "steer") or self.take(session, "queue")
            if not items and session.parked:
                session.parked.clear()
                continue
            if not items:
                return
            if is_first:
                self.events.publish("session.instructions.updated", session, delta={})
            elif self.options.idle_between_turns and session.messages[-1]["type"] == "assistant":
                self.add_idle(session, "succeeded")
            needs_turn = await self.deliver(session, execution, items)
            if is_first:
                self.begin_title(session)
            is_first = False
            if needs_turn:
                await self.run_turn(session, execution)

    def begin_title(self, session: Session) -> None:
        """Make a title beside the first turn. Recorded: that comes after the instructions and the delivery."""
        disabled = self.project(session).config.get("agent", {}).get("title", {}).get("disable", False)
        if "title" not in session.info and not disabled:
            self.tasks.start_soon(self.make_title, session)

    async def run_turn(self, session: Session, execution: Execution) -> None:
        """Run steps until the model calls no tool. Facts, prompt: what steers is delivered between two steps."""
        needs_step = True
        while needs_step:
            try:
                needs_step = await Step(self, session, execution, self.resolve_model(session)).run()
            except ModelError as error:
                if not error.is_overflow or not self.may_compact(session, execution):
                    raise
                execution.compacted = True
                await self.compact(session, "auto")
            if await self.deliver(session, execution, self.take(session, "steer")):
                needs_step = True

    def may_compact(self, session: Session, execution: Execution) -> bool:
        """Whether a conversation that is too long is compacted: once for each busy period, unless that is off."""
        auto: bool = self.project(session).config.get("compaction", {}).get("auto", True)
        return auto and not execution.compacted

    def resolve_model(self, session: Session) -> Json:
        """Return the model that answers: the session's, its agent's, or the location's default.

        Raises:
            ModelError: there is none. Facts, create: the turn fails without an assistant message.
        """
        project = self.project(session)
        agent = session.info.setdefault("agent", project.config.get("default_agent", "build"))
        agents = {item["id"]: item for item in project.agents()}
        ref: Json | None = session.info.get("model") or agents.get(agent, {}).get("model") or project.default_model()
        model = project.find_model(ref) if ref is not None else None
        if model is None:
            raise ModelError({"type": "provider.no-route", "message": f"no route for model {json.dumps(ref)}"})
        session.info.setdefault("model", ref)
        return model

    async def ask_model(self, session: Session, system: str, messages: list[Json]) -> tuple[str, float, Json]:
        """Ask the model for a text beside the conversation; return it with its cost and tokens."""
        model, reply = self.resolve_model(session), Reply()
        call = ModelCall(self.model_url(model), model["id"], to_chat(messages, system))
        async for _ in call.stream(reply):
            pass
        sent, received = reply.usage.get("prompt_tokens", 0), reply.usage.get("completion_tokens", 0)
        tokens = {**NO_TOKENS, "input": sent, "output": received}
        cost = self.cost(model, sent, received)
        session.add_usage(cost, tokens)
        return reply.text, cost, tokens

    async def make_title(self, session: Session) -> None:
        """Give a session its title. Facts, create: it comes in the first turn, and its cost counts."""
        try:
            title, cost, tokens = await self.ask_model(session, "You are a title generator.", [*session.messages])
        except ModelError:
            return
        if session.id not in self.store.sessions:
            return
        self.events.publish("session.usage.recorded", session, source="title", cost=cost, tokens=tokens)
        session.info["title"] = title
        self.events.publish("session.renamed", session, title=title)

    async def compact(self, session: Session, reason: str) -> None:
        """Replace what was said by a summary. Facts, compaction: the result is a message.

        Raises:
            ModelError: the model failed.
        """
        message: Json = {"id": new_id("msg"), "type": "compaction", "status": "running", "reason": reason}
        message |= {"summary": "", "time": {"created": now()}}
        earlier = [*session.messages]
        session.messages.append(message)
        self.events.publish("session.compaction.started", session, reason=reason)
        system = "You are a context summarization agent."
        text, cost, tokens = await self.ask_model(session, system, earlier)
        message |= {"status": "completed", "summary": text, "cost": cost, "tokens": tokens}
        self.events.publish("session.compaction.ended", session, reason=reason, text=text, cost=cost, tokens=tokens)

    def interrupt(self, session: Session, resume: bool = False) -> bool:
        """Interrupt a session; return whether it ran. Facts, interrupt: what is in the inbox is parked."""
        execution = self.active.get(session.id)
        if execution is None or self.ended:
            return False
        kept = {item["id"] for item in session.inbox if resume and item["delivery"] == "steer"}
        session.parked |= {item["id"] for item in session.inbox} - kept
        execution.scope.cancel()
        return True

    def detach_calls(self, session: Session) -> None:
        """Let the calls that run go on in the background."""
        execution = self.active.get(session.id)
        for run in execution.runs if execution is not None else []:
            run.detached.set()

    async def wait_until_idle(self, session: Session) -> None:
        """Wait until a session does not run."""
        while execution := self.active.get(session.id):
            await execution.ended.wait()
