"""What is kept of a task between two requests of a client: OpenCode is read after events, and an end stays an end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import httpx2
import pytest
from anyio.abc import TaskGroup

from opencode_mcp.exceptions import APIError, LimitReached, TransportError
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.concurrency import background_task_group, gather
from opencode_mcp.opencode.models import PermissionRequest, QuestionRequest, parse_model
from opencode_mcp.server.elicitation import DECLINED_AT_ONCE
from opencode_mcp.server.mcp_tasks import polled_task
from opencode_mcp.server.mcp_tasks.opencode_tasks import decide, stop_task, update_promises
from opencode_mcp.server.mcp_tasks.polled_task import PolledTask
from opencode_mcp.tasks import Context, Decision, replies
from opencode_mcp.tasks.mcp_task_handle import TaskHandle, Turn
from opencode_mcp.tasks.metadata import METADATA_KEY
from opencode_mcp.tasks.report import TaskReport
from opencode_mcp.tasks.task_tools import WaitForTasks, wait_for_tasks
from opencode_mcp.tasks.turn_prompts import SHELL_PROMPT
from tests.tasks.test_race_conditions import DONE, FakeOpenCode, UnknownServer, make_context

pytestmark = pytest.mark.anyio

PROMPT_ID: str = DONE["info"].get("parentID", DONE["info"]["id"])
BUSY = {"ses_1": {"type": "busy"}}
ABORTED: dict[str, Any] = {**DONE, "info": {**DONE["info"], "error": {"name": "MessageAbortedError", "data": {}}}}


@pytest.fixture
async def tasks() -> AsyncGenerator[TaskGroup]:
    """What runs beside the requests."""
    async with background_task_group() as tasks:
        yield tasks


def make_task(*session_ids: str) -> PolledTask:
    """Return a task of one turn for each session."""
    turns = tuple(Turn(session_id, PROMPT_ID) for session_id in session_ids or ("ses_1",))
    return PolledTask(TaskHandle("run_task", turns))


def event(event_type: str, session_id: str = "ses_1", **properties: Any) -> dict[str, Any]:
    """Return an event of a session."""
    return {"type": event_type, "properties": {"sessionID": session_id, **properties}}


def accept(**content: str) -> dict[str, Any]:
    """Return the answer of a user who has filled in a form."""
    return {"action": "accept", "content": content}


def bare_event(event_type: str) -> dict[str, Any]:
    """Return an event of no session."""
    return {"type": event_type, "properties": dict[str, Any]()}


async def read_count(opencode: FakeOpenCode, task: PolledTask, context: Context, tasks: TaskGroup) -> int:
    """Return how many requests to OpenCode one request of the client makes."""
    before = len(opencode.calls)
    await task.refresh(context, tasks)
    return len(opencode.calls) - before


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


async def test_an_end_stays_an_end(tasks: TaskGroup) -> None:
    """Whatever happens in the session later."""
    opencode = FakeOpenCode(messages=[DONE])
    context, task = make_context(opencode), make_task()
    await task.refresh(context, tasks)
    value = task.view.value
    opencode.answers["session_get"] = APIError("session_get", 404, "NotFoundError", "Session not found: ses_1")
    opencode.events.dispatch(event("session.deleted"))
    assert await read_count(opencode, task, context, tasks) == 0
    assert (task.view.status, task.view.value) == ("completed", value)


async def test_an_older_report_does_not_end_a_task(tasks: TaskGroup) -> None:
    """Where OpenCode does not answer, the report is read again."""
    opencode = FakeOpenCode(messages=[DONE], answers={"session_todo": TransportError("it does not run")})
    context, task = make_context(opencode), make_task()
    context.servers.remember_report("ses_1", TaskReport(session_id="ses_1", directory="/project", state="running"))
    with pytest.raises(TransportError):
        await task.refresh(context, tasks)
    del opencode.answers["session_todo"]
    await task.refresh(context, tasks)
    assert isinstance(task.view.value, TaskReport)
    assert (task.view.status, task.view.value.state) == ("completed", "completed")


async def test_a_reply_that_takes_long_does_not_end_a_task(tasks: TaskGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCode still lists a request that the task's policy has answered; later it does not."""
    monkeypatch.setattr(replies, "CONFIRM_SECONDS", 0.0)
    allowed = {"id": "ses_1", "directory": "/project", "time": {"created": 1}}
    metadata = {METADATA_KEY: {"permissions": "allow"}}
    answers: dict[str, Any] = {"permission_list": [PERMISSION], "session_get": {**allowed, "metadata": metadata}}
    opencode = FakeOpenCode(status=BUSY, messages=[DONE], answers=answers)
    context, task = make_context(opencode), make_task()
    with pytest.raises(LimitReached):
        await task.refresh(context, tasks)
    del answers["permission_list"]
    await task.refresh(context, tasks)
    assert task.view.status == "working"


