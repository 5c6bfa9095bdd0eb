"""The state of a task that a client polls: read from OpenCode after an event, not for each request.

event, gap in the stream, or REREAD_SECONDS -> read it; else -> what its directory does, one read for all tasks there

OpenCode lists what works and waits by directory (1.18.33, 2.1.2), so the directories take turns. Where an event is lost
and no gap in the stream tells of it, an answer is wrong for CONFIRM_SECONDS times the number of directories, or for
twice that. Where the session went on to another turn at once, it is wrong until the next full read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import anyio
import mcp_types as types
from anyio.abc import TaskGroup, TaskStatus

from opencode_mcp.exceptions import APIError, OpenCodeError
from opencode_mcp.opencode.events import Event, EventFeed, load_factor
from opencode_mcp.tasks import Context
from opencode_mcp.tasks.directory_state import is_unchanged
from opencode_mcp.tasks.mcp_task_handle import TaskHandle, Turn, load_group
from opencode_mcp.tasks.mcp_task_state import ReadTurns, TaskView, is_final, read_turns, view_task
from opencode_mcp.tasks.session_state import SessionSnapshot
from opencode_mcp.tasks.session_watch import SessionWatch

REREAD_SECONDS = 60.0
"""How long a state is valid without an event; UNSURE_SECONDS if OpenCode does not list the session as busy."""
FULL_RATE_TASKS = 2
"""How many tasks are read again that often; with more of them each more seldom, to limit the load on OpenCode."""
MAX_LOAD = 15.0
"""How many times more seldom at most: each task is read in full after a quarter of an hour."""
CONFIRM_SECONDS = 5.0
"""How long a state is valid without an event, until it is confirmed by what the sessions of its directory do. Of all
directories with polled tasks one is read in that time, by three requests to OpenCode 1 and four to OpenCode 2."""
UNSURE_SECONDS = 5.0
"""How long a state is valid if events may be missing, and the pause after an error."""
FOLLOW_SECONDS = 60.0
"""How long events are followed after the client's last request."""
UNREACHABLE_SECONDS = 300.0
"""How long OpenCode may be unreachable before the task has failed."""
QUICK_POLL_MS, POLL_MS, SLOW_POLL_MS = 1000, 2000, 5000
QUICK_SECONDS, SLOW_SECONDS = 60, 600
"""Up to which age a task is polled every second, and from which every five."""

ENDED = frozenset({"completed", "cancelled"})


