"""How many requests a task costs OpenCode, and how many rounds of them come after the turn's end, one after another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import anyio
import pytest

from opencode_mcp.opencode.concurrency import background_task
from opencode_mcp.opencode.events import Event
from opencode_mcp.opencode.models import Message, parse_model
from opencode_mcp.tasks.report import TaskReport
from opencode_mcp.tasks.session_state import read_snapshot
from opencode_mcp.tasks.task_tools import ReportTask, RunTask, report_task, run_task
from opencode_mcp.tasks.turn_changes import read_complete_diff
from tests.eventually import eventually

from .test_race_conditions import FakeOpenCode, make_context

pytestmark = pytest.mark.anyio

STEP = [{"type": "step-start", "snapshot": "a"}, {"type": "text", "text": "Hello."}]
BUSY = {"ses_1": {"type": "busy"}}


def status_event(kind: str) -> Event:
    """Return the event about the status of the session."""
    return {"type": "session.status", "properties": {"sessionID": "ses_1", "status": {"type": kind}}}


def turn_of(number: int = 1, parts: Any = (), end: str | None = "a") -> list[dict[str, Any]]:
    """Return the prompt and the reply of a turn; `end` is the state of the files after it, None: not stored yet."""
    prompt_id, time = f"msg_{2 * number:05}", {"created": 1, "completed": 2}
    info = {"id": f"msg_{2 * number + 1:05}", "role": "assistant", "parentID": prompt_id, "finish": "stop"}
    finish = [] if end is None else [{"type": "step-finish", "snapshot": end}]
    prompt: dict[str, Any] = {"info": {"id": prompt_id, "role": "user", "time": time}, "parts": []}
    return [prompt, {"info": {**info, "time": time}, "parts": [*STEP, *parts, *finish]}]


@dataclass
class LoggingOpenCode(FakeOpenCode):
    """Records when each request began and ended; `limits` are those of the messages that were asked for."""

    log: list[tuple[float, float, str]] = field(default_factory=list[tuple[float, float, str]])
    limits: list[int] = field(default_factory=list[int])

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Answer as OpenCode does."""
        began = anyio.current_time()
        await anyio.sleep(0.02)
        answer = await super().call(name, **arguments)
        self.log.append((began, anyio.current_time(), name))
        if "limit" not in arguments:
            return answer
        self.limits.append(arguments["limit"])
        return answer[-arguments["limit"] :]

    def rounds(self, since: int = 0) -> list[set[str]]:
        """Return the requests that ran at the same time, one round after another."""
        rounds: list[set[str]] = []
        round_end = 0.0
        for began, ended, name in sorted(self.log[since:]):
            if began >= round_end:
                rounds.append(set())
            rounds[-1].add(name)
            round_end = max(round_end, ended)
        return rounds


async def test_a_task_costs_eight_requests_and_three_rounds_after_its_end() -> None:
    """While the events say that the turn runs, nothing is read."""
    opencode = LoggingOpenCode(status=BUSY, messages=turn_of())
    reports: list[TaskReport] = []

    async def run() -> None:
        arguments = RunTask.model_validate({"prompt": "hello", "timeout_seconds": 30})
        reports.append(await run_task(make_context(opencode), arguments))

    async with background_task(run):
        await opencode.sent.wait()
        for _ in range(3):
            await anyio.sleep(0.05)
            opencode.events.dispatch(status_event("busy"))
        assert len(opencode.log) == 3
        opencode.status = {}
        opencode.events.dispatch(status_event("idle"))
        [report] = await eventually(lambda: list(reports))

    assert (report.state, report.answer, report.changes) == ("completed", "Hello.", None)
    assert opencode.rounds(3) == [
        {"session_status", "session_children"},
        {"session_messages", "session_get"},
        {"session_todo"},
    ]
    assert len(opencode.log) == 8


@pytest.mark.parametrize("turns", [1, 10, 100, 1000])
async def test_a_report_costs_the_same_however_long_the_session_is(turns: int) -> None:
    """As long as the newest messages reach back to the prompt."""
    messages = [message for number in range(turns) for message in turn_of(number)]
    opencode = LoggingOpenCode(messages=messages)
    report = await report_task(make_context(opencode), ReportTask.model_validate({"session_id": "ses_1"}))

    assert (report.state, len(opencode.log), len(opencode.rounds())) == ("completed", 6, 4)


async def test_a_turn_that_is_not_read_back_to_its_prompt_is_read_further() -> None:
    """Of a long turn the newest messages have not all, and are not read again."""
    prompt, reply = turn_of()
    call = {"type": "tool", "tool": "read", "state": {"status": "completed", "input": {"filePath": "a.py"}}}
    replies = [
        {"info": {**reply["info"], "id": f"msg_1{number:04}"}, "parts": [*reply["parts"], call]} for number in range(30)
    ]
    opencode = LoggingOpenCode(messages=[prompt, *replies])
    report = await report_task(make_context(opencode), ReportTask.model_validate({"session_id": "ses_1"}))

    assert (report.state, report.tool_calls) == ("completed", {"read": 30})
    assert opencode.limits == [20, 200, 200]


@pytest.mark.parametrize("children", [0, 1])
async def test_requests_of_an_idle_directory_are_not_read(children: int) -> None:
    """No session works that could wait for an answer; of a busy one that may be a subagent they are."""
    child = {"id": "ses_2", "parentID": "ses_1", "directory": "/project", "time": {"created": 1}}

    class WithChild(FakeOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "session_children" and arguments["sessionID"] == "ses_1":
                self.calls.append(name)
                return [child] * children
            return await super().call(name, **arguments)

    opencode = WithChild(status={"ses_other": {"type": "busy"}}, messages=turn_of())
    await read_snapshot(cast("Any", opencode), "ses_1")
    assert ("permission_list" in opencode.calls) is bool(children)
    opencode.calls.clear()
    opencode.status = {}
    await read_snapshot(cast("Any", opencode), "ses_1")
    assert "permission_list" not in opencode.calls


WRITTEN = {"type": "tool", "tool": "write", "state": {"status": "completed", "input": {"filePath": "/project/a.py"}}}


@pytest.mark.parametrize(
    ("parts", "end", "diffs"),
    [((), "a", 0), ((), "b", 1), ((), None, 1), ([WRITTEN], "a", 1), ([{"type": "patch", "files": ["a.py"]}], "b", 1)],
    ids=["same files", "other files", "step not ended", "file written", "files touched"],
)
async def test_the_sum_is_read_unless_the_steps_show_that_it_is_empty(parts: Any, end: str | None, diffs: int) -> None:
    messages = turn_of(1, parts, end)
    opencode = FakeOpenCode(messages=messages, answers={"session_diff": [{"file": "a.py"}]})
    recent = parse_model("messages", list[Message], messages)
    changes = await read_complete_diff(cast("Any", opencode), "ses_1", "msg_00002", None, recent)

    assert (opencode.calls.count("session_diff"), len(changes)) == (diffs, diffs)


async def test_nothing_is_created_before_opencode_has_answered() -> None:
    """A session that is asked of a frozen OpenCode would be created when it goes on, unknown to its caller."""
    opencode = LoggingOpenCode(messages=turn_of())
    context = make_context(opencode)
    for _ in range(2):
        since = len(opencode.log)
        await run_task(context, RunTask.model_validate({"prompt": "hello", "timeout_seconds": 30}))
        assert opencode.rounds(since)[:2] == [{"config_providers"}, {"session_create"}]