async def test_a_task_is_stopped_until_it_has_stopped() -> None:
    """A client may not ask for a task that it has cancelled, so nothing else would stop it."""

    class StopsLate(FakeOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "session_abort" and name in self.calls:
                self.status, self.messages = {}, [ABORTED]
            elif name == "session_abort":
                self.calls.append(name)
                raise TransportError("the connection was reset")
            return await super().call(name, **arguments)

    opencode = StopsLate(status=BUSY, messages=[DONE])
    task = make_task()
    await stop_task(make_context(opencode), task)
    assert opencode.messages == [ABORTED]


async def test_a_fault_while_a_task_is_stopped_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """It does not end the server, and the next tasks/cancel stops the task."""

    class Faulty(FakeOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            raise KeyError(name)

    task = make_task()
    task.stopping = True
    await stop_task(make_context(Faulty()), task)
    assert not task.stopping
    assert "could not be stopped" in caplog.text


async def test_the_end_of_a_wait_stays_an_end(tasks: TaskGroup) -> None:
    """A read that goes on does not revive it, and what has ended is not cancelled."""
    opencode = FakeOpenCode(status=BUSY, messages=[DONE])
    context, task = make_context(opencode), make_task()

    async def read() -> None:
        async with task.lock:
            await task.refresh(context, tasks)

    async with anyio.create_task_group() as client:
        client.start_soon(read)
        await anyio.lowlevel.checkpoint()
        client.start_soon(task.end_wait)
    assert task.view.status == "cancelled"

    opencode.status, ended = {}, make_task()
    await ended.refresh(context, tasks)
    await ended.end_wait()
    assert ended.view.status == "completed"


async def test_what_runs_on_after_a_wait_stays_promised(tasks: TaskGroup) -> None:
    """The other tasks of a wait for any may have handles of their own."""

    class RecordingServer(UnknownServer):
        promised: ClassVar[dict[str, str | None]] = {}

        def promise(self, session_id: str, directory: str | None) -> None:
            self.promised[session_id] = directory

    class FirstEnds(FakeOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            answer = await super().call(name, **arguments)
            busy = name == "session_messages" and arguments["sessionID"] == "ses_2"
            return [reply_to(PROMPT_ID, "tool-calls")] if busy else answer

    server = RecordingServer(Endpoint(httpx2.URL("http://still.test")))
    opencode = FirstEnds(status={"ses_2": {"type": "busy"}}, messages=[DONE], server=server)
    context, task = make_context(opencode), make_task("ses_1", "ses_2")
    task.handle = replace(task.handle, tool="wait_for_tasks", until="any")
    turns = await task.refresh(context, tasks)
    assert turns is not None
    await update_promises(context, turns)
    assert task.view.status == "completed"
    assert server.promised == {"ses_1": None, "ses_2": "/project"}


async def test_a_call_that_cannot_continue_reports_its_tasks() -> None:
    """OpenCode does not answer when their handle is stored: the caller still gets their ids."""
    statuses = {session_id: {"type": "busy"} for session_id in ("ses_1", "ses_2")}
    opencode = FakeOpenCode(
        status=statuses, messages=[DONE], answers={"session_update": TransportError("it was reset")}
    )
    context = replace(make_context(opencode), hold_seconds=0.0).holding("wait_for_tasks")
    waited = await wait_for_tasks(context, WaitForTasks(session_ids=[*statuses], until="all", timeout_seconds=9))
    assert {report.session_id: report.state for report in waited.tasks} == {"ses_1": "running", "ses_2": "running"}


async def test_a_deleted_session_ends_its_task(tasks: TaskGroup) -> None:
    """With the reason as the result."""
    opencode = FakeOpenCode(status=BUSY, messages=[DONE])
    context, task = make_context(opencode), make_task()
    await task.refresh(context, tasks)
    opencode.answers["session_get"] = APIError("session_get", 404, "NotFoundError", "Session not found: ses_1")
    opencode.events.dispatch(event("session.deleted"))
    await task.refresh(context, tasks)
    assert task.view.status == "completed"
    assert "Session not found: ses_1" in str(task.view.value)


async def test_a_deleted_first_session_ends_its_group(tasks: TaskGroup) -> None:
    """A process that did not start it cannot know the others then."""
    missing = APIError("session_get", 404, "NotFoundError", "Session not found: ses_1")
    opencode = FakeOpenCode(messages=[DONE], answers={"session_get": missing})
    turns = (Turn("ses_1", PROMPT_ID),)
    task = PolledTask(TaskHandle("run_tasks", turns, group="0123456789ab"))
    await task.refresh(make_context(opencode), tasks)
    assert (task.view.status, task.view.value) == ("completed", str(missing))


async def test_an_unreachable_opencode_fails_the_task_in_the_end(
    tasks: TaskGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the task works on, and OpenCode is not asked for each request of the client."""
    opencode = FakeOpenCode(status=BUSY, messages=[DONE])
    context, task = make_context(opencode), make_task()
    await task.refresh(context, tasks)
    opencode.answers["session_status"] = TransportError("it does not run")
    opencode.events.dispatch(bare_event("stream.lost"))
    with pytest.raises(TransportError) as raised:
        await task.refresh(context, tasks)
    task.record_error(raised.value)
    assert (task.view.status, task.activity) == ("working", "OpenCode does not answer: it does not run")
    assert await read_count(opencode, task, context, tasks) == 0
    assert not task.is_unreachable
    monkeypatch.setattr(polled_task, "UNREACHABLE_SECONDS", 0.0)
    await anyio.sleep(0.01)
    assert task.is_unreachable
    del opencode.answers["session_status"]
    task.expire()
    await task.refresh(context, tasks)
    assert (task.is_unreachable, task.error) == (False, None)


def user_message(message_id: str, *parts: dict[str, Any]) -> dict[str, Any]:
    """Return a user's message."""
    return {"info": {"id": message_id, "role": "user", "time": {"created": 3}}, "parts": [*parts]}


def reply_to(message_id: str, finish: str = "stop") -> dict[str, Any]:
    """Return the whole reply to a user's message."""
    facts = {"id": f"{message_id}r", "role": "assistant", "parentID": message_id, "finish": finish}
    return {"info": {**facts, "time": {"created": 3, "completed": 4}}, "parts": list[Any]()}


def text(words: str, synthetic: bool = False) -> dict[str, Any]:
    """Return a part of text."""
    return {"type": "text", "text": words, "synthetic": synthetic}


COMPACTED = [user_message("msg_3", {"type": "compaction", "auto": True}), reply_to("msg_3")]
SUMMARIZED = [user_message("msg_3", {"type": "compaction", "auto": False}), reply_to("msg_3")]
LATER_MESSAGES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "a compaction begins": (COMPACTED[:1], "working"),
    "the prompt is repeated after it": ([*COMPACTED, user_message("msg_4", text("try"))], "working"),
    "it is continued after it": ([*COMPACTED, user_message("msg_4", text("Continue", synthetic=True))], "working"),
    "a command's subagent has ended": ([user_message("msg_3", text("Summarize", synthetic=True))], "working"),
    "the user prompts": ([user_message("msg_3", text("more"))], "completed"),
    "the user prompts after a continuation": (
        [*COMPACTED, user_message("msg_4", text("try")), reply_to("msg_4"), user_message("msg_5", text("more"))],
        "completed",
    ),
    "the user has it summarized": (SUMMARIZED, "completed"),
    "the user runs a command": ([user_message("msg_3", text(SHELL_PROMPT, synthetic=True))], "completed"),
}


@pytest.mark.parametrize(("later", "status"), LATER_MESSAGES.values(), ids=LATER_MESSAGES)
async def test_a_turn_that_opencode_continues_runs_on(
    tasks: TaskGroup, later: list[dict[str, Any]], status: str
) -> None:
    """OpenCode itself adds messages of the user's to a turn; only a prompt of the user's ends it."""
    prompt = user_message("msg_1", text("try"))
    opencode = FakeOpenCode(status=BUSY, messages=[prompt, reply_to("msg_1", "tool-calls"), *later])
    task = make_task()
    await task.refresh(make_context(opencode), tasks)
    assert task.view.status == status


PERMISSION = {"id": "per_1", "sessionID": "ses_1", "permission": "bash", "patterns": ["make"]}
COLOURS = [{"label": "Red"}, {"label": "Blue"}]
QUESTION = {
    "id": "que_1",
    "sessionID": "ses_1",
    "questions": [{"question": "Which?", "options": COLOURS, "multiple": False, "custom": False}],
}
ANSWERS: dict[str, tuple[dict[str, Any], Any, float, Decision | None, dict[str, str]]] = {
    "a reply": (PERMISSION, accept(reply="once"), 0, Decision(reply="once"), {}),
    "an unknown reply": (PERMISSION, accept(reply="yes"), 9, None, {}),
    "a form without content": (PERMISSION, {"action": "accept"}, 9, None, {}),
    "what is not an answer": (PERMISSION, "once", 9, None, {}),
    "nothing": (PERMISSION, None, 9, None, {}),
    "an option": (QUESTION, accept(answer_1="Red"), 0, Decision(answers=(("Red",),)), {}),
    "what is not an option": (QUESTION, accept(answer_1="Green"), 9, None, {}),
    "a refusal": (PERMISSION, {"action": "decline"}, 9, Decision(reply="reject"), {}),
    "a refusal without a user": (PERMISSION, {"action": "decline"}, 0.1, None, {"per_1": DECLINED_AT_ONCE}),
    "a closed form": (QUESTION, {"action": "cancel"}, 9, None, {"que_1": ""}),
}


@pytest.mark.parametrize(("request_facts", "answer", "seconds", "decision", "declined"), ANSWERS.values(), ids=ANSWERS)
def test_answers_are_checked(
    request_facts: dict[str, Any], answer: Any, seconds: float, decision: Decision | None, declined: dict[str, str]
) -> None:
    """A wrong one leaves the request pending; a user who does not decide leaves it to the model."""
    model = PermissionRequest if "permission" in request_facts else QuestionRequest
    task = make_task()
    assert decide(task, parse_model("a request", model, request_facts), answer, seconds) == decision
    assert task.declined == declined
