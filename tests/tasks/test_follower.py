"""Moments of a follower that a real OpenCode passes too quickly to test, with a fake one that stays in them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup

from opencode_mcp.catalog import Operation
from opencode_mcp.exceptions import APIError, TransportError
from opencode_mcp.opencode import ServerPool
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.opencode.endpoint import ignore_progress
from opencode_mcp.opencode.events import Listener
from opencode_mcp.opencode.prompt_policy import PromptPolicy
from opencode_mcp.tasks import follower as following
from opencode_mcp.tasks import wait as waiting
from opencode_mcp.tasks.context import Context
from opencode_mcp.tasks.follower import follow, run_check
from opencode_mcp.tasks.metadata import Limits, Rules, TaskMetadata, with_task_metadata
from opencode_mcp.tasks.queued_turns import Outcome
from opencode_mcp.tasks.rules import find_forbidden_model
from opencode_mcp.tasks.session_state import read_session, read_snapshot
from opencode_mcp.tasks.task_tools import RunTask, run_task
from opencode_mcp.tasks.turn import read_family_usage, read_turn
from opencode_mcp.tasks.wait import wait_until_settled
from tests.eventually import eventually
from tests.fake_event_stream import FakeEventStream

from .test_race_conditions import DONE, FakeOpenCode

pytestmark = pytest.mark.anyio

RULES = Rules(prompt_id="msg_1", started=time.time() * 1000, limits=Limits(minutes=60))
PASSED = RULES.model_copy(update={"limits": Limits(minutes=0.000_001)})
BUSY = {"ses_1": {"type": "busy"}}
CHECK_SESSION = "ses_check"
CHECK = TaskMetadata(check_of="msg_1")
CHECKED = Rules(prompt_id="msg_1", started=time.time() * 1000, check=("make",), check_retries=3)
FAILED_CHECK: dict[str, Any] = {
    "type": "tool",
    "tool": "bash",
    "state": {
        "status": "completed",
        "output": f"$ make\nbroken\n\n{CHECK_SESSION} 2\n",
        "time": {"start": 1, "end": 2},
    },
}
PASSED_CHECK = {**FAILED_CHECK, "state": {**FAILED_CHECK["state"], "output": f"$ make\n\n{CHECK_SESSION} 0\n"}}


@dataclass
class RuledOpenCode(FakeOpenCode):
    """A fake OpenCode whose session has rules, and below it the session of a check, if `check_messages` are given."""

    rules: Rules = field(default_factory=lambda: RULES)
    check_messages: list[Any] | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    check_metadata: dict[str, Any] = field(default_factory=lambda: with_task_metadata({}, CHECK))
    session: dict[str, Any] = field(default_factory=dict[str, Any])
    reads: int = 0
    before_read: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Answer as OpenCode does."""
        metadata = self.metadata or with_task_metadata({}, TaskMetadata(rules=self.rules))
        session = {"id": "ses_1", "directory": "/project", "time": {"created": 1}, "metadata": metadata}
        session |= self.session
        is_check = arguments.get("sessionID") == CHECK_SESSION
        check_session = {**session, "id": CHECK_SESSION, "title": "Check", "metadata": self.check_metadata}
        match name:
            case "session_get":
                return check_session if is_check else session
            case "session_update" if is_check:
                self.check_metadata = arguments["metadata"]
                return {**check_session, "metadata": self.check_metadata}
            case "session_update":
                self.metadata = arguments["metadata"]
                return {**session, "metadata": self.metadata}
            case "session_children" if not is_check and self.check_messages is not None:
                return [check_session]
            case "session_messages" if is_check:
                return self.check_messages
            case "session_messages":
                self.reads += 1
                await self.before_read()
            case _:
                pass
        return await super().call(name, **arguments)

    def prepare(self, operation: Operation, arguments: dict[str, Any]) -> Any:
        """Return a call with its arguments."""
        return SimpleNamespace(parts=(operation, arguments))

    async def request(self, operation: Operation, parts: Any, read_seconds: float | None) -> None:
        """Answer a call that was prepared."""
        await self.call(operation.name)


