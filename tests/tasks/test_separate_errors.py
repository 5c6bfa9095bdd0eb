"""wait_for_tasks: a session that cannot be waited for has an error of its own, and the others are reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from opencode_mcp.exceptions import APIError, OpenCodeError, TransportError, WorkflowError
from opencode_mcp.tasks.task_tools import WaitedTasks, WaitForTasks, wait_for_tasks
from tests.eventually import eventually

from .test_race_conditions import DONE, FakeOpenCode, make_context

pytestmark = pytest.mark.anyio


@dataclass
class PartlyUnknown(FakeOpenCode):
    """An OpenCode that answers for some sessions with an error. `failures` has the error of each, by session id.

    With `operation` only that operation fails.
    """

    failures: dict[str, OpenCodeError] = field(default_factory=dict[str, OpenCodeError])
    operation: str | None = None

    def __post_init__(self) -> None:
        self.messages = [DONE]

    async def call(self, name: str, /, **arguments: Any) -> Any:
        answer = await super().call(name, **arguments)
        if arguments.get("sessionID") in self.failures and self.operation in {None, name}:
            raise self.failures[arguments["sessionID"]]
        return answer


def not_found(session_id: str) -> APIError:
    """Return OpenCode's error for an unknown session."""
    return APIError("session_get", 404, "NotFoundError", f"Session not found: {session_id}")


async def wait_for(opencode: FakeOpenCode, *session_ids: str, until: str = "all", seconds: float = 30) -> WaitedTasks:
    """Call wait_for_tasks."""
    arguments = {"session_ids": [*session_ids], "until": until, "timeout_seconds": seconds}
    return await wait_for_tasks(make_context(opencode), WaitForTasks.model_validate(arguments))


@pytest.mark.parametrize("until", ["any", "all"])
async def test_the_other_tasks_are_reported_beside_an_error(until: str) -> None:
    """The error stands under its session's id."""
    opencode = PartlyUnknown(failures={"ses_2": not_found("ses_2")})

    waited = await wait_for(opencode, "ses_1", "ses_2", "ses_3", until=until)

    assert [(one.session_id, one.state) for one in waited.tasks] == [("ses_1", "completed"), ("ses_3", "completed")]
    assert waited.errors == {"ses_2": str(not_found("ses_2"))}


async def test_an_error_does_not_end_a_wait_for_any_task() -> None:
    """Else such a call would return at once, again and again, while the others still run."""
    opencode = PartlyUnknown(failures={"ses_2": not_found("ses_2")}, status={"ses_1": {"type": "busy"}})
    waited: list[WaitedTasks] = []

    async def wait() -> None:
        waited.append(await wait_for(opencode, "ses_1", "ses_2", until="any"))

    async with anyio.create_task_group() as calls:
        calls.start_soon(wait)
        await eventually(lambda: "session_todo" in opencode.calls or opencode.calls.count("session_get") == 2)
        await anyio.sleep(0.1)
        assert waited == []
        opencode.status = {}
        opencode.events.dispatch({"type": "session.idle", "properties": {"sessionID": "ses_1"}})

    assert [one.state for one in waited[0].tasks] == ["completed"]
    assert waited[0].errors.keys() == {"ses_2"}


async def test_a_session_that_cannot_be_reported_leaves_the_others() -> None:
    """It may be deleted between the wait and the report."""
    opencode = PartlyUnknown(failures={"ses_2": not_found("ses_2")}, operation="session_todo")

    waited = await wait_for(opencode, "ses_1", "ses_2", until="any")

    assert [one.session_id for one in waited.tasks] == ["ses_1"]
    assert waited.errors == {"ses_2": str(not_found("ses_2"))}


async def test_a_call_without_any_task_to_wait_for_is_an_error() -> None:
    """With the reason of each session; one that all share is named once, with the sessions."""
    unknown = {name: not_found(name) for name in ("ses_1", "ses_2")}
    with pytest.raises(WorkflowError, match=r"not found: ses_1\n.*not found: ses_2"):
        await wait_for(PartlyUnknown(failures={**unknown}), *unknown)
    with pytest.raises(APIError, match="not found: ses_1"):
        await wait_for(PartlyUnknown(failures={**unknown}), "ses_1")

    away = dict.fromkeys(unknown, TransportError("OpenCode is not reachable"))
    with pytest.raises(WorkflowError, match=r"^OpenCode is not reachable\nThe tasks are sessions ses_1, ses_2: "):
        await wait_for(PartlyUnknown(failures={**away}), *away)


async def test_a_task_whose_server_does_not_respond_leaves_the_others() -> None:
    """Its error is returned, before the time limit and at it."""
    opencode = PartlyUnknown(failures={"ses_2": TransportError("not reachable")})

    for seconds in (30.0, 0.0):
        waited = await wait_for(opencode, "ses_1", "ses_2", seconds=seconds)
        assert [one.session_id for one in waited.tasks] == ["ses_1"]
        assert waited.errors["ses_2"].startswith("not reachable")
