"""A process of OpenCode 2: what it runs, and what is lost with it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyio.abc import TaskGroup

from .events import Events
from .executions import Execution, Executions
from .jobs import Jobs
from .model_call import ModelCall, ModelError, Reply, to_chat
from .project import Project, compare
from .requests import Requests
from .store import NO_TOKENS, Json, Session, Store, new_id, now


@dataclass(frozen=True)
class Options:
    """How the fake behaves where that differs between tests. `config` is in V1's form, for every directory."""

    config: Json
    retry_seconds: tuple[float, ...] = (2, 4, 8, 10, 10, 10, 10, 10, 10, 10)
    folder: Path = Path("/tmp")


@dataclass(eq=False)
class Engine:
    """What a process holds in memory, beside what runs.

    `titled` are sessions that a title was made for. `empty_model_lists` is how many more times model.list is empty.
    Recorded: the first ones after a start can be.
    """

    store: Store
    events: Events
    tasks: TaskGroup
    options: Options
    environments: dict[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    shells: dict[str, Any] = field(default_factory=dict[str, Any])
    known_projects: dict[str, Path] = field(default_factory=dict[str, Path])
    titled: set[str] = field(default_factory=set[str])
    empty_model_lists: int = 0
    ended: bool = False

    def __post_init__(self) -> None:
        self.executions = Executions(self)
        self.requests = Requests(self)
        self.jobs = Jobs(self)

    def project(self, where: Session | str) -> Project:
        """Return the location of a session or a directory."""
        return Project(Path(where if isinstance(where, str) else where.directory), self.options.config)

    def environment(self, session: Session) -> Mapping[str, str]:
        """Return the environment of a session's commands. Facts, prompt: what is set replaces all of it."""
        return self.environments.get(session.id, os.environ)

    def model_url(self, session: Session, model: Json) -> str:
        """Return where a model of a session's location is served."""
        return self.project(session).config["provider"][model["providerID"]]["options"]["baseURL"]

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
            self.executions.interrupt(member)
            self.events.publish("session.deleted", member)
            del self.store.sessions[member.id]

    def save_permissions(self, session: Session, request: Json) -> None:
        """Store what "always" allows. Facts, permissions: for the whole project, until it is removed."""
        for resource in request["save"]:
            item = {"projectID": session.info["projectID"], "action": request["action"], "resource": resource}
            self.store.saved.append({"id": new_id("psv"), **item, "time": {"created": now(), "updated": now()}})

    # The inbox

    def admit_synthetic(self, session: Session, text: str, metadata: Json, description: str) -> Json:
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
            self.executions.wake(session)
        return item

    # The model

    def begin_title(self, session: Session) -> None:
        """Make a title beside a turn of a root session without one. Recorded: after the first delivery."""
        disabled = self.project(session).config.get("agent", {}).get("title", {}).get("disable", False)
        if "title" in session.info or session.parent_id is not None or session.id in self.titled or disabled:
            return
        self.titled.add(session.id)
        self.tasks.start_soon(self.make_title, session)

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
        call = ModelCall(self.model_url(session, model), model["id"], to_chat(messages, system))
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