@pytest.fixture(autouse=True)
def read_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake OpenCode sends no events."""
    monkeypatch.setattr(following, "READ_SECONDS", 0.01)
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)


def reply_with(part: dict[str, Any]) -> dict[str, Any]:
    """Return a reply in the session of a check."""
    return {"info": {**DONE["info"], "id": "msg_9"}, "parts": [part]}


def make_context(opencode: FakeOpenCode, tasks: TaskGroup) -> Context:
    """Return the context of a tool whose work outlives its call in `tasks`."""
    return Context(ServerPool(cast("Any", {"": opencode}), tasks=tasks), ignore_progress)


async def follow_until_aborted(opencode: RuledOpenCode) -> Outcome:
    """Follow a task until its session is aborted, which ends its turn; return the outcome."""
    async with background_task_group() as tasks:
        context = make_context(opencode, tasks)
        follow(context, "ses_1")
        await eventually(lambda: "session_abort" in opencode.calls)
        opencode.status = {}
        return await wait_until_settled(context, "ses_1", None, anyio.current_time() + 30)


async def test_a_turn_that_another_bridge_was_stopping_is_stopped() -> None:
    """It has stored the reason, and ended before it could abort the session."""
    opencode = RuledOpenCode(
        rules=RULES.model_copy(update={"stopped": "it passed its limit"}),
        messages=[DONE],
        status=BUSY,
    )
    outcome = await follow_until_aborted(opencode)

    assert (outcome.status.state, outcome.status.error) == ("stopped", "it passed its limit")


@pytest.mark.parametrize("stopped", [None, "interrupted by the next prompt"])
async def test_a_prompt_that_follows_a_stopped_turn_is_not_stopped_with_it(stopped: str | None) -> None:
    """The turn has ended, and a queued prompt was sent, since the read that finds a turn to stop."""
    opencode = RuledOpenCode(rules=PASSED.model_copy(update={"stopped": stopped}), messages=[DONE], status=BUSY)
    next_rules = RULES.model_copy(update={"prompt_id": "msg_other_prompt"})
    async with background_task_group() as tasks:
        follower = following.Follower(make_context(opencode, tasks), "ses_1", tasks, {"ses_1"})
        snapshot = await read_snapshot(cast("Any", opencode), "ses_1")
        opencode.metadata = with_task_metadata({}, TaskMetadata(rules=next_rules))
        await follower.enforce(snapshot)

    assert not {"session_abort", "session_update"} & {*opencode.calls}


async def test_an_abort_ends_with_its_turn() -> None:
    """The abort of a stopped turn takes a moment, in which a queued prompt is sent."""

    class QueuedOpenCode(RuledOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "session_abort":
                next_rules = RULES.model_copy(update={"prompt_id": "msg_other_prompt"})
                self.metadata = with_task_metadata({}, TaskMetadata(rules=next_rules))
            return await super().call(name, **arguments)

    opencode = QueuedOpenCode(rules=PASSED, messages=[DONE], status=BUSY)
    async with background_task_group() as tasks:
        follower = following.Follower(make_context(opencode, tasks), "ses_1", tasks, {"ses_1"})
        await follower.enforce(await read_snapshot(cast("Any", opencode), "ses_1"))

    assert opencode.calls.count("session_abort") == 1


@pytest.mark.parametrize(
    ("reply_id", "stopped"),
    [pytest.param("msg_0", False, id="before the prompt"), pytest.param("msg_2", True, id="now")],
)
async def test_only_a_reply_to_the_prompt_has_a_forbidden_model(reply_id: str, stopped: bool) -> None:
    """A session that is followed up may have an older subagent with a model that `--models` does not allow."""
    rules = Rules(prompt_id="msg_1", started=time.time() * 1000, models=("scripted/*",))
    reply = {**DONE, "info": {**DONE["info"], "id": reply_id, "providerID": "other", "modelID": "large"}}
    opencode = RuledOpenCode(rules=rules, check_messages=[reply])
    snapshot = await read_snapshot(cast("Any", opencode), "ses_1")
    forbidden = await find_forbidden_model(cast("Any", opencode), snapshot, rules)

    assert len(snapshot.family) == 2
    assert (forbidden or "").startswith("model other/large answered, which --models does not allow;") == stopped


async def test_a_prompt_that_is_sent_during_the_last_read_of_a_follower_is_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The read shows the turn before it, long over; the limits of the new one are enforced."""
    passed_seconds = 0.0
    current_time = anyio.current_time
    monkeypatch.setattr(anyio, "current_time", lambda: current_time() + passed_seconds)
    opencode = RuledOpenCode(messages=[DONE])
    async with background_task_group() as tasks:
        context = make_context(opencode, tasks)

        async def send_prompt() -> None:
            nonlocal passed_seconds
            if opencode.reads == 2:
                passed_seconds = 3600
                follow(context, "ses_1")
            if opencode.reads == 3:
                opencode.rules, opencode.status = PASSED, BUSY

        opencode.before_read = send_prompt
        follow(context, "ses_1")
        await eventually(lambda: "session_abort" in opencode.calls)
        opencode.status = {}


