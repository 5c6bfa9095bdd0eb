"""The events of a process: one stream for all directories, and a durable log for each session."""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from tests.contract_server import Contract

from .store import Json, Session, new_id, now

MAX_BEHIND = 4096
"""Facts, events: a subscriber that is so many frames behind is cut."""


@dataclass(eq=False)
class Subscriber:
    """Receives events; those of one session's log have its id."""

    send: MemoryObjectSendStream[Json]
    session_id: str | None


@dataclass(eq=False)
class Events:
    """What a process publishes. Facts, events: nothing is replayed; the log of a session has what is durable.

    Every event is held to the schema of its type when it is published.
    """

    contract: Contract
    subscribers: list[Subscriber] = field(default_factory=list[Subscriber])

    def __post_init__(self) -> None:
        self.streamed = self.schemas_of("Event")
        self.schemas = {**self.schemas_of("SessionEventDurable"), **self.streamed}

    def schemas_of(self, union: str) -> dict[str, Json]:
        """Return the schemas of a union of events, by type."""
        definitions = self.contract.definitions
        names = [reference["$ref"].rpartition("/")[2] for reference in definitions[union]["anyOf"]]
        return {
            type_: definitions[name]
            for name in names
            for type_ in definitions[name]["properties"]["type"].get("enum", [])
        }

    def publish(self, type_: str, session: Session | None = None, directory: str | None = None, **data: Any) -> Json:
        """Publish an event of a session or a directory; what is durable is appended to the session's log."""
        schema = self.schemas[type_]
        event: Json = {"id": new_id("evt"), "created": now(), "type": type_, "data": json.loads(json.dumps(data))}
        if session is not None:
            directory = session.directory
            if type_.startswith("session."):
                event["data"] = {"sessionID": session.id, **event["data"]}
        if directory is not None:
            event["location"] = {"directory": directory}
        if "durable" in schema["properties"] and session is not None:
            session.sequence += 1
            version = self.durable_version(schema)
            event["durable"] = {"aggregateID": session.id, "seq": session.sequence, "version": version}
            session.log.append(event)
        self.contract.validator(schema).validate(event)
        for subscriber in [*self.subscribers]:
            if subscriber.session_id is None or (
                session and "durable" in event and session.id == subscriber.session_id
            ):
                self.send(subscriber, event)
        return event

    def is_logged(self, event: Json, session_id: str) -> bool:
        """Whether an event is in the log of a session."""
        return "durable" in event and event["durable"]["aggregateID"] == session_id

    def durable_version(self, schema: Json) -> int:
        """Return the version of a durable event's schema."""
        durable = self.contract.definitions[schema["properties"]["durable"]["$ref"].rpartition("/")[2]]
        version = self.contract.definitions[durable["properties"]["version"]["$ref"].rpartition("/")[2]]
        return version["enum"][0] if "enum" in version else version["const"]

    def send(self, subscriber: Subscriber, event: Json) -> None:
        """Send an event, and cut a subscriber that does not keep up or has gone."""
        try:
            subscriber.send.send_nowait(event)
        except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.cut(subscriber)

    def cut(self, subscriber: Subscriber) -> None:
        """End a subscriber's stream."""
        subscriber.send.close()
        if subscriber in self.subscribers:
            self.subscribers.remove(subscriber)

    def cut_all(self) -> None:
        """End every stream."""
        for subscriber in [*self.subscribers]:
            self.cut(subscriber)

    @contextmanager
    def subscribe(self, session_id: str | None = None) -> Generator[MemoryObjectReceiveStream[Json]]:
        """Receive what is published while the block lasts."""
        send, receive = anyio.create_memory_object_stream[Json](MAX_BEHIND if session_id is None else math.inf)
        subscriber = Subscriber(send, session_id)
        self.subscribers.append(subscriber)
        try:
            yield receive
        finally:
            self.cut(subscriber)
            receive.close()


def connected_event() -> Json:
    """Return the first event of a stream. Facts, events: it lacks `created`."""
    return {"id": new_id("evt"), "type": "server.connected", "data": {}}


def logged_items(session: Session, after: int) -> Iterator[Json]:
    """Yield what a log has after a sequence number, and then that it is complete."""
    yield from (event for event in session.log if event["durable"]["seq"] > after)
    yield {"type": "log.synced", "aggregateID": session.id, "seq": session.sequence}
