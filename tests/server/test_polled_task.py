"""What is kept of a task between two requests of a client: an end stays an end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import httpx2
import pytest
from anyio.abc import TaskGroup

from opencode_mcp.exceptions import APIError, LimitReached, TransportError
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.models import PermissionRequest, QuestionRequest, parse_model
from opencode_mcp.server.elicitation import DECLINED_AT_ONCE
from opencode_mcp.server.mcp_tasks.opencode_tasks import decide, stop_task, update_promises
from opencode_mcp.server.mcp_tasks.polled_task import PolledTask
from opencode_mcp.tasks import Decision, replies
from opencode_mcp.tasks.mcp_task_handle import TaskHandle, Turn
from opencode_mcp.tasks.metadata import METADATA_KEY
from opencode_mcp.tasks.report import TaskReport
from opencode_mcp.tasks.task_tools import WaitForTasks, wait_for_tasks
from opencode_mcp.tasks.turn_prompts import SHELL_PROMPT
from tests.tasks.test_race_conditions import DONE, FakeOpenCode, UnknownServer, make_context

from .polled_tasks import BUSY, PERMISSION, PROMPT_ID, event, make_task, read_count

pytestmark = pytest.mark.anyio

ABORTED: dict[str, Any] = {**DONE, "info": {**DONE["info"], "error": {"name": "MessageAbortedError", "data": {}}}}


def accept(**content: str) -> dict[str, Any]:
    """Return the answer of a user who has filled in a form."""
    return {"action": "accept", "content": content}


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
    monkeypatch.setattr(replies, "REPLY_SECONDS", 0.0)
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