async def test_a_prompt_that_is_sent_while_its_follower_ends_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The follower has read for the last time, and its tasks end."""
    monkeypatch.setattr(following, "PICKUP_SECONDS", -1.0)
    async with background_task_group() as tasks:

        async def send_prompt() -> None:
            monkeypatch.undo()
            opencode.rules, opencode.status = PASSED, BUSY
            follow(context, "ses_1")

        class Stream(FakeEventStream):
            @contextmanager
            def subscribe(self, notice: Listener) -> Generator[None]:
                with super().subscribe(notice):
                    yield
                if not opencode.status:
                    tasks.start_soon(send_prompt)

        opencode = RuledOpenCode(messages=[DONE], events=Stream())
        context = make_context(opencode, tasks)
        follow(context, "ses_1")
        await eventually(lambda: "session_abort" in opencode.calls)
        opencode.status = {}


async def test_a_second_session_for_a_check_stays_unused() -> None:
    """Another bridge has created the first at the same moment. One that reads the family must not find it deleted."""

    class LateOpenCode(RuledOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "session_create":
                self.check_messages = []
            return await super().call(name, **arguments)

    opencode = LateOpenCode(rules=CHECKED, messages=[DONE])
    async with background_task_group() as tasks:
        session = await read_session(cast("Any", opencode), "ses_1")
        await run_check(make_context(opencode, tasks), session, "msg_1", CHECKED)

    assert opencode.calls.count("session_create") == 1
    assert not {"session_delete", "session_shell"} & {*opencode.calls}


async def test_a_failed_check_that_cannot_be_sent_back_ends_the_task() -> None:
    """Its agent is gone: the report says so, and nothing is tried again."""
    opencode = RuledOpenCode(
        rules=CHECKED, messages=[DONE], check_messages=[reply_with(FAILED_CHECK)], session={"agent": "removed"}
    )
    async with background_task_group() as tasks:
        context = make_context(opencode, tasks)
        outcome = await wait_until_settled(context, "ses_1", None, anyio.current_time() + 30, enforce=True)

    assert outcome.status.state == "stopped"
    assert outcome.status.error is not None
    assert outcome.status.error.startswith("the check failed with exit code 2, and was not sent back: unknown agent")
    assert "session_prompt_async" not in opencode.calls


async def test_a_check_that_opencode_refuses_to_run_ends_the_task() -> None:
    """It has not passed; it is tried once."""
    refusal = APIError("session_shell", 400, "BadRequest", "no shell")
    opencode = RuledOpenCode(rules=CHECKED, messages=[DONE], check_messages=[], answers={"session_shell": refusal})
    async with background_task_group() as tasks:
        context = make_context(opencode, tasks)
        with anyio.fail_after(30):
            outcome = await wait_until_settled(context, "ses_1", None, float("inf"), enforce=True)

    assert outcome.status.state == "stopped"
    assert outcome.status.error == f"its check could not be run: {refusal}"
    assert opencode.calls.count("session_shell") == 1


async def test_a_check_that_another_bridge_runs_is_waited_for() -> None:
    """That bridge began it after this one had read that it had not begun."""
    conflict = APIError("session_shell", 409, "SessionBusyError", "busy")
    opencode = RuledOpenCode(rules=CHECKED, messages=[DONE], check_messages=[], answers={"session_shell": conflict})
    async with background_task_group() as tasks:
        context = make_context(opencode, tasks)
        follow(context, "ses_1")
        await eventually(lambda: "session_shell" in opencode.calls)
        opencode.check_messages = [reply_with(PASSED_CHECK)]
        outcome = await wait_until_settled(context, "ses_1", None, anyio.current_time() + 30)

    assert outcome.status.state == "completed"


async def test_what_a_user_writes_below_a_check_does_not_change_its_result() -> None:
    """The session of a check is listed in OpenCode's terminal, and takes prompts."""
    text = {"type": "text", "text": "The tests are broken."}
    opencode = RuledOpenCode(
        rules=CHECKED.model_copy(update={"check_retries": 0}),
        messages=[DONE],
        check_messages=[reply_with(FAILED_CHECK), reply_with(text)],
    )
    async with background_task_group() as tasks:
        outcome = await wait_until_settled(make_context(opencode, tasks), "ses_1", None, anyio.current_time() + 30)

    assert (outcome.status.state, outcome.status.error) == ("check_failed", "the check failed with exit code 2")


