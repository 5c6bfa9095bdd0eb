"""Rows about the operations that block until the model is done: they are never left hanging either."""

from __future__ import annotations

import re
from typing import Any

import mcp_types as types
from mcp import Client
from mcp.client import ClientRequestContext

from .asking import made, touch
from .bench import MODES, Bench
from .seen import Seen
from .table import Deed, Row


async def prompt(bench: Bench, text: str, client: Client | None = None, session_id: str | None = None) -> Seen:
    """Prompt a session with OpenCode's own operation."""
    parts = [{"type": "text", "text": text}]
    return await bench.call("session_prompt", client, sessionID=session_id or await bench.create_session(), parts=parts)


async def blocked(bench: Bench) -> Seen:
    """Nobody can be asked: the call says what waits."""
    seen = await prompt(bench, touch(bench))
    assert not made(bench).exists()
    return seen


async def blocked_and_answered(bench: Bench) -> Seen:
    """The turn goes on: answered as the error says, it is waited for as the error says."""
    seen = await prompt(bench, touch(bench))
    match = re.search(r"answer_permission \(request_id (\S+), session_id (\S+)\).*wait_for_tasks", seen.text)
    assert match, seen.text
    await bench.call("answer_permission", request_id=match[1], session_id=match[2], reply="once")
    return await bench.wait(match[2])


def asked(mode: str, text: str = "{touch}", **content: str) -> Deed:
    """The user is asked, and then the operation's own answer comes back: the last message."""

    async def does(bench: Bench) -> Seen:
        async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
            return types.ElicitResult(action="accept", content={**content})

        async with bench.bridge(mode=mode, elicitation_callback=ask) as client:
            seen = await prompt(bench, text.replace("{touch}", touch(bench)), client)
        last: list[dict[str, Any]] = (await bench.call("session_messages", sessionID=seen["info"]["sessionID"]))[
            "result"
        ]
        assert seen["info"] == last[-1]["info"]
        return seen

    return does


def dismissed(mode: str) -> Deed:
    """The user does not decide: nothing is done, and the call says what waits."""

    async def does(bench: Bench) -> Seen:
        async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
            return types.ElicitResult(action="cancel")

        async with bench.bridge(mode=mode, elicitation_callback=ask) as client:
            seen = await prompt(bench, touch(bench), client)
        assert not made(bench).exists()
        return seen

    return does


async def second_prompt(bench: Bench) -> Seen:
    """A session that has had a prompt before: its old answer is not the new one's."""
    session_id = await bench.create_session()
    await prompt(bench, "script:text first", session_id=session_id)
    return await prompt(bench, "script:text second", session_id=session_id)


WAITS = r"is waiting for a permission \(bash: touch made-row\d+x\), request per_\w+\. The turn continues"

ROWS = (
    Row("session_prompt", second_prompt, "answer", "the scripted model. second|second"),
    Row("session_prompt, permission, nobody to ask", blocked, "error", WAITS),
    Row("session_prompt, permission, answered afterwards", blocked_and_answered, "completed", "^done: tool$"),
    *(
        row
        for era, mode in MODES.items()
        for row in (
            Row(f"session_prompt, permission by form, {era}", asked(mode, reply="once"), "answer", "done: tool"),
            Row(f"session_prompt, rejected by form, {era}", asked(mode, reply="reject"), "answer", "tool-calls"),
            Row(
                f"session_prompt, question by form, {era}",
                asked(mode, "script:question", answer_1="Red"),
                "answer",
                "done: question",
            ),
            Row(f"session_prompt, form dismissed, {era}", dismissed(mode), "error", WAITS),
        )
    ),
)
