"""One event stream, shared by all listeners. It reconnects; OpenCode does not replay missed events.

So an event is a reason to read the state from the server and never the state itself: listeners read it after each event
about their session, after every reconnect, and at intervals.

OpenCode 1's /global/event covers all directories and survives a dispose; /event does neither. What a frame has is read
by the generation (`event_readers.py`): listeners get events in OpenCode 1's words.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from math import inf
from typing import Any, cast

import anyio
import httpx2
from anyio.abc import TaskGroup

from opencode_mcp.exceptions import OpenCodeError, UnexpectedResponse
from opencode_mcp.redaction import beginning_of

from .concurrency import background_task_group
from .event_readers import ReadFrame
from .models import VALUE_CHARS
from .responses import TRACE_MARK, strip_stack_traces

Event = Mapping[str, Any]
"""`{"type", "properties", …}` in the words of OpenCode 1, from OpenCode, or
`{"type": "stream.connected" | "stream.ready" | "stream.lost"}` from this module.

Events between "connected" and "ready" may be missing.
"""

Listener = Callable[[Event], None]
"""Called with every event; must return without blocking."""

MAX_EVENT_BYTES = 64 * 1024 * 1024
"""One event may contain a whole reply: a reply of 5 MB ends with a frame of 5 MB."""

SILENCE_SECONDS = 25.0
"""OpenCode 1 sends an event every 10 s as a heartbeat, OpenCode 2 a comment every 15 s; a silent stream is lost."""

SUBSCRIBE_LAG_SECONDS = 0.3
"""OpenCode 1.18.33 sends server.connected up to 50 ms before it subscribes to its own events; 2.x is not measured."""

RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0)

LINGER_SECONDS = 5.0
"""How long a stream stays open without listeners: the next task begins with it, and need not wait until it is ready."""

log = logging.getLogger(__name__)


class EventFeed:
    """Reads the stream while there are listeners: opened for the first, closed LINGER_SECONDS after the last, or when
    it ends without any.

    `connect` opens a stream whose reads fail after SILENCE_SECONDS; `read_frames` returns the reader of a connection.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[httpx2.Response]],
        tasks: TaskGroup,
        read_frames: Callable[[], ReadFrame],
    ) -> None:
        self._connect = connect
        self._read_frames = read_frames
        self._tasks = tasks
        self._listeners: dict[int, Listener] = {}
        self._next_key = 0
        self._read_scope: anyio.CancelScope | None = None

    @property
    def listener_count(self) -> int:
        """The number of listeners."""
        return len(self._listeners)

    @contextmanager
    def subscribe(self, listener: Listener) -> Generator[None]:
        """Call `listener` with every event while the block lasts."""
        if self._read_scope is None or self._read_scope.cancel_called:
            scope = anyio.CancelScope()
            self._tasks.start_soon(self._run, scope)
            self._read_scope = scope
        self._read_scope.deadline = inf
        key, self._next_key = self._next_key, self._next_key + 1
        self._listeners[key] = listener
        try:
            yield
        finally:
            del self._listeners[key]
            if not self._listeners:
                self._close_later()

    def _close_later(self) -> None:
        """Close the stream after LINGER_SECONDS: by a deadline and not by a task, as the task group may have ended."""
        if self._read_scope is not None:
            self._read_scope.deadline = anyio.current_time() + LINGER_SECONDS

    def _dispatch(self, event: Event) -> None:
        """Call all listeners with an event.

        Raises:
            UnexpectedResponse: a listener cannot read the event. The stream is reopened, after which listeners read the
                state.
        """
        for listener in list(self._listeners.values()):
            try:
                listener(event)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise UnexpectedResponse(f"unexpected event {event.get('type')!r}: {error!r}") from error

    async def _dispatch_ready(self) -> None:
        await anyio.sleep(SUBSCRIBE_LAG_SECONDS)
        self._dispatch({"type": "stream.ready", "properties": {}})

    async def _run(self, scope: anyio.CancelScope) -> None:
        """Read until `scope` is cancelled, or until a connection has ended and there are no listeners."""
        try:
            with scope:
                await self._read()
        finally:
            if self._read_scope is scope:
                self._read_scope = None

    async def _read(self) -> None:
        """Read, and reconnect when the stream ends or fails: only for listeners, as it starts a managed server."""
        failures = 0
        while self._listeners:
            try:
                async with background_task_group() as connection:  # it is not ready any more once it has ended
                    async for event in self._read_connection():
                        failures = 0
                        self._dispatch(event)
                        if event["type"] == "stream.connected":
                            connection.start_soon(self._dispatch_ready)
            except OpenCodeError as error:
                log.info("lost the event stream: %s", error)
                self._dispatch({"type": "stream.lost", "properties": {"reason": str(error)}})
            else:
                self._dispatch({"type": "stream.lost", "properties": {"reason": "closed"}})
            await anyio.sleep(RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)])
            failures += 1

    async def _read_connection(self) -> AsyncGenerator[Event]:
        """Yield the events of one connection."""
        read_frame = self._read_frames()
        async with self._connect() as response:
            yield {"type": "stream.connected", "properties": {}}
            async for frame in httpx2.EventSource(response, max_event_size=MAX_EVENT_BYTES):
                for event in read_frame(parse_event("the event stream", frame.data)):
                    yield event


def load_factor(listeners: int, full_rate: int) -> float:
    """Return how many times longer each listener pauses between two reads of its state than `full_rate` of them do."""
    return max(1.0, listeners / full_rate)


def event_session_id(event: Event) -> str | None:
    """Return the id of the session that an event is about."""
    properties: Mapping[str, Any] = event.get("properties", {})
    if "sessionID" in properties:
        return properties["sessionID"]
    inner: Any = properties.get("info") or properties.get("part") or {}
    return inner.get("sessionID") or (inner.get("id") if event["type"].startswith("session.") else None)


def parse_event(operation: str, data: str) -> dict[str, Any]:
    """Parse one event's data.

    Raises:
        UnexpectedResponse: the data is not a JSON object.
    """
    try:
        value = json.loads(data)
    except ValueError as error:
        raise UnexpectedResponse(f"{operation}: an event is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise UnexpectedResponse(f"{operation}: an event is not a JSON object: {beginning_of(data, VALUE_CHARS)}")
    return strip_stack_traces(value) if TRACE_MARK.decode() in data else cast("dict[str, Any]", value)


def event_type(event: dict[str, Any]) -> str:
    """Return an event's type; /global/event has the event itself under `payload`."""
    payload = event.get("payload", event)
    return str(payload.get("type", ""))
