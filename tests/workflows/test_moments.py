"""Moments that a real OpenCode passes too quickly to be caught in them, with one that stands still there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import anyio
import pytest

from opencode_mcp.opencode import Servers
from opencode_mcp.opencode.background import background
from opencode_mcp.opencode.events import Event
from opencode_mcp.opencode.server import silent
from opencode_mcp.workflows.context import Context
from opencode_mcp.workflows.run import RunTask, run_task
from opencode_mcp.workflows.wait import ERROR_SECONDS, settle
from tests.eventually import eventually
from tests.feed import Feed

pytestmark = pytest.mark.anyio

REPLY = {"id": "msg_2", "role": "assistant", "parentID": "msg_1", "finish": "stop"}
DONE: dict[str, Any] = {"info": {**REPLY, "time": {"created": 1, "completed": 2}}, "parts": []}


@dataclass
class Still:
    """An OpenCode with one session, whose state and messages are the test's."""

    status: dict[str, Any] = field(default_factory=dict[str, Any])
    messages: list[Any] = field(default_factory=list[Any])
    calls: list[str] = field(default_factory=list[str])
    events: Feed = field(default_factory=Feed)
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    sent: anyio.Event = field(default_factory=anyio.Event)

    def alone(self, session_id: str) -> anyio.Lock:
        """The session's lock."""
        return self.lock

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Answer as OpenCode does."""
        await anyio.sleep(0.001)
        self.calls.append(name)
        match name:
            case "session_get":
                return {"id": "ses_1", "directory": "/project", "time": {"created": 1}}
            case "session_status":
                return dict(self.status)
            case "session_messages":
                return list(self.messages)
            case "config_providers":
                return {"providers": [{"id": "scripted", "models": {"scripted": None}}]}
            case "session_prompt_async":
                self.sent.set()
                return None
            case _:
                return []


def context_of(opencode: Still) -> Context:
    """What a workflow is given."""
    return Context(Servers(cast("Any", {"": opencode})), silent)


def error(name: str, **about: str) -> Event:
    """Return an event that tells of an error."""
    return {"type": "session.error", "properties": {**about, "error": {"name": name, "data": {"message": name}}}}


@pytest.mark.parametrize("event", [error("CannotReadFile", sessionID="ses_1"), error("BadSkillOfSomebody")])
async def test_an_error_that_ends_nothing_is_no_verdict(event: Event) -> None:
    """The prompt is worked on a moment later."""
    opencode = Still()

    async def go_on() -> None:
        await anyio.sleep(0.05)
        opencode.events.tell(event)
        await anyio.sleep(ERROR_SECONDS / 4)
        opencode.messages, opencode.status = [DONE], {}
        opencode.events.tell({"type": "session.idle", "properties": {"sessionID": "ses_1"}})

    async with background() as tasks:
        tasks.start_soon(go_on)
        outcome = await settle(context_of(opencode), "ses_1", None, anyio.current_time() + 30)

    assert outcome.verdict.state == "completed"


async def test_an_error_that_stays_alone_is_the_verdict() -> None:
    """Nothing comes of the prompt: OpenCode's own words say why."""
    opencode = Still()

    async def fail() -> None:
        await anyio.sleep(0.05)
        opencode.events.tell(error("NoSuchAgent", sessionID="ses_1"))

    async with background() as tasks:
        tasks.start_soon(fail)
        with anyio.fail_after(3 * ERROR_SECONDS):
            outcome = await settle(context_of(opencode), "ses_1", None, anyio.current_time() + 30)

    assert (outcome.verdict.state, outcome.verdict.error) == ("failed", "NoSuchAgent: NoSuchAgent")


async def test_a_caller_that_goes_between_the_prompt_and_its_beginning_leaves_no_task() -> None:
    """The prompt is sent and not yet seen: it is stopped like one that is at work."""
    opencode = Still(messages=[DONE])
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await run_task(context_of(opencode), RunTask.model_validate({"prompt": "go on", "session_id": "ses_1"}))

        tasks.start_soon(run)
        await opencode.sent.wait()
        opencode.status = {"ses_1": {"type": "busy"}}
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await eventually(lambda: "session_abort" in opencode.calls)
            opencode.status = {}
    assert opencode.calls.count("session_prompt_async") == 1