async def test_a_check_ends_in_time_although_the_bridge_that_began_it_has_ended() -> None:
    """Another bridge that waits for the task aborts it."""
    running = {**FAILED_CHECK, "state": {"status": "running", "output": "$ make", "time": {"start": 1}}}
    opencode = RuledOpenCode(
        rules=CHECKED.model_copy(update={"check_retries": 0}),
        messages=[DONE],
        check_messages=[reply_with(running)],
        status={CHECK_SESSION: {"type": "busy"}},
    )
    outcome = await follow_until_aborted(opencode)

    assert (outcome.status.state, outcome.status.error) == ("check_failed", "the check took longer than 600 s")


@pytest.mark.parametrize(("models", "sends"), [((), True), (("other/*",), False)])
async def test_a_failed_check_is_sent_back_within_the_bounds_of_a_bridge(models: tuple[str, ...], sends: bool) -> None:
    """A bridge that allows only other models waits for the task of a bridge without bounds, and leaves it to that."""
    session = {"model": {"providerID": "scripted", "id": "scripted"}}
    reply: dict[str, Any] = {"info": {**DONE["info"], "id": "msg_1"}, "parts": []}
    opencode = RuledOpenCode(
        rules=CHECKED,
        messages=[DONE],
        check_messages=[reply_with(FAILED_CHECK)],
        session=session,
        prompt_policy=PromptPolicy(models),
        answers={"session_message": reply},
    )
    async with background_task_group() as tasks:
        outcome = await wait_until_settled(
            make_context(opencode, tasks), "ses_1", None, anyio.current_time() + 0.5, enforce=True
        )
        if sends:
            await eventually(lambda: "session_prompt_async" in opencode.calls)

    assert ("session_prompt_async" in opencode.calls) == sends
    assert (outcome.status.state, outcome.status.due) == ("running", "retry")


async def test_the_limits_of_a_prompt_whose_response_was_lost_are_enforced() -> None:
    """OpenCode has accepted it."""
    opencode = RuledOpenCode(messages=[DONE], answers={"session_prompt_async": TransportError("the response was lost")})
    arguments = RunTask.model_validate({"prompt": "go on", "session_id": "ses_1", "limits": {"minutes": 0.000_01}})

    async def show_prompt() -> None:
        if "session_prompt_async" in opencode.calls:
            prompt_id = opencode.metadata["opencode_mcp"]["rules"]["prompt_id"]
            opencode.status = BUSY
            opencode.messages = [{"info": {"id": prompt_id, "role": "user", "time": {"created": 1}}}]

    opencode.before_read = show_prompt
    async with background_task_group() as tasks:
        with pytest.raises(TransportError):
            await run_task(make_context(opencode, tasks), arguments)
        await eventually(lambda: "session_abort" in opencode.calls)
        opencode.status = {}


async def test_a_session_that_is_deleted_below_a_task_while_that_is_read_is_left_out() -> None:
    """Of two sessions for one check a bridge deletes the second."""

    class Deleting(RuledOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if arguments.get("sessionID") == CHECK_SESSION:
                raise APIError(name, 404, "NotFoundError", "Session not found")
            return await super().call(name, **arguments)

    opencode = cast("Any", Deleting(messages=[DONE], check_messages=[]))
    snapshot = await read_snapshot(opencode, "ses_1")
    stale = replace(snapshot, family=("ses_1", CHECK_SESSION))
    turn, usage = await read_turn(opencode, stale), await read_family_usage(opencode, stale)

    assert snapshot.family == ("ses_1",)
    assert turn is not None and turn.failed_calls == ()
    assert usage.tokens == snapshot.session.tokens.total
    assert await find_forbidden_model(opencode, stale, RULES.model_copy(update={"models": ("*",)})) is None
