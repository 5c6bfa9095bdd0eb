"""Errors that OpenCode reports only by an event: their text is the task's error, however early they come."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.tasks import wait as waiting
from opencode_mcp.tasks.task_tools import RunTask, run_task
from opencode_mcp.tasks.wait import wait_until_settled
from tests.eventually import eventually

from .test_race_conditions import DONE, REPLY, FakeOpenCode, error, make_context

pytestmark = pytest.mark.anyio

UNFINISHED: dict[str, Any] = {**DONE, "info": {**REPLY, "finish": None, "time": {"created": 1}}}


async def test_a_session_error_decides_the_state_before_the_session_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCode sends the error and then ends the turn: a read in between finds the session busy."""
    monkeypatch.setattr(waiting, "STALLED_SECONDS", 0.5)
    opencode = FakeOpenCode(messages=[UNFINISHED], status={"ses_1": {"type": "busy"}})

    async def fail() -> None:
        await anyio.sleep(0.05)
        opencode.events.dispatch(error("NoSuchFolder", sessionID="ses_1"))
        await eventually(lambda: opencode.calls.count("session_status") >= 2)
        opencode.status = {}
        opencode.events.dispatch({"type": "session.idle", "properties": {"sessionID": "ses_1"}})

    async with background_task_group() as tasks:
        tasks.start_soon(fail)
        outcome = await wait_until_settled(make_context(opencode), "ses_1", "", anyio.current_time() + 30)

    assert (outcome.status.state, outcome.status.error) == ("failed", "NoSuchFolder: NoSuchFolder")


async def test_an_error_that_does_not_end_the_turn_is_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session worked on, so its end without a reply has another reason."""
    monkeypatch.setattr(waiting, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr(waiting, "ERROR_STALLED_SECONDS", 0.1)
    opencode = FakeOpenCode(messages=[UNFINISHED], status={"ses_1": {"type": "busy"}})

    async def go_on() -> None:
        await anyio.sleep(0.05)
        opencode.events.dispatch(error("CannotReadFile", sessionID="ses_1"))
        await anyio.sleep(0.2)
        looks = opencode.calls.count("session_status")
        opencode.events.dispatch({"type": "permission.replied", "properties": {"sessionID": "ses_1"}})
        await eventually(lambda: opencode.calls.count("session_status") > looks)
        opencode.status = {}
        opencode.events.dispatch({"type": "session.idle", "properties": {"sessionID": "ses_1"}})

    async with background_task_group() as tasks:
        tasks.start_soon(go_on)
        outcome = await wait_until_settled(make_context(opencode), "ses_1", "", anyio.current_time() + 30)

    assert outcome.status.state == "failed"
    assert str(outcome.status.error).startswith("OpenCode exited during the turn")


async def test_an_error_before_the_wait_decides_the_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OpenCode may have ended a turn before it responds that the prompt was accepted."""
    monkeypatch.setattr(waiting, "STALLED_SECONDS", 0.5)

    class Quick(FakeOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "session_prompt_async":
                self.messages = [UNFINISHED]
                self.events.dispatch(error("NoSuchFolder", sessionID="ses_1"))
            return await super().call(name, **arguments)

    report = await run_task(make_context(Quick()), RunTask.model_validate({"prompt": "try", "session_id": "ses_1"}))

    assert (report.state, report.error) == ("failed", "NoSuchFolder: NoSuchFolder")
