"""answer_permission and answer_question: the reply is sent once, and the same call waits for the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest

from opencode_mcp.exceptions import APIError, InputRequired, OpenCodeError, RequestTimeout, WorkflowError
from opencode_mcp.opencode.models import AgentRequest
from opencode_mcp.tasks.answers import answer_permission
from opencode_mcp.tasks.context import Context, Decision, Undecided
from opencode_mcp.tasks.metadata import METADATA_KEY
from opencode_mcp.tasks.replies import AnswerPermission
from opencode_mcp.tasks.report import TaskReport
from opencode_mcp.tasks.task_tools import ReportTask, report_task
from tests.eventually import eventually

from .test_race_conditions import DONE, FakeOpenCode, make_context

pytestmark = pytest.mark.anyio

BUSY = {"ses_1": {"type": "busy"}}
REPLY = AnswerPermission.model_validate({"request_id": "per_1", "reply": "once"})


@dataclass
class AskingOpenCode(FakeOpenCode):
    """An OpenCode whose task waits for permissions, one after another, and completes after the last reply.

    `replies` are those that it received; `after_reply` is called with each request's id.
    """

    requests: list[str] = field(default_factory=lambda: ["per_1"])
    policy: str = "report"
    replies: list[str] = field(default_factory=list[str])
    after_reply: Callable[[str], None] = lambda request_id: None

    def __post_init__(self) -> None:
        self.status, self.messages = {**BUSY}, [DONE]

    async def call(self, name: str, /, **arguments: Any) -> Any:
        answer = await super().call(name, **arguments)
        match name:
            case "session_list":
                return [{"id": "ses_1", "directory": "/project", "time": {"created": 1}}]
            case "permission_list":
                return [{"id": one, "sessionID": "ses_1", "permission": "bash"} for one in self.requests[:1]]
            case "permission_reply":
                self.replies.append(arguments["requestID"])
                self.requests.remove(arguments["requestID"])
                self.status = {**BUSY} if self.requests else {}
                self.after_reply(arguments["requestID"])
                return True
            case "session_get":
                return {**answer, "metadata": {METADATA_KEY: {"permissions": self.policy}}}
            case _:
                return answer


@dataclass
class StatefulElicitor:
    """A client of protocol 2026-07-28: a question ends the call, and comes back with the user's answer."""

    answers: Mapping[str, Decision]

    async def elicit(self, request: AgentRequest, state: Mapping[str, Any]) -> Decision | Undecided:
        if request.id not in self.answers:
            raise InputRequired(request, state)
        return self.answers[request.id]


async def answer(opencode: FakeOpenCode, context: Context | None = None, seconds: float = 30) -> TaskReport:
    """Allow the first request once."""
    arguments = REPLY.model_copy(update={"timeout_seconds": seconds})
    return await answer_permission(context or make_context(opencode), arguments)


async def test_the_call_that_answers_returns_the_end_of_the_task() -> None:
    """No second call is needed to wait for it."""
    opencode = AskingOpenCode()

    report = await answer(opencode)

    assert (report.state, report.pending, report.note) == ("completed", [], None)
    assert opencode.replies == ["per_1"]


@pytest.mark.parametrize(
    ("policy", "state", "replies"),
    [
        ("report", "waiting_permission", ["per_1"]),
        ("allow", "completed", ["per_1", "per_2"]),
        ("reject", "completed", ["per_1", "per_2"]),
    ],
)
async def test_a_further_request_is_answered_by_the_task_s_policy(policy: str, state: str, replies: list[str]) -> None:
    """Or is reported, with its id."""
    opencode = AskingOpenCode(requests=["per_1", "per_2"], policy=policy)

    report = await answer(opencode)

    assert (report.state, opencode.replies) == (state, replies)
    assert [one.id for one in report.pending] == opencode.requests