@dataclass(eq=False)
class PolledTask:
    """A task. `notes` are those of its call, by session id; `declined` has the requests that the user has left to the
    model, each with a note.

    `asked` is when each request was first shown. `view` is the last state, `error` why reading it again failed.
    """

    handle: TaskHandle
    notes: Mapping[str, str] = field(default_factory=dict[str, str])
    view: TaskView = field(default_factory=lambda: TaskView("working"))
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))
    declined: dict[str, str] = field(default_factory=dict[str, str])
    asked: dict[str, float] = field(default_factory=dict[str, float])
    error: OpenCodeError | None = None
    failure: types.ErrorData | None = None
    stopping: bool = False
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    _watch: SessionWatch = field(default_factory=lambda: SessionWatch(set()))
    _followed: bool = False
    _polled: bool = False
    _feeds: Sequence[EventFeed] = ()
    _read_began: float = 0.0
    _valid_until: float = 0.0
    _confirmed_until: float = 0.0
    _unfinished: Mapping[Turn, SessionSnapshot] = field(default_factory=dict[Turn, SessionSnapshot])
    _failing_since: float | None = None

    @property
    def ended(self) -> bool:
        """Whether the state is terminal; it does not change any more."""
        return self.failure is not None or self.view.status in ENDED

    @property
    def activity(self) -> str:
        """What the task does now, or why that is unknown."""
        if self.error is not None:
            return f"OpenCode does not answer: {self.error}"
        return (self._watch.activity if self.view.status == "working" else "") or self.view.activity

    @property
    def poll_ms(self) -> int:
        """When the client should poll again."""
        age = (datetime.now(UTC) - self.handle.turns[0].created).total_seconds()
        return QUICK_POLL_MS if age < QUICK_SECONDS else POLL_MS if age < SLOW_SECONDS else SLOW_POLL_MS

    def expire(self) -> None:
        """Read the state again at the next request."""
        self._watch.read_requested = True

    def on_event(self, event: Event) -> None:
        """Record an event; when the stream is lost, the state must be read again."""
        self._watch.on_event(event)
        self._watch.steps.clear()  # only the newest is reported
        if event["type"] == "stream.lost":
            self._watch.read_requested = True

    async def refresh(self, context: Context, tasks: TaskGroup) -> ReadTurns | None:
        """Bring the state up to date; return the outcomes if they were read anew. Events are followed in `tasks`.

        Raises:
            OpenCodeError: OpenCode does not answer.
        """
        self._polled = True
        if self.ended or await self._is_valid(context):
            return None
        try:
            self.handle = await load_group(context, self.handle)
        except OpenCodeError as error:
            if not is_final(error):
                raise
            self.view = TaskView("completed", value=str(error))
            return None
        if not self._followed:
            self._feeds = await find_feeds(context, self.handle)
            await tasks.start(self._follow)
        self._watch.family.update(turn.session_id for turn in self.handle.turns)
        self._watch.read_requested = self._watch.busy_reported = False
        self._valid_until = 0.0  # a read that is cancelled has told nothing
        started = anyio.current_time()
        turns = await read_turns(context, self.handle)
        self._watch.family.update(member for outcome in turns.read.values() for member in outcome.snapshot.family)
        running = [outcome for outcome in turns.read.values() if outcome.status.state == "running"]
        self._watch.busy = any(outcome.snapshot.busy for outcome in running)
        self.view = await view_task(context, turns, self.declined, self.notes)
        self._unfinished = {turn: turns.read[turn].snapshot for turn in turns.unfinished}
        unsure = any(not outcome.snapshot.busy for outcome in running)
        load = max((load_factor(feed.listener_count, FULL_RATE_TASKS) for feed in self._feeds), default=1.0)
        self._read_began, self._confirmed_until = started, started + CONFIRM_SECONDS
        self._valid_until = started + (UNSURE_SECONDS if unsure else REREAD_SECONDS * min(load, MAX_LOAD))
        self.updated, self.error, self._failing_since = datetime.now(UTC), None, None
        for request, _ in self.view.requests:
            self.asked.setdefault(request.id, anyio.current_time())
        return turns

    async def _is_valid(self, context: Context) -> bool:
        """Whether the state is still as it was read: without an event or a gap, and confirmed not long ago.

        Raises:
            OpenCodeError: OpenCode does not answer.
        """
        if self._watch.needs_read or anyio.current_time() >= self._valid_until:
            return False
        if anyio.current_time() < self._confirmed_until:
            return True
        for turn, snapshot in self._unfinished.items():
            try:
                async with context.for_session(turn.session_id) as session_context:
                    opencode = session_context.opencode
                    if not await is_unchanged(opencode, snapshot, self._read_began, CONFIRM_SECONDS):
                        return False
            except OpenCodeError as error:
                if isinstance(error, APIError) or is_final(error):  # the read that follows says why
                    return False
                raise
        return not self._watch.needs_read

    async def end_wait(self) -> None:
        """Cancel the task, but not its turns; a task that has ended stays as it ended."""
        async with self.lock:  # a read that goes on would overwrite the view
            if not self.ended:
                self.view = TaskView("cancelled", "no longer waited for")

    def record_error(self, error: OpenCodeError) -> None:
        """Record that the state could not be read; after UNREACHABLE_SECONDS the task has failed."""
        now = anyio.current_time()
        self._failing_since = self._failing_since or now
        self._watch.read_requested = False
        self._valid_until = self._confirmed_until = now + UNSURE_SECONDS
        self.error = error

    @property
    def is_unreachable(self) -> bool:
        """Whether OpenCode has not answered for so long that the task has failed."""
        failing_since = self._failing_since
        return failing_since is not None and anyio.current_time() - failing_since > UNREACHABLE_SECONDS

    async def _follow(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Receive events while the client polls the task; it has started once it misses none."""
        with ExitStack() as stack:
            for feed in self._feeds:
                stack.enter_context(feed.subscribe(self.on_event))
            self._followed = True
            task_status.started()
            try:
                while self._polled and not self.ended:
                    self._polled = False
                    await anyio.sleep(FOLLOW_SECONDS)
            finally:
                self._followed = False
                self.expire()


async def find_feeds(context: Context, handle: TaskHandle) -> list[EventFeed]:
    """Return the event feeds of the servers that have the sessions of a task; a session that is gone has none.

    Raises:
        OpenCodeError: a server does not answer.
    """
    feeds: list[EventFeed] = []
    for session_id in dict.fromkeys(turn.session_id for turn in handle.turns):
        with suppress(APIError):
            async with context.for_session(session_id) as session_context:
                feeds.append(session_context.opencode.events)
    return list(dict.fromkeys(feeds))
