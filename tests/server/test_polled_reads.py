"""When OpenCode is read for a task that a client polls: after events, and seldom without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup

from opencode_mcp.exceptions import APIError, RequestTimeout, TransportError
from opencode_mcp.opencode import ServerPool
from opencode_mcp.opencode.concurrency import background_task_group, gather
from opencode_mcp.opencode.events import Event
from opencode_mcp.server.mcp_tasks import polled_task
from opencode_mcp.server.mcp_tasks.polled_task import PolledTask
from opencode_mcp.tasks import Context
from tests.clock import Clock, set_clock
from tests.tasks.test_race_conditions import DONE, FakeOpenCode, make_context

from .polled_tasks import BUSY, PERMISSION, bare_event, event, make_task, read_count

pytestmark = pytest.mark.anyio


async def test_opencode_is_read_after_events_only(tasks: TaskGroup) -> None:
    """Not for requests between them, nor after events that say nothing new."""
    opencode = FakeOpenCode(status=BUSY, messages=[DONE])
    context, task = make_context(opencode), make_task()
    assert await read_count(opencode, task, context, tasks) > 0
    others = [event("session.idle", "ses_other"), event("session.status", status={"type": "busy"})]
    for quiet in (bare_event("server.heartbeat"), *others):
        opencode.events.dispatch(quiet)
        assert [await read_count(opencode, task, context, tasks) for _ in range(3)] == [0, 0, 0]
    assert task.view.status == "working"

    loud = [event("permission.asked"), bare_event("stream.lost"), bare_event("stream.ready")]
    for reason in (*loud, event("session.created", "ses_child", info={"id": "ses_child", "parentID": "ses_1"})):
        opencode.events.dispatch(reason)
        assert await read_count(opencode, task, context, tasks) > 0, reason
        assert await read_count(opencode, task, context, tasks) == 0
    opencode.status = {}
    opencode.events.dispatch(event("session.idle"))
    await task.refresh(context, tasks)
    assert task.view.status == "completed"


@pytest.mark.parametrize("family", [("ses_1",), ("ses_1", "ses_child")], ids=["itself", "a subagent"])
async def test_a_lost_event_is_noticed_in_seconds(
    tasks: TaskGroup, monkeypatch: pytest.MonkeyPatch, family: tuple[str, ...]
) -> None:
    """Of its end, of a request, or of the subagent that asks; a request of another task is none of its own."""
    monkeypatch.setattr(polled_task, "CONFIRM_SECONDS", 0.05)
    parents = dict(zip(family[1:], family, strict=False))
    asked = {**PERMISSION, "sessionID": family[-1]}

    class WithSubagents(FakeOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            answer = await super().call(name, **arguments)
            if name == "session_children":
                return [child for child in answer if child["parentID"] == arguments["sessionID"]]
            return {**answer, "parentID": parents.get(answer["id"])} if name == "session_get" else answer

    opencode = WithSubagents(status={**BUSY, "ses_other": BUSY["ses_1"]}, messages=[DONE])
    context, task = make_context(opencode), make_task()
    await task.refresh(context, tasks)
    opencode.status |= {family[-1]: BUSY["ses_1"]}
    opencode.answers["permission_list"] = [{**PERMISSION, "id": "per_other", "sessionID": "ses_other"}]
    await anyio.sleep(0.06)
    read = ["session_status", "permission_list", "question_list", "session_get"]
    assert await read_count(opencode, task, context, tasks) == len(read)

    opencode.answers["permission_list"] = [asked]
    opencode.answers["session_children"] = [
        {"id": child_id, "parentID": parent_id, "directory": "/project", "time": {"created": 1}}
        for child_id, parent_id in parents.items()
    ]
    await anyio.sleep(0.06)
    before = len(opencode.calls)
    await task.refresh(context, tasks)
    assert "session_messages" in opencode.calls[before:]

    opencode.answers, opencode.status = {}, {}
    await anyio.sleep(0.06)
    await task.refresh(context, tasks)
    assert task.view.status == "completed"


async def test_tasks_of_a_directory_are_confirmed_together(tasks: TaskGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the client asks for them, by the same three requests."""
    clock = set_clock(monkeypatch)
    sessions = [f"ses_{number}" for number in range(50)]
    opencode = FakeOpenCode(status=dict.fromkeys(sessions, BUSY["ses_1"]), messages=[DONE])
    context, polled = make_context(opencode), [make_task(session_id) for session_id in sessions]
    await gather(*(partial(task.refresh, context, tasks) for task in polled))
    clock.now += polled_task.CONFIRM_SECONDS
    before = len(opencode.calls)
    for _ in range(3):
        await gather(*(partial(task.refresh, context, tasks) for task in polled))
    assert sorted(opencode.calls[before:]) == ["permission_list", "question_list", "session_status"]
    assert {task.view.status for task in polled} == {"working"}


