"""What OpenCode 2 stores of a conversation, read as messages: the state of a turn must come out right from them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from examples.scripted_model import ScriptedModel
from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode.models import Message, Session
from opencode_mcp.tasks.report import describe_activity
from opencode_mcp.tasks.session_state import TaskStatus, classify_reply, read_snapshot
from tests.eventually import eventually

from .engine_client import EngineClient, open_engine

pytestmark = pytest.mark.anyio


@pytest.fixture
async def opened(model: ScriptedModel, tmp_path: Path) -> AsyncGenerator[EngineClient]:
    """An engine on a fake that retries at once."""
    async with open_engine(model, tmp_path, retry_seconds=(0.01,)) as opened:
        yield opened


def outline(messages: list[Message]) -> list[tuple[str, bool]]:
    """Return each message's role, and whether it belongs to the turn of the first message."""
    return [(message.info.role, message.user_message_id == messages[0].info.id) for message in messages]


async def test_a_turn_of_two_steps(opened: EngineClient) -> None:
    """Each step is a reply to the prompt; the tool call has OpenCode 1's names; the end is in the last one."""
    arguments = {"filePath": "new.txt", "content": "one\n"}
    prompt, first, last = await opened.run(f"script:tool write {json.dumps(arguments)}")
    assert outline([prompt, first, last]) == [("user", True), ("assistant", True), ("assistant", True)]
    assert (first.info.finish, last.info.finish, last.info.model_id) == ("tool-calls", "stop", "scripted")
    assert [part.type for part in first.parts] == ["step-start", "tool", "step-finish", "patch"]
    call = first.parts[1]
    assert call.state is not None
    assert (call.tool, call.state.status, call.state.input["filePath"]) == ("write", "completed", "new.txt")
    assert first.parts[3].files == ("new.txt",)
    assert classify_reply(last) == TaskStatus("completed")
    assert (last.info.cost, last.info.tokens.input) == (first.info.cost, 100)


async def test_the_ids_of_parts_differ(opened: EngineClient) -> None:
    """A prompt, a step with a call, a step with a text."""
    messages = await opened.run('script:tools [{"name": "glob", "args": {"pattern": "*"}}]')
    ids = [part.id for message in messages for part in message.parts]
    assert len(ids) == len({*ids}) == 7


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("error 400", "provider.invalid-request: HTTP 400: the error"),
        ("error 500", "provider.internal: HTTP 500: the error"),
    ],
)
async def test_a_failed_turn_has_the_error_of_its_model(opened: EngineClient, script: str, error: str) -> None:
    """With its type and status."""
    *_, last = await opened.run(f"script:{script}")
    status = classify_reply(last)
    assert status.state == "failed" and status.error is not None
    assert status.error.startswith(error)


async def test_a_turn_that_failed_without_a_reply_gets_one(opened: EngineClient) -> None:
    """An unknown model fails the turn before any model is called."""
    session = await opened.create()
    messages = await opened.run("script:text never", session, model={"providerID": "nobody", "modelID": "none"})
    assert outline(messages) == [("user", True), ("assistant", True)]
    assert "provider.no-route" in str(classify_reply(messages[-1]).error)
    read = await opened.engine.read_message(
        (await opened.engine.list_sessions(opened.directory, 1))[0].id, messages[-1].info.id
    )
    assert read == messages[-1]


async def test_an_interrupted_turn_was_aborted(opened: EngineClient) -> None:
    """Before and after the model has begun."""
    session = await opened.start("script:slow 100 0.05")
    await opened.newest_reply(session)
    await opened.engine.abort(session.id)
    assert classify_reply(await opened.newest(session)) == TaskStatus("stopped", error="aborted")
    await opened.start("script:hang", session)
    await opened.engine.abort(session.id)
    assert classify_reply(await opened.newest(session)) == TaskStatus("stopped", error="aborted")
    assert await opened.engine.read_statuses(opened.directory) == {}


@pytest.mark.parametrize(("body", "state"), [({}, "stopped"), ({"message": "use git instead"}, "completed")])
async def test_a_rejection(model: ScriptedModel, tmp_path: Path, body: dict[str, Any], state: str) -> None:
    """Without a message it ends the turn, and that is what is said; with one the model goes on."""
    config = {"permission": {"bash": "ask"}, "agent": {"title": {"disable": True}}}
    async with open_engine(model, tmp_path, config=config) as opened:
        session = await opened.start("script:bash")
        await opened.client.reply(await opened.client.permission(session.id), decision="reject", **body)
        await opened.client.wait(session.id)
        status = classify_reply(await opened.newest(session))
    assert status.state == state
    assert status.error == (None if body else "a rejected request ended the turn")


async def test_what_is_in_the_inbox_comes_last(opened: EngineClient) -> None:
    """A prompt that is admitted and not delivered; one that waits for the turn's end does not replace that."""
    session, go = await opened.create(), opened.client.directory / "go"
    held = await opened.client.prompt(session.id, "script:text first", resume=False)
    assert (await opened.newest(session)).info.id == held
    await opened.start(f"script:hold {go}", session)
    await eventually(lambda: opened.engine.list_messages(session.id), lambda found: len(found) >= 3)
    queued = await opened.client.prompt(session.id, "script:text later", delivery="queue")
    assert (await opened.newest(session)).info.id != queued
    steered = await opened.client.prompt(session.id, "script:text now")
    assert (await opened.newest(session)).info.id == steered
    await opened.engine.abort(session.id)
    assert (await opened.client.get(f"session/{session.id}/inbox"))["data"] == []
    assert classify_reply(await opened.newest(session)) == TaskStatus("stopped", error="aborted")


