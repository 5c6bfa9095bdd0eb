"""When a session is read for the first time after this call has sent its prompt: after an event, or without one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from opencode_mcp.opencode.events import Listener
from opencode_mcp.opencode.models import Session, parse_model
from opencode_mcp.tasks import wait
from opencode_mcp.tasks.session_watch import ReportedError
from opencode_mcp.tasks.wait import wait_until_settled
from tests.fake_event_stream import FakeEventStream

from .test_race_conditions import DONE, FakeOpenCode, make_context

pytestmark = pytest.mark.anyio

FOREVER = 1000.0
BUSY = {"ses_1": {"type": "busy"}}


@dataclass
class TimedOpenCode(FakeOpenCode):
    """Records when it was first read."""

    read_at: list[float] = field(default_factory=list[float])

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Answer as OpenCode does."""
        self.read_at.append(anyio.current_time())
        return await super().call(name, **arguments)


class BusyStream(FakeEventStream):
    """Says at once that the session works."""

    @contextmanager
    def subscribe(self, notice: Listener) -> Generator[None]:
        """Call the listener with the event, and with each of the test's."""
        with super().subscribe(notice):
            notice({"type": "session.status", "properties": {"sessionID": "ses_1", "status": BUSY["ses_1"]}})
            yield


def set_pauses(monkeypatch: pytest.MonkeyPatch, first: float, later: float) -> None:
    """Set how long a wait without an event takes: for the first read, and once an event has said that it works."""
    monkeypatch.setattr(wait, "FIRST_READ_SECONDS", first)
    monkeypatch.setattr(wait, "POLL_SECONDS", later)


async def wait_for(opencode: FakeOpenCode, seconds: float, error: ReportedError | None = None) -> str:
    """Wait for a turn whose prompt was just accepted; return its state."""
    facts = {"id": "ses_1", "directory": "/project", "time": {"created": 1}}
    session = parse_model("a session", Session, facts)
    deadline = anyio.current_time() + seconds
    context = make_context(opencode)
    with anyio.fail_after(60):
        outcome = await wait_until_settled(context, "ses_1", "", deadline, reported_error=error, session=session)
    return outcome.status.state


async def test_without_any_event_it_is_read_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCode may have ended the turn before the stream was there."""
    set_pauses(monkeypatch, 0.2, FOREVER)
    opencode, began = TimedOpenCode(messages=[DONE]), anyio.current_time()
    assert await wait_for(opencode, FOREVER) == "completed"
    assert opencode.read_at[0] - began >= 0.2


async def test_after_an_error_it_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error came before the wait, so no event will come of it."""
    set_pauses(monkeypatch, FOREVER, FOREVER)
    error = ReportedError("the model is unknown", anyio.current_time())
    assert await wait_for(TimedOpenCode(messages=[DONE]), FOREVER, error) == "completed"


async def test_a_deadline_that_has_passed_is_followed_by_one_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is reported was read, and was not assumed."""
    set_pauses(monkeypatch, FOREVER, FOREVER)
    opencode = TimedOpenCode(messages=[DONE], status=BUSY)
    assert await wait_for(opencode, -1) == "running"
    assert opencode.calls.count("session_status") == 1
    assert await wait_for(TimedOpenCode(messages=[DONE]), -1) == "completed"


async def test_once_it_works_it_is_read_as_often_as_others_that_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event says so, and none comes after that."""
    set_pauses(monkeypatch, 0.1, 0.4)
    opencode, began = TimedOpenCode(messages=[DONE], events=BusyStream()), anyio.current_time()
    assert await wait_for(opencode, FOREVER) == "completed"
    assert opencode.read_at[0] - began >= 0.4