@dataclass
class ManyDirectories(FakeOpenCode):
    """Session ses_N is in the directory /N where there are `directories`, and may have a subagent ses_N_child.

    `read` has the directories whose requests were listed, in their order.
    """

    directories: bool = True
    read: list[str] = field(default_factory=list[str])
    children: dict[str, str] = field(default_factory=dict[str, str])

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Answer as OpenCode does."""
        answer = await super().call(name, **arguments)
        match name:
            case "session_get" if self.directories:
                return {**answer, "directory": f"/{arguments['sessionID'].split('_')[1]}"}
            case "permission_list":
                self.read.append(arguments["directory"])
            case "session_children" if arguments["sessionID"] in self.children:
                child = {"id": self.children[arguments["sessionID"]], "parentID": arguments["sessionID"]}
                return [{**child, "directory": "/project", "time": {"created": 1}}]
            case _:
                pass
        return answer


async def poll_for(
    seconds: float, clock: Clock, polled: Sequence[PolledTask], context: Context, tasks: TaskGroup
) -> None:
    """Poll tasks all five seconds."""
    for _ in range(round(seconds / 5)):
        clock.now += 5
        for task in polled:
            await task.refresh(context, tasks)


@pytest.mark.parametrize("directories", [False, True], ids=["in one directory", "each in its own directory"])
async def test_fifty_tasks_cost_less_than_one_request_per_second(
    tasks: TaskGroup, monkeypatch: pytest.MonkeyPatch, directories: bool
) -> None:
    """On average of all full reads and confirmations; of these at most three requests in five seconds."""
    clock, sessions = set_clock(monkeypatch), [f"ses_{number}" for number in range(50)]
    statuses = dict.fromkeys(sessions, BUSY["ses_1"])
    opencode = ManyDirectories(status=statuses, messages=[DONE], directories=directories)
    context, polled = make_context(opencode), [make_task(session_id) for session_id in sessions]
    await gather(*(partial(task.refresh, context, tasks) for task in polled))
    requests, reads = len(opencode.calls), len(opencode.read)
    await poll_for(500, clock, polled, context, tasks)
    assert (len(opencode.calls) - requests, len(opencode.read) - reads) == (300, 100)
    if directories:  # in turn, so no state is older than five seconds for each directory
        assert opencode.read[reads : reads + 50] == opencode.read[reads + 50 :]
        assert len({*opencode.read[reads + 50 :]}) == 50
    await poll_for(500, clock, polled, context, tasks)
    assert len(opencode.calls) - requests <= 1000
    assert opencode.calls.count("session_messages") == 100

    del statuses["ses_7"]  # no event says that it has ended
    await poll_for(5 * (50 if directories else 1) + 5, clock, polled, context, tasks)
    assert [session_id for session_id, task in zip(sessions, polled, strict=True) if task.ended] == ["ses_7"]


async def test_a_state_is_not_compared_with_an_older_one(tasks: TaskGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subagent has begun since the directory was read, and its event was the reason to read the task."""
    clock = set_clock(monkeypatch)
    opencode = ManyDirectories(status={"ses_1": BUSY["ses_1"], "ses_2": BUSY["ses_1"]}, messages=[DONE])
    context, polled = make_context(opencode), [make_task("ses_1"), make_task("ses_2")]
    await gather(*(partial(task.refresh, context, tasks) for task in polled))
    await poll_for(10, clock, polled, context, tasks)
    assert opencode.read[2:] == ["/1", "/2"]
    opencode.status["ses_1_child"] = BUSY["ses_1"]
    opencode.children["ses_1"] = "ses_1_child"
    opencode.events.dispatch(event("session.created", "ses_1_child", info={"id": "ses_1_child", "parentID": "ses_1"}))
    await gather(*(partial(task.refresh, context, tasks) for task in polled))
    assert opencode.calls.count("session_messages") == 3
    await poll_for(30, clock, polled, context, tasks)
    assert opencode.calls.count("session_messages") == 3
    assert opencode.read[5:] == ["/1", "/2"] * 3


