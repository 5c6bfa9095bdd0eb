"""When OpenCode is read for a task that a client polls: after events, and seldom without one."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup

from opencode_mcp.exceptions import APIError, RequestTimeout, TransportError
from opencode_mcp.opencode.concurrency import background_task_group, gather
from opencode_mcp.server.mcp_tasks import polled_task
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


async def test_fifty_tasks_are_confirmed_by_three_requests(tasks: TaskGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the client asks for them: in CONFIRM_SECONDS that is less than one request in a second."""
    monkeypatch.setattr(polled_task, "CONFIRM_SECONDS", 0.5)
    sessions = [f"ses_{number}" for number in range(50)]
    opencode = FakeOpenCode(status=dict.fromkeys(sessions, BUSY["ses_1"]), messages=[DONE])
    context, polled = make_context(opencode), [make_task(session_id) for session_id in sessions]
    await gather(*(partial(task.refresh, context, tasks) for task in polled))
    await anyio.sleep(0.5)
    before = len(opencode.calls)
    for _ in range(3):
        await gather(*(partial(task.refresh, context, tasks) for task in polled))
    assert sorted(opencode.calls[before:]) == ["permission_list", "question_list", "session_status"]
    assert {task.view.status for task in polled} == {"working"}


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
