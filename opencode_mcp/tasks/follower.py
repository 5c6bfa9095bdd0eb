"""Enforces the rules of a task: limits, rejection of requests without an answer, answer and check, and corrections.

read the session -> beyond a limit? stop it -> something due? do it -> ended? return; else wait for an event

A bridge follows the tasks that it starts or waits for, and those of a bridge that has ended (`server/take_over.py`).
Several bridges may follow one task: a stop is the same twice, of two sessions for a check the first counts, and a
prompt that is sent twice is stored once. While no bridge follows a task, nothing is enforced; the next one that waits
for it goes on from what OpenCode has stored.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import anyio
from anyio.abc import TaskGroup

from opencode_mcp.exceptions import APIError, OpenCodeError, WorkflowError
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.opencode.engine import DEFAULT_AGENT, engine_of
from opencode_mcp.opencode.events import Event, event_session_id
from opencode_mcp.opencode.models import Session

from .abort import save_stopped, stop_session
from .ask_timeout import overdue_requests, rejection
from .attempts import find_attempt, repair_key, retry_key
from .check import CHECK_SECONDS, check_script
from .context import Context
from .idempotency import make_prompt_id
from .json_answer import ask_for_json, read_answer
from .metadata import Rules, TaskMetadata
from .model_selection import Selection, continue_selection
from .queued_prompts import send_queued
from .queued_turns import apply_queue
from .replies import send_unless_answered
from .rules import apply_rules, find_check, find_forbidden_model, keeps_bounds, may_begin, passed_limit, rules_of
from .session_state import PICKUP_SECONDS, SessionSnapshot, TaskStatus, classify, read_snapshot
from .shell import create_shell_session, end_script, run_script
from .turn import read_family_usage

CONFLICT = 409
"""The HTTP status of a request to a busy session."""

READ_SECONDS = 3.0
"""How often the session is read without an event."""

PAUSE_SECONDS = 0.2
"""How long a follower sleeps at least between two reads."""

log = logging.getLogger(__name__)


@dataclass
class Follower:
    """Follows one task. `checked` are the prompts whose check it runs now; `wakeup` is set by events.
    `stalled_since` is when its turn was first seen to stall."""

    context: Context
    session_id: str
    tasks: TaskGroup
    family: set[str]
    wakeup: anyio.Event = field(default_factory=anyio.Event)
    checked: set[str] = field(default_factory=set[str])
    stalled_since: float | None = None

    def on_event(self, event: Event) -> None:
        """Read the session again after an event of its family, or a gap in the stream."""
        session_id = event_session_id(event)
        if session_id is None or session_id in self.family or event["type"] == "session.created":
            self.wakeup.set()

    async def run(self) -> None:
        """Enforce the rules until the task has ended, or waits for nothing that a bridge must do.

        Raises:
            APIError: the session was deleted.
        """
        opencode, followed, idle_since = self.context.opencode, self.context.servers.followed, anyio.current_time()
        snapshot: SessionSnapshot | None = None
        with opencode.events.subscribe(self.on_event):
            while True:
                self.wakeup = anyio.Event()
                try:
                    snapshot = await read_snapshot(opencode, self.session_id, snapshot)
                    self.family.update(snapshot.family)
                    if await self.enforce(snapshot):
                        idle_since = anyio.current_time()
                    elif anyio.current_time() - max(idle_since, followed[self.session_id]) > PICKUP_SECONDS:
                        return
                except OpenCodeError as error:
                    if isinstance(error, APIError) and error.status == 404:
                        raise
                    log.info("cannot follow %s now: %s", self.session_id, error)
                await anyio.sleep(PAUSE_SECONDS)
                with anyio.move_on_after(READ_SECONDS):
                    await self.wakeup.wait()

    async def enforce(self, snapshot: SessionSnapshot) -> bool:
        """Stop a turn beyond its limits, or do what is due; False if the session has nothing that needs a bridge.

        A prompt takes a moment to be visible, and another to be started on: nothing is due until then. A bridge may end
        after it has stored why it stops a turn: then another one, or a second try, stops it.
        """
        rules = rules_of(snapshot)
        if rules is not None and rules.stopped is not None and snapshot.busy:
            await stop_session(self.context, self.session_id, rules.prompt_id)
            return True
        status = await apply_rules(self.context.opencode, snapshot, classify(snapshot))
        status = apply_queue(snapshot, self.end_stall(status))
        if status.due == "queued":
            await ACTIONS[status.due](self, snapshot, rules or Rules(), status)
            return True
        if rules is None or status.finished or status.stalled_reason is not None:
            return bool(snapshot.queued)
        usage = await read_family_usage(self.context.opencode, snapshot)
        reason = passed_limit(rules, usage) or await find_forbidden_model(self.context.opencode, snapshot, rules)
        if reason is not None:
            await stop_by_rule(self.context, self.session_id, rules, reason)
        elif status.due is not None:
            await ACTIONS[status.due](self, snapshot, rules, status)
        return True

    def end_stall(self, status: TaskStatus) -> TaskStatus:
        """Return the status of a turn, failed if it has stalled for too long."""
        now = anyio.current_time()
        self.stalled_since = None if status.stalled_reason is None else self.stalled_since or now
        if self.stalled_since is None or now - self.stalled_since < PICKUP_SECONDS:
            return status
        return TaskStatus("failed", error=status.stalled_reason)

    async def start_check(self, snapshot: SessionSnapshot, rules: Rules, status: TaskStatus) -> None:
        """Run the check of the newest turn while the limits are still watched, unless this follower does already."""
        if snapshot.prompt_id not in self.checked:
            self.checked.add(snapshot.prompt_id)
            self.tasks.start_soon(self.try_check, snapshot.session, snapshot.prompt_id, rules)

    async def try_check(self, session: Session, prompt_id: str, rules: Rules) -> None:
        """Run a check; one that OpenCode refuses to run ends the task, and after other errors it is tried again."""
        try:
            try:
                await run_check(self.context, session, prompt_id, rules)
            except APIError as error:
                if error.status == CONFLICT:  # another bridge runs it
                    return
                await save_stopped(
                    self.context.opencode, session.id, f"its check could not be run: {error}", rules.prompt_id
                )
        except OpenCodeError as error:
            log.warning("the check of %s could not be run: %s", session.id, error)
        finally:
            self.checked.discard(prompt_id)

    async def end_check(self, snapshot: SessionSnapshot, rules: Rules, status: TaskStatus) -> None:
        """End a check that takes too long: the bridge that began it, which would have ended it, has ended."""
        opencode = self.context.opencode
        check_session = await find_check(opencode, snapshot.session.id, snapshot.prompt_id)
        if check_session is not None:
            await end_script(opencode, check_session, CHECK_SECONDS)

    async def send_back(self, snapshot: SessionSnapshot, rules: Rules, status: TaskStatus) -> None:
        """Send the output of a failed check to the session, as its next prompt, with the task's system prompt."""
        assert status.check is not None
        reason = status.check.describe()
        details = f": {status.check.command}\n\n{status.check.output}\n\nCorrect that."
        await self.send_further(snapshot, rules, retry_key(rules.prompt_id, status.check.attempt), reason, details)

    async def have_answer_corrected(self, snapshot: SessionSnapshot, rules: Rules, status: TaskStatus) -> None:
        """Send what is wrong with an answer to the session, as its next prompt."""
        assert rules.output_schema is not None
        assert snapshot.newest_message is not None
        attempt = find_attempt(rules.prompt_id, snapshot.prompt_id)
        answer = await read_answer(rules.output_schema, snapshot.newest_message.text)
        if attempt is not None and answer.problem is not None:
            reason = f"the answer does not fit output_schema: {answer.problem}"
            await self.send_further(snapshot, rules, repair_key(rules.prompt_id, attempt.number), reason)

    async def send_further(
        self, snapshot: SessionSnapshot, rules: Rules, key: str, reason: str, details: str = ""
    ) -> None:
        """Send a prompt that continues the turn, with the task's system prompt and the form of its answer.

        A task beyond this bridge's own bounds is left to the bridge that started it.
        """
        opencode, session = self.context.opencode, snapshot.session
        if not keeps_bounds(opencode.prompt_policy, rules):
            return
        bare_id = make_prompt_id(session, snapshot.newest_message, key)
        try:
            selection = await continue_selection(opencode, session, Selection())
        except WorkflowError as error:  # such as a model that the configuration no longer has
            await save_stopped(opencode, session.id, f"{reason}, and was not sent back: {error}", rules.prompt_id)
            return
        form = "" if rules.output_schema is None else f"\n\n{ask_for_json(rules.output_schema)}"
        text = f"{reason}{details}{form}"
        parts = [{"type": "text", "text": text}]
        prompt = await engine_of(opencode).read_message(session.id, rules.prompt_id)
        if prompt.info.system is not None:
            selection["system"] = prompt.info.system
        async with opencode.session_lock(session.id):
            await engine_of(opencode).send_prompt(session, parts, selection, f"msg_{bare_id}")

    async def reject_overdue(self, snapshot: SessionSnapshot, rules: Rules, status: TaskStatus) -> None:
        """Reject the requests of a family that got no answer in time."""
        assert rules.ask_timeout_minutes is not None
        opencode, directory = self.context.opencode, snapshot.session.directory
        for request in overdue_requests(rules, snapshot.pending):
            await send_unless_answered(opencode, directory, request, rejection(rules.ask_timeout_minutes))

    async def send_queued(self, snapshot: SessionSnapshot, rules: Rules, status: TaskStatus) -> None:
        """Send the next queued prompt."""
        await send_queued(self.context, self.session_id)