@pytest.mark.parametrize(("others", "seconds"), [(0, 60), (9, 300), (999, 900)])
async def test_a_task_is_read_in_full_the_more_seldom_the_more_listen(
    tasks: TaskGroup, monkeypatch: pytest.MonkeyPatch, others: int, seconds: int
) -> None:
    """To the events of its own server; those of the default server do not count."""
    clock = set_clock(monkeypatch)
    default, own = FakeOpenCode(), FakeOpenCode(status=BUSY, messages=[DONE])
    default.events.subscribers += [list[Event]().append] * 100
    own.events.subscribers += [list[Event]().append] * others
    servers = ServerPool(cast("Any", {"default": default, "own": own}), {"ses_1": "own"})
    context, task = replace(make_context(own), servers=servers), make_task()
    await task.refresh(context, tasks)
    await poll_for(seconds - 5, clock, [task], context, tasks)
    assert own.calls.count("session_messages") == 1
    await poll_for(5, clock, [task], context, tasks)
    assert (own.calls.count("session_messages"), default.calls) == (2, [])


async def test_an_event_during_the_first_read_is_noted(tasks: TaskGroup) -> None:
    """The turn ends after its status was read."""

    class EndsMeanwhile(FakeOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "session_messages" and self.status:
                self.status = {}
                self.events.dispatch(event("session.idle"))
            return await super().call(name, **arguments)

    opencode = EndsMeanwhile(status=BUSY, messages=[DONE])
    context, task = make_context(opencode), make_task()
    await task.refresh(context, tasks)
    assert task.view.status == "working"
    await task.refresh(context, tasks)
    assert task.view.status == "completed"


async def test_a_cancelled_read_is_repeated(tasks: TaskGroup) -> None:
    """The event that was its reason is not forgotten."""
    opencode = FakeOpenCode(status=BUSY, messages=[DONE])
    context, task = make_context(opencode), make_task()
    await task.refresh(context, tasks)
    opencode.status = {}
    opencode.events.dispatch(event("session.idle"))
    async with background_task_group() as client:
        client.start_soon(task.refresh, context, tasks)
        await anyio.lowlevel.checkpoint()
    await task.refresh(context, tasks)
    assert task.view.status == "completed"


async def test_an_unreachable_opencode_fails_the_task_in_the_end(
    tasks: TaskGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the task works on, and OpenCode is not asked for each request of the client."""
    monkeypatch.setattr(polled_task, "CONFIRM_SECONDS", 0.05)
    opencode = FakeOpenCode(status=BUSY, messages=[DONE])
    context, task = make_context(opencode), make_task()
    await task.refresh(context, tasks)
    opencode.answers["session_status"] = TransportError("it does not run")
    opencode.events.dispatch(bare_event("stream.lost"))
    with pytest.raises(TransportError) as raised:
        await task.refresh(context, tasks)
    task.record_error(raised.value)
    assert (task.view.status, task.activity) == ("working", "OpenCode does not answer: it does not run")
    await anyio.sleep(0.06)
    assert await read_count(opencode, task, context, tasks) == 0
    assert not task.is_unreachable
    monkeypatch.setattr(polled_task, "UNREACHABLE_SECONDS", 0.0)
    await anyio.sleep(0.01)
    assert task.is_unreachable
    del opencode.answers["session_status"]
    task.expire()
    await task.refresh(context, tasks)
    assert (task.is_unreachable, task.error) == (False, None)


async def test_a_stalled_opencode_is_waited_for_once(tasks: TaskGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the confirmation gets no answer, the full read would get none either; one that fails is read in full."""
    monkeypatch.setattr(polled_task, "CONFIRM_SECONDS", 0.05)
    opencode = FakeOpenCode(status=BUSY, messages=[DONE])
    context, task = make_context(opencode), make_task()
    await task.refresh(context, tasks)
    opencode.answers["session_status"] = RequestTimeout("it does not answer")
    await anyio.sleep(0.06)
    before = len(opencode.calls)
    with pytest.raises(RequestTimeout):
        await task.refresh(context, tasks)
    assert opencode.calls[before:].count("session_status") == 1
    assert "session_get" not in opencode.calls[before:]

    opencode.answers["session_status"] = APIError("session_status", 500, "UnknownError", "no such directory")
    await anyio.sleep(0.06)
    before = len(opencode.calls)
    with pytest.raises(APIError):
        await task.refresh(context, tasks)
    assert "session_get" in opencode.calls[before:]
