"""Which prompt of a task the newest turn works on, and what it has done, also after OpenCode has compacted it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import Message, Session, parse_model
from opencode_mcp.tasks.attempts import retry_key
from opencode_mcp.tasks.idempotency import make_prompt_id
from opencode_mcp.tasks.metadata import Rules, TaskMetadata, with_task_metadata
from opencode_mcp.tasks.session_state import read_snapshot
from opencode_mcp.tasks.turn import read_turn
from opencode_mcp.tasks.turn_prompts import READ_MESSAGES, SHELL_PROMPT

from .test_race_conditions import FakeOpenCode

pytestmark = pytest.mark.anyio


class PagedOpenCode(FakeOpenCode):
    """A fake OpenCode that returns as many messages as it is asked for."""

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Answer as OpenCode does."""
        answer = await super().call(name, **arguments)
        return answer[-arguments["limit"] :] if name == "session_messages" else answer


def message_id(number: int) -> str:
    """Return an id that sorts by its number, and has an end of its own."""
    return f"msg_{0x3E9000 + number:012x}{number:014}"


def prompt(number: int, **part: Any) -> dict[str, Any]:
    """Return a user's message with one part: a text, unless the part says something else."""
    info = {"id": message_id(number), "role": "user", "time": {"created": 1000}}
    return {"info": info, "parts": [{"type": "text", "text": "more", **part}]}


def reply(number: int, parent: str) -> dict[str, Any]:
    """Return a reply to a user's message, with one call of a tool."""
    facts = {"id": message_id(number), "role": "assistant", "parentID": parent, "finish": "stop"}
    call = {"type": "tool", "tool": "read", "state": {"status": "completed"}}
    return {"info": {**facts, "time": {"created": 1000, "completed": 1001}}, "parts": [call]}


FIRST = message_id(1)
TASK = [prompt(1), reply(2, FIRST)]
COMPACTION = [prompt(3, type="compaction", auto=True), reply(4, message_id(3))]
LATER: dict[str, tuple[list[dict[str, Any]], int | None]] = {
    "nothing came since": ([], 1),
    "the prompt is repeated after a compaction": ([*COMPACTION, prompt(5), reply(6, message_id(5))], 3),
    "OpenCode goes on after it": ([*COMPACTION, prompt(5, synthetic=True), reply(6, message_id(5))], 3),
    "two compactions": ([*COMPACTION, prompt(5), prompt(6, type="compaction", auto=True), prompt(7)], 2),
    "a prompt of a client": ([prompt(3), reply(4, message_id(3))], None),
    "a prompt of a client after a compaction": ([*COMPACTION, prompt(5), prompt(6)], None),
    "a compaction after a prompt of a client": ([prompt(3), prompt(5, type="compaction", auto=True)], None),
    "a summary that a client wants": ([prompt(3, type="compaction", auto=False), reply(4, message_id(3))], None),
    "a command of a client": ([prompt(3, text=SHELL_PROMPT, synthetic=True), reply(4, message_id(3))], None),
    "a long turn after a compaction": (
        [*COMPACTION, prompt(5), *(reply(6 + number, message_id(5)) for number in range(READ_MESSAGES[1]))],
        2 + READ_MESSAGES[1],
    ),
}


async def read_state(messages: list[dict[str, Any]]) -> tuple[str, int]:
    """Return the prompt that the newest turn works on, and how many calls the turn has made."""
    metadata = with_task_metadata({}, TaskMetadata(rules=Rules(prompt_id=FIRST)))
    session = {"id": "ses_1", "directory": "/", "time": {"created": 1000}, "metadata": metadata}
    answers = {"session_get": session}
    opencode = cast("OpenCodeClient", PagedOpenCode(answers=answers, messages=messages))
    snapshot = await read_snapshot(opencode, "ses_1")
    turn = await read_turn(opencode, snapshot)
    assert turn is not None
    return snapshot.prompt_id, turn.tool_calls.get("read", 0)


@pytest.mark.parametrize(("later", "calls"), LATER.values(), ids=LATER)
async def test_only_a_prompt_of_a_client_ends_a_turn(later: list[dict[str, Any]], calls: int | None) -> None:
    """What OpenCode adds itself does not: the rules of the task hold, and all of its calls are counted."""
    prompt_id, counted = await read_state([*TASK, *later])

    assert (prompt_id == FIRST) == (calls is not None)
    assert calls in {None, counted}


async def test_a_turn_works_on_the_last_correction() -> None:
    """Also after a compaction that came later; what was done before counts."""
    session = parse_model("a test", Session, {"id": "ses_1", "directory": "/", "time": {"created": 1000}})
    retry = f"msg_{make_prompt_id(session, parse_model('a test', Message, TASK[1]), retry_key(FIRST, 1))}"
    sent = {**prompt(1), "info": {**prompt(1)["info"], "id": retry}}
    compaction = prompt(0x10, type="compaction", auto=True)

    assert await read_state([*TASK, sent, reply(5, retry)]) == (retry, 2)
    assert await read_state([*TASK, sent, reply(5, retry), compaction]) == (retry, 2)
