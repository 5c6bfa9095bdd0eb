"""The steps of a task that are reported: each once, in the order in which they happen."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import anyio
import mcp_types as types
import pytest

from opencode_mcp.tasks.session_state import read_snapshot
from opencode_mcp.tasks.session_watch import SessionWatch
from opencode_mcp.tasks.wait import backfill_steps, report_steps, wait_until_settled
from tests.conftest import Connect
from tests.facts import facts

from .test_race_conditions import DONE, REPLY, FakeOpenCode, make_context

RAN: dict[str, Any] = {
    "id": "prt_1",
    "type": "tool",
    "tool": "bash",
    "state": {"status": "completed", "input": {"command": "true"}},
}
"""A command that has ended."""


def part(part_id: str, **fields: Any) -> dict[str, Any]:
    """Return the event that has the current state of a part of a message."""
    properties = {"part": {"id": part_id, "sessionID": "ses_1", "messageID": "msg_1", **fields}}
    return {"id": "evt_1", "type": "message.part.updated", "properties": properties}


def tool(part_id: str, status: str) -> dict[str, Any]:
    """Return the event that has the current state of a read."""
    return part(part_id, type="tool", tool="read", state={"status": status, "input": {"filePath": "greet.sh"}})


def test_a_part_that_is_sent_again_unchanged_is_reported_once() -> None:
    """Also when other parts came in between."""
    watch = SessionWatch({"ses_1"})
    text = part("prt_2", type="text", text="It greets.")
    for event in (tool("prt_1", "running"), tool("prt_1", "completed"), text, tool("prt_1", "completed"), text):
        watch.on_event(event)

    assert watch.steps == ["read greet.sh: running", "read greet.sh: completed", "writing: It greets."]


def test_a_text_is_a_step_when_it_begins_and_when_it_ends() -> None:
    """Between them it streams, and the message that OpenCode returns has it empty."""
    watch = SessionWatch({"ses_1"})
    for text in ("", "It greets.\nIn two languages.", "It greets.\nIn two languages."):
        watch.on_event(part("prt_1", type="text", text=text))

    assert watch.steps == ["writing", "writing: In two languages."]


def test_a_second_call_with_the_same_arguments_is_reported_too() -> None:
    watch = SessionWatch({"ses_1"})
    for event in (tool("prt_1", "running"), tool("prt_1", "completed"), tool("prt_2", "running")):
        watch.on_event(event)

    assert watch.steps == ["read greet.sh: running", "read greet.sh: completed", "read greet.sh: running"]


@pytest.mark.anyio
async def test_a_step_that_ended_while_nothing_listened_is_reported() -> None:
    """While a permission is asked for no one listens: the command may have run before the wait goes on."""
    opencode = FakeOpenCode(messages=[{**DONE, "parts": [RAN]}])
    context = make_context(opencode)
    watch = SessionWatch({"ses_1"}, known_steps={"prt_1": "bash true: running"})
    snapshot = await read_snapshot(cast("Any", opencode), "ses_1")

    await backfill_steps(context, snapshot, watch)
    await backfill_steps(context, snapshot, watch)

    assert watch.steps == ["bash true: completed"]


@pytest.mark.anyio
async def test_a_prompt_that_has_ended_at_the_first_read_has_its_steps_reported() -> None:
    """The caller sent it, and has heard of none of them."""
    opencode = FakeOpenCode(messages=[{**DONE, "parts": [RAN]}])
    messages: list[str] = []

    async def report(message: str) -> None:
        messages.append(message.partition(" [")[0])

    context = replace(make_context(opencode), report_progress=report)
    outcome = await wait_until_settled(context, "ses_1", "", anyio.current_time() + 30)

    assert outcome.status.state == "completed"
    assert messages[:1] == ["bash true: completed"]


@pytest.mark.anyio
async def test_the_last_step_has_what_the_whole_turn_has_used() -> None:
    """OpenCode counts the last call of the model after it has stored the reply."""

    class Counting(FakeOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            answer = await super().call(name, **arguments)
            if name == "session_get":
                answer["tokens"] = {"input": 120 * self.calls.count(name)}
            return answer

    messages: list[str] = []

    async def report(message: str) -> None:
        messages.append(message)

    opencode = Counting(messages=[{**DONE, "parts": [RAN]}])
    await wait_until_settled(
        replace(make_context(opencode), report_progress=report), "ses_1", "", anyio.current_time() + 30
    )

    assert messages[:1] == ["bash true: completed [240 tokens, $0.00]"]
    assert opencode.calls.count("session_get") == 2


@pytest.mark.anyio
async def test_calls_at_once_that_a_first_read_shows_are_all_reported() -> None:
    """The snapshot's activity names the last of them only."""
    parts: list[dict[str, Any]] = [
        {"id": f"prt_{name}", "type": "tool", "tool": name, "state": {"status": "completed", "input": {}}}
        for name in ("glob", "grep")
    ]
    reply: dict[str, Any] = {"info": {**REPLY, "time": {"created": 1}}, "parts": parts}
    opencode = FakeOpenCode(messages=[reply], status={"ses_1": {"type": "busy"}})
    messages: list[str] = []

    async def report(message: str) -> None:
        messages.append(message.partition(" [")[0])

    context = replace(make_context(opencode), report_progress=report)
    snapshot = await read_snapshot(cast("Any", opencode), "ses_1")
    await report_steps(context, snapshot, SessionWatch({"ses_1"}))

    assert [message for message, _ in groupby(messages)] == ["glob: completed", "grep: completed"]


async def test_what_was_done_before_a_permission_was_asked_is_reported_once(connect: Connect, project: Path) -> None:
    (project / "opencode.json").write_text(json.dumps({"permission": {"bash": "ask"}}))
    calls = [
        {"name": "read", "args": {"filePath": str(project / "README.md")}},
        {"name": "bash", "args": {"command": "true", "description": "Do nothing"}},
    ]
    messages: list[str] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        messages.append((message or "").partition(" [")[0])

    async def allow(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"reply": "once"})

    arguments = {"prompt": f"script:chain {json.dumps(calls)}", "permissions": "ask", "timeout_seconds": 60}
    async with connect(mode="legacy", elicitation_callback=allow) as client:
        result = await client.call_tool("run_task", arguments, progress_callback=progressed)

    assert facts(result)["state"] == "completed", result
    steps = [step for step, _ in groupby(messages)]  # the heartbeat repeats the last one
    assert steps.count("read README.md: completed") == 1, messages
    assert steps.count("bash true: completed") == 1, messages
