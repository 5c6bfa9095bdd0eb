"""A subagent that runs in the background begins, ends or is deleted: what its parent then is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from opencode_mcp.exceptions import APIError
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.tasks import session_state
from opencode_mcp.tasks.abort import stop_session
from opencode_mcp.tasks.session_state import classify, read_snapshot

from .test_race_conditions import DONE, FakeOpenCode, make_context

pytestmark = pytest.mark.anyio

WOKEN = {"info": {"id": "msg_3", "role": "user", "time": {"created": 3}}, "parts": list[Any]()}


@dataclass
class ParentOpenCode(FakeOpenCode):
    """An OpenCode with a session and a subagent below it, whose end wakes the session after a moment if `wakes`."""

    wakes: bool = False
    reads: int = 0

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Answer as OpenCode does."""
        if name == "session_children":
            child = {"id": "ses_2", "parentID": "ses_1", "directory": "/project", "time": {"created": 1}}
            return [child] if arguments["sessionID"] == "ses_1" else []
        if name == "session_abort":
            self.status = {}
            if arguments["sessionID"] == "ses_2":
                raise APIError(name, 404, "NotFoundError", "no such session", None)
        if name == "session_messages" and not self.status:
            self.reads += 1
            return [WOKEN] if self.wakes and self.reads > 1 else [DONE]
        return await super().call(name, **arguments)


@pytest.mark.parametrize(("wakes", "state"), [(True, "running"), (False, "completed")])
async def test_a_parent_is_read_again_after_its_subagent_has_ended(
    wakes: bool, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the end and the parent's next turn nothing is busy, and the parent's last reply is complete."""
    monkeypatch.setattr(session_state, "WAKE_SECONDS", 0.01)
    fake = ParentOpenCode(messages=[DONE], status={"ses_2": {"type": "busy"}}, wakes=wakes)
    opencode = cast("Any", fake)
    working = await read_snapshot(opencode, "ses_1")
    assert classify(working).state == "running"
    fake.status = {}

    assert classify(await read_snapshot(opencode, "ses_1", working)).state == state


async def test_a_subagent_that_began_between_two_reads_keeps_its_parent_running() -> None:
    """The read of the statuses is sent again after an error, and its parent has ended its turn meanwhile."""

    class LateStatus(ParentOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "session_children" and not self.calls.count("session_status"):
                return []
            return await super().call(name, **arguments)

    fake = LateStatus(messages=[DONE], status={"ses_2": {"type": "busy"}})
    snapshot = await read_snapshot(cast("Any", fake), "ses_1")

    assert (classify(snapshot).state, snapshot.family) == ("running", ("ses_1", "ses_2"))


async def test_the_messages_of_an_idle_parent_are_not_those_of_an_idle_session() -> None:
    """A subagent of its subagent works: its end wakes the parent, which then writes more."""

    class WithGrandchild(ParentOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "session_children" and arguments["sessionID"] == "ses_2":
                return [{"id": "ses_3", "parentID": "ses_2", "directory": "/project", "time": {"created": 1}}]
            return await super().call(name, **arguments)

    fake = WithGrandchild(messages=[DONE], status={"ses_3": {"type": "busy"}})
    snapshot = await read_snapshot(cast("Any", fake), "ses_1")
    assert (snapshot.waits_for_subagents, snapshot.recent) == (True, None)
    fake.status = {}
    snapshot = await read_snapshot(cast("Any", fake), "ses_1")
    assert [message.info.id for message in snapshot.recent or ()] == [DONE["info"]["id"]]


async def test_a_subagent_that_was_deleted_does_not_keep_its_parent_from_being_stopped() -> None:
    """The others are aborted."""
    fake = ParentOpenCode(messages=[DONE], status={"ses_1": {"type": "busy"}, "ses_2": {"type": "busy"}})

    was_busy, snapshot = await stop_session(make_context(fake), "ses_1")

    assert was_busy
    assert not snapshot.busy


async def test_what_opencode_1_lists_as_busy_runs_in_that_directory() -> None:
    """However the path of its session is spelled: the list is of one directory."""
    fake = ParentOpenCode(status={"ses_9": {"type": "busy"}})

    assert await engine_of(cast("Any", fake)).list_running("/link/to/project") == {"ses_9"}