ACTIONS: Mapping[str, Callable[[Follower, SessionSnapshot, Rules, TaskStatus], Awaitable[None]]] = {
    "check": Follower.start_check,
    "end_check": Follower.end_check,
    "retry": Follower.send_back,
    "reject": Follower.reject_overdue,
    "repair": Follower.have_answer_corrected,
    "queued": Follower.send_queued,
}
"""What is done about each `due` of a status."""


async def stop_by_rule(context: Context, session_id: str, rules: Rules, reason: str) -> None:
    """Stop the turn that has these rules, and store why, so that every bridge reports it."""
    if await save_stopped(context.opencode, session_id, reason, rules.prompt_id):
        await stop_session(context, session_id, rules.prompt_id)


async def run_check(context: Context, session: Session, prompt_id: str, rules: Rules) -> None:
    """Run the check of a prompt in a session of its own below the task's, unless another bridge does so.

    The session keeps the command, its output and when it ran. The command runs in the task's directory.

    Raises:
        OpenCodeError: OpenCode refuses, or does not answer; the check may have run.
    """
    opencode = context.opencode
    check_session = await find_check(opencode, session.id, prompt_id)
    if check_session is not None and not may_begin(check_session):
        return
    if check_session is None:
        task = TaskMetadata(check_of=prompt_id)
        created = await create_shell_session(opencode, session, "Check", task)
        check_session = await find_check(opencode, session.id, prompt_id)
        if check_session is None or check_session.id != created.id:
            return  # this session stays empty: other bridges may be reading the family that it belongs to
    agent = session.agent or DEFAULT_AGENT
    await run_script(opencode, agent, check_session, check_script(rules.check, check_session.id), CHECK_SECONDS)


def follow(context: Context, session_id: str) -> None:
    """Follow a task in the background until it has ended, unless this process does already.

    The follower asks no user, reports no progress, and outlives the call.
    """
    tasks, followed = context.servers.tasks, context.servers.followed
    if tasks is None:
        return
    is_followed = session_id in followed
    followed[session_id] = anyio.current_time()  # a follower that is about to end goes on
    if is_followed:
        return
    tasks.start_soon(partial(follow_until_ended, context.without_caller(), session_id))


async def follow_until_ended(context: Context, session_id: str) -> None:
    """Follow a task; an error ends only the following."""
    try:
        async with background_task_group() as tasks:
            # A prompt may be sent while this group ends: by then the session is not `followed`.
            with released(context.servers.followed, session_id):
                async with context.for_session(session_id) as session_context:
                    await Follower(session_context, session_id, tasks, {session_id}).run()
    except OpenCodeError as error:
        log.info("%s is not followed any more: %s", session_id, error)
    except Exception:
        log.exception("following %s failed", session_id)


@contextmanager
def released(followed: dict[str, float], session_id: str) -> Generator[None]:
    """Take a session from those that are followed at the end of the block."""
    try:
        yield
    finally:
        del followed[session_id]
