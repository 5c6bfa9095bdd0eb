"""The errors that OpenCode tells of by an event alone: their words are the verdict, however early they come."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from opencode_mcp.opencode.background import background_task_group
from opencode_mcp.workflows import wait as waiting
from opencode_mcp.workflows.run import RunTask, run_task
from opencode_mcp.workflows.wait import wait_until_settled
from tests.eventually import eventually

from .test_moments import DONE, REPLY, Still, context_of, error

pytestmark = pytest.mark.anyio

HALF: dict[str, Any] = {**DONE, "info": {**REPLY, "finish": None, "time": {"created": 1}}}


async def test_an_error_is_the_verdict_although_its_session_is_idle_only_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCode tells of the error, and then ends the turn: whoever looks between sees that it works."""
    monkeypatch.setattr(waiting, "STALLED_SECONDS", 0.5)
    opencode = Still(messages=[HALF], status={"ses_1": {"type": "busy"}})

    async def fail() -> None:
        await anyio.sleep(0.05)
        opencode.events.tell(error("NoSuchFolder", sessionID="ses_1"))
        await eventually(lambda: opencode.calls.count("session_status") >= 2)
        opencode.status = {}
        opencode.events.tell({"type": "session.idle", "properties": {"sessionID": "ses_1"}})

    async with background_task_group() as tasks:
        tasks.start_soon(fail)
        outcome = await wait_until_settled(context_of(opencode), "ses_1", "", anyio.current_time() + 30)

    assert (outcome.status.state, outcome.status.error) == ("failed", "NoSuchFolder: NoSuchFolder")


async def test_an_error_that_ended_nothing_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session worked on; that it ends without a reply then has another reason."""
    monkeypatch.setattr(waiting, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr(waiting, "ERROR_STALLED_SECONDS", 0.1)
    opencode = Still(messages=[HALF], status={"ses_1": {"type": "busy"}})

    async def go_on() -> None:
        await anyio.sleep(0.05)
        opencode.events.tell(error("CannotReadFile", sessionID="ses_1"))
        await anyio.sleep(0.2)
        looks = opencode.calls.count("session_status")
        opencode.events.tell({"type": "permission.replied", "properties": {"sessionID": "ses_1"}})
        await eventually(lambda: opencode.calls.count("session_status") > looks)
        opencode.status = {}
        opencode.events.tell({"type": "session.idle", "properties": {"sessionID": "ses_1"}})

    async with background_task_group() as tasks:
        tasks.start_soon(go_on)
        outcome = await wait_until_settled(context_of(opencode), "ses_1", "", anyio.current_time() + 30)

    assert outcome.status.state == "failed"
    assert str(outcome.status.error).startswith("OpenCode exited during the turn")


async def test_an_error_that_comes_before_the_task_is_waited_for_is_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OpenCode may be done with a prompt before it has answered that it takes it."""
    monkeypatch.setattr(waiting, "STALLED_SECONDS", 0.5)

    class Quick(Still):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "session_prompt_async":
                self.messages = [HALF]
                self.events.tell(error("NoSuchFolder", sessionID="ses_1"))
            return await super().call(name, **arguments)

    report = await run_task(context_of(Quick()), RunTask.model_validate({"prompt": "try", "session_id": "ses_1"}))

    assert (report.state, report.error) == ("failed", "NoSuchFolder: NoSuchFolder")
