"""The setup of a task whose response OpenCode does not deliver, with a fake one; and several setups at once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from opencode_mcp.exceptions import SetupFailed, TransportError, WorkflowError
from opencode_mcp.opencode.models import Session, SessionStatus, parse_model
from opencode_mcp.tasks.follow_up import send_follow_up
from opencode_mcp.tasks.options import StartTask
from opencode_mcp.tasks.pending_starts import MAX_CONCURRENT_STARTS, PendingStart
from opencode_mcp.tasks.session_state import classify, read_snapshot
from opencode_mcp.tasks.setup import set_up
from opencode_mcp.tasks.start import continue_session
from opencode_mcp.tasks.task_event import TaskEvent
from tests.eventually import eventually

from .test_race_conditions import FakeOpenCode, make_context

pytestmark = pytest.mark.anyio

SESSION = {"id": "ses_1", "directory": "/project", "time": {"created": 1}}
BUSY = parse_model("a status", SessionStatus, {"type": "busy"})
TASK = StartTask.model_validate({"prompt": "try", "setup": ["make deps"]})


@dataclass
class ShellOpenCode(FakeOpenCode):
    """An OpenCode whose shell answers, or loses its response, after `release`; its sessions are all `ses_1`."""

    release: anyio.Event = field(default_factory=anyio.Event)
    answers: dict[str, Any] = field(default_factory=lambda: {"config_get": {}})
    lost: bool = False

    def prepare(self, operation: Any, arguments: Any) -> Any:
        """Return a call."""
        return SimpleNamespace(parts=arguments)

    async def request(self, operation: Any, parts: Any, read_seconds: float | None) -> None:
        """Run a command."""
        await self.release.wait()
        if self.lost:
            raise TransportError("the connection was lost")


def shell_message(output: str) -> dict[str, Any]:
    """Return the message of a command that printed this."""
    state = {"status": "completed", "output": output, "time": {"start": 1000, "end": 2000}}
    info = {"id": "msg_2", "role": "assistant", "parentID": "msg_1", "time": {"created": 1, "completed": 2}}
    return {"info": info, "parts": [{"type": "tool", "state": state}]}


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ([shell_message("made\n\nses_1 0\n")], None),
        ([shell_message("no network\n\nses_1 4\n")], "failed with exit code 4: make deps\nno network"),
        ([shell_message("half of it")], "was not finished: half of it"),
        ([], "did not begin"),
    ],
)
async def test_a_setup_whose_response_is_lost_is_read(messages: list[Any], error: str | None) -> None:
    """What OpenCode stored about it counts, not the connection."""
    opencode = ShellOpenCode(messages=messages, lost=True)
    opencode.release.set()
    session = parse_model("a session", Session, SESSION)

    if error is None:
        await set_up(make_context(opencode), session, TASK)
    else:
        with pytest.raises(SetupFailed) as failed:
            await set_up(make_context(opencode), session, TASK)
        assert error in str(failed.value)


async def test_long_setups_do_not_delay_the_start_of_other_tasks() -> None:
    """Every task has its session while all setups run, however many: only what comes before is limited."""
    opencode = ShellOpenCode(messages=[shell_message("\nses_1 0\n")])
    starts = [PendingStart() for _ in range(MAX_CONCURRENT_STARTS + 1)]
    limiter = anyio.CapacityLimiter(MAX_CONCURRENT_STARTS)

    async with anyio.create_task_group() as tasks:
        for start in starts:
            tasks.start_soon(start.run, make_context(opencode), TASK, limiter)
        await eventually(lambda: {start.activity for start in starts} == {"setting up: make deps"})
        opencode.release.set()

    assert all(start.prompt is not None for start in starts)
    assert limiter.borrowed_tokens == 0


async def test_a_repeated_call_waits_for_the_setup_of_the_first() -> None:
    """It sends no prompt of its own, and fails as the first one does."""
    opencode = ShellOpenCode()
    context = make_context(opencode)
    first = PendingStart(session_id="ses_1", request_id="mine")
    context.servers.pending_starts["ses_1"] = first
    sessions: list[Session] = []

    async def repeat() -> None:
        with pytest.raises(SetupFailed, match="no network"):
            await continue_session(context, TASK.model_copy(update={"request_id": "mine"}), "ses_1", sessions.append)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(repeat)
        await eventually(lambda: [session.id for session in sessions] == ["ses_1"])
        first.failure = SetupFailed("no network")
        first.finished.set()

    assert "session_prompt_async" not in opencode.calls


async def test_a_failed_setup_is_an_event(caplog: pytest.LogCaptureFixture) -> None:
    """Also while the call waits, as it returns a report of the task; it is logged only if no call waits."""
    events: list[TaskEvent] = []
    opencode = ShellOpenCode(messages=[shell_message("no network\n\nses_1 3\n")])
    opencode.release.set()
    start = PendingStart()

    await start.run(replace(make_context(opencode), send_event=events.append), TASK, anyio.CapacityLimiter(1))

    assert isinstance(start.failure, SetupFailed)
    assert [(event.state, "exit code 3" in event.message) for event in events] == [("failed", True)]
    assert not caplog.records

    await PendingStart(caller_returned=True).run(make_context(opencode), TASK, anyio.CapacityLimiter(1))

    assert "exit code 3" in caplog.text


async def test_a_session_without_its_setup_takes_no_other_prompt() -> None:
    """Its first prompt comes from the bridge that sets it up; without that the task has failed."""
    metadata = {"opencode_mcp": {"has_setup": True}}
    opencode = FakeOpenCode(answers={"session_get": {**SESSION, "metadata": metadata}})

    snapshot = await read_snapshot(cast("Any", opencode), "ses_1")
    assert classify(replace(snapshot, statuses={"ses_2": BUSY})).activity == "running its setup"
    assert "the bridge that set it up has ended" in str(classify(snapshot).stalled_reason)
    with pytest.raises(WorkflowError, match="the setup of session ses_1 has not ended"):
        await send_follow_up(make_context(opencode), StartTask.model_validate({"prompt": "go on"}), "ses_1")
    assert "session_prompt_async" not in opencode.calls