async def test_a_parent_that_a_child_wakes_goes_on_with_its_turn(opened: EngineClient) -> None:
    """The child's result is a message of the user that names the prompt; the turn ends with the reply to it."""
    go = opened.client.directory / "go"
    call = {"agent": "general", "prompt": f"script:hold {go}", "description": "child", "background": True}
    session = await opened.start(f"script:tool subagent {json.dumps(call)}")
    await opened.client.wait(session.id)
    before = await opened.engine.list_messages(session.id)
    assert classify_reply(before[-1]).state == "completed"
    [child] = await opened.engine.list_children(session.id)
    assert {*await opened.engine.read_statuses(opened.directory)} == {child.id}
    go.touch()
    after = await eventually(
        lambda: opened.engine.list_messages(session.id), lambda found: len(found) > len(before) + 1
    )
    woken_by = after[len(before)]
    assert (woken_by.info.role, woken_by.user_message_id) == ("user", before[0].info.id)
    assert all(part.synthetic for part in woken_by.parts)
    assert {message.user_message_id for message in after} == {before[0].info.id}


async def test_the_call_of_a_subagent_names_its_session(opened: EngineClient) -> None:
    """As OpenCode 1 does."""
    session = await opened.create()
    messages = await opened.run("script:task", session)
    [child] = await opened.engine.list_children(session.id)
    state = next(part.state for message in messages for part in message.parts if part.state is not None)
    assert (state.metadata["sessionId"], state.title) == (child.id, "child")


async def test_a_restart_leaves_a_turn_open(opened: EngineClient) -> None:
    """Neither an end nor an error: the reply is incomplete, and nothing runs."""
    session = await opened.start("script:slow 100 0.05")
    await opened.newest_reply(session)
    await opened.client.fake.restart()
    reply = await opened.newest(session)
    assert (reply.info.time.completed, reply.info.error) == (None, None)
    assert classify_reply(reply).stalled_reason is not None
    assert await opened.engine.read_statuses(opened.directory) == {}


async def test_pages_of_a_long_conversation(opened: EngineClient) -> None:
    """As many messages as are asked for, each with its prompt, wherever the pages end."""
    session = await opened.create()
    loop = json.dumps([{"name": "glob", "args": {"pattern": str(number)}} for number in range(12)])
    for text in ("script:text one", f"script:chain {loop}", "script:text two"):
        await opened.run(text, session)
    everything = await opened.engine.list_messages(session.id)
    assert len(everything) == 2 + 14 + 2
    for limit in (1, 2, 3, 10, 17, 18, 40):
        assert await opened.engine.list_messages(session.id, limit) == everything[-limit:]
    for message in everything:
        assert await opened.engine.read_message(session.id, message.info.id) == message


async def test_a_turn_longer_than_a_page(opened: EngineClient) -> None:
    """The prompt is looked up where it is far behind."""
    loop = json.dumps([{"name": "glob", "args": {"pattern": str(number)}} for number in range(15)])
    messages = await opened.run(f"script:chain {loop}")
    session: Session = (await opened.engine.list_sessions(opened.directory, 1))[0]
    before = len(opened.client.fake.contract.requests)
    assert await opened.engine.list_messages(session.id, 1) == messages[-1:]
    assert len(opened.client.fake.contract.requests) - before == 3
    assert messages[-1].user_message_id == messages[0].info.id


async def test_a_compaction_is_left_out(opened: EngineClient) -> None:
    """The task stays as it was."""
    session = await opened.create()
    messages = await opened.run("script:text one", session)
    compacted: Any = await opened.client.post(f"session/{session.id}/compact")
    assert compacted["data"]["type"] == "compaction"
    await opened.client.wait(session.id)
    assert await opened.engine.list_messages(session.id) == messages


async def test_a_conversation_in_pages(opened: EngineClient, spawns: None) -> None:
    """Together they are the whole; the commands of clients are in it, where they were run."""
    session = await opened.create()
    await opened.run("script:text one", session)
    await opened.engine.run_shell(session.id, "build", "echo hello")
    await opened.run("script:text two", session)
    whole = await opened.engine.read_message_page(session.id, 20, None)
    assert [message.info.role for message in whole.messages] == ["user", "assistant", "assistant", "user", "assistant"]
    assert (whole.messages[2].parts[0].tool, whole.earlier) == ("shell", None)
    pages, earlier = [await opened.engine.read_message_page(session.id, 2, None)], None
    while (earlier := pages[0].earlier) is not None:
        pages.insert(0, await opened.engine.read_message_page(session.id, 2, earlier))
    assert [len(page.messages) for page in pages] == [1, 2, 2]
    assert [message for page in pages for message in page.messages] == [*whole.messages]
    with pytest.raises(WorkflowError, match="has no message msg_none"):
        await opened.engine.read_message_page(session.id, 2, "msg_none")


async def test_a_retry_that_a_reply_waits_for(model: ScriptedModel, tmp_path: Path) -> None:
    """No status says so."""
    async with open_engine(model, tmp_path, retry_seconds=(30.0,)) as opened:
        session = await opened.start("script:error 500")
        reply = await eventually(lambda: opened.newest(session), lambda message: message.info.retry)
        snapshot = await read_snapshot(opened.engine.opencode, session.id)
        assert re.fullmatch(r"retry 1 of the model in \d+ s: the error .*", describe_activity(snapshot))
        assert reply.info.retry is not None and reply.info.retry.next > reply.info.time.created
        await opened.engine.abort(session.id)
        assert (await opened.newest(session)).info.retry is None
