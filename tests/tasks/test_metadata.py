"""What sessions store of tasks: lists that others write to, and values that OpenCode would change."""

from __future__ import annotations

from typing import Any, cast

import pytest

from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.tasks.answer_group import find_answers
from opencode_mcp.tasks.arguments import validate_arguments
from opencode_mcp.tasks.idempotency import find_request_session
from opencode_mcp.tasks.metadata import AnswerGroup, TaskMetadata, with_task_metadata
from opencode_mcp.tasks.options import StartTask
from opencode_mcp.tasks.rules import find_check
from opencode_mcp.tasks.session_state import read_snapshot

from .test_race_conditions import DONE, FakeOpenCode

pytestmark = pytest.mark.anyio

GROUP = AnswerGroup(key="k", number=1, size=2)
OWN = TaskMetadata(request_id="r", answer_group=GROUP)


@pytest.mark.parametrize("foreign", [{"rules": 5}, 5, [], None], ids=str)
async def test_metadata_of_another_client_hides_no_session(foreign: Any) -> None:
    """Any client can store what no bridge can read, in a session that is listed with a task's."""
    facts = {"directory": "/project", "time": {"created": 1}}
    listed = [
        {**facts, "id": "ses_0", "metadata": {"opencode_mcp": foreign}},
        {**facts, "id": "ses_1", "metadata": with_task_metadata({}, OWN)},
    ]
    opencode = cast("Any", FakeOpenCode(answers={"session_list": listed}))

    assert await find_request_session(opencode, None, "r") == "ses_1"
    assert [session.id for session in await find_answers(opencode, OWN)] == ["ses_1"]


@pytest.mark.parametrize("foreign", [{"rules": 5}, {"queued": 5}, 5], ids=str)
async def test_metadata_of_another_client_ends_no_enforcement(foreign: Any) -> None:
    """A session below a task's is of its family, whatever is stored in it: the task can be read, and so stopped."""

    class Parent(FakeOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "session_children" and arguments["sessionID"] == "ses_1":
                child = {"directory": "/project", "time": {"created": 1}, "metadata": {"opencode_mcp": foreign}}
                return [{**child, "id": "ses_2"}]
            return await super().call(name, **arguments)

    opencode = cast("Any", Parent(messages=[DONE]))
    snapshot = await read_snapshot(opencode, "ses_1")

    assert (snapshot.family, snapshot.queued) == (("ses_1", "ses_2"), ())
    assert await find_check(opencode, "ses_1", "msg_1") is None


@pytest.mark.parametrize("tokens", [10**12 + 1, 10**30, 10**400], ids=["more", "a float", "infinite"])
def test_a_limit_of_tokens_is_a_number_that_opencode_keeps(tokens: int) -> None:
    """It stores a larger one as a float, or as null: the session could not be read, or would have no limit."""
    with pytest.raises(InvalidArguments, match=r"limits\.tokens: must be at most 1000000000000"):
        validate_arguments("run_task", StartTask, {"prompt": "do it", "limits": {"tokens": tokens}}, lenient=True)