async def test_a_resumed_call_sends_no_second_reply() -> None:
    """The client must ask its user about the next request, and repeats the call with the same arguments."""
    opencode = AskingOpenCode(requests=["per_1", "per_2"], policy="ask")
    context = make_context(opencode)
    with pytest.raises(InputRequired) as asked:
        await answer(opencode, replace(context, elicitor=StatefulElicitor({})))
    assert asked.value.request.id == "per_2"

    answered = StatefulElicitor({"per_2": Decision(reply="once")})
    report = await answer(opencode, replace(context, elicitor=answered, resume_state=asked.value.state))

    assert (report.session_id, report.state) == ("ses_1", "completed")
    assert opencode.replies == ["per_1", "per_2"]


async def test_zero_seconds_return_the_running_task() -> None:
    """After the reply was sent and confirmed, without waiting for the task."""
    opencode = AskingOpenCode()
    opencode.after_reply = lambda request_id: opencode.status.update(BUSY)

    with anyio.fail_after(5):
        report = await answer(opencode, seconds=0)

    assert (report.state, report.pending, opencode.replies) == ("running", [], ["per_1"])


async def test_a_cancelled_wait_leaves_the_task_running() -> None:
    """Its request stays answered, and nothing is aborted."""
    opencode = AskingOpenCode()
    opencode.after_reply = lambda request_id: opencode.status.update(BUSY)
    async with anyio.create_task_group() as calls:
        calls.start_soon(answer, opencode)
        await eventually(lambda: opencode.replies and opencode.events.subscribers)
        calls.cancel_scope.cancel()

    assert opencode.replies == ["per_1"]
    assert "session_abort" not in opencode.calls


@pytest.mark.parametrize("silent", ["permission_list", "session_status", "session_todo"])
async def test_an_error_after_the_reply_says_that_it_was_sent(silent: str) -> None:
    """Whether OpenCode stops responding during the confirmation, the wait or the report; an older report, which
    shows the request as pending, is not returned."""
    opencode = AskingOpenCode()
    context = make_context(opencode)
    assert (await report_task(context, ReportTask.model_validate({"session_id": "ses_1"}))).pending

    def fall_silent(request_id: str) -> None:
        opencode.answers[silent] = RequestTimeout(f"{silent}: no response in time")

    opencode.after_reply = fall_silent

    with pytest.raises(WorkflowError, match=rf"^The reply to per_1 was sent\. {silent}: no response in time") as raised:
        await answer(opencode, context, seconds=0)

    assert opencode.replies == ["per_1"]
    if silent != "permission_list":
        assert "The task is session ses_1: call report_task" in str(raised.value)


async def test_a_reply_that_fails_is_not_called_sent() -> None:
    """The error is that of the request."""
    opencode = AskingOpenCode()
    opencode.answers["permission_reply"] = RequestTimeout("no response in time; the request may still take effect")

    with pytest.raises(OpenCodeError, match=r"^no response in time; the request may still take effect$"):
        await answer(opencode)


async def test_a_request_that_another_client_answers_first_is_reported() -> None:
    """OpenCode refuses the second reply with 404; the call waits for the task, and says so."""

    class Answered(AskingOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "permission_reply":
                self.requests.clear()
                self.status = {}
                raise APIError(name, 404, "PermissionNotFoundError", "not found")
            return await super().call(name, **arguments)

    report = await answer(Answered())

    assert (report.state, report.note) == ("completed", "Another client had answered per_1 before.")


@pytest.mark.parametrize("reported", [False, True])
async def test_a_request_is_found_by_its_id(reported: bool) -> None:
    """In the session whose report showed it, else in the project's sessions: other projects are not loaded for it."""
    opencode = AskingOpenCode()
    context = make_context(opencode)
    if reported:
        await report_task(context, ReportTask.model_validate({"session_id": "ses_1"}))
        opencode.answers["session_list"] = []

    report = await answer(opencode, context)

    assert (report.state, opencode.replies) == ("completed", ["per_1"])
    assert ("session_list" in opencode.calls) is not reported
    assert "experimental_session_list" not in opencode.calls
