"""A prompt from its admission to its end: inbox, active, messages, outcome, steps, steering, the queue, interrupts."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from examples.scripted_model import ScriptedModel
from tests.eventually import eventually

from .client import FakeClient, kinds, open_client, text_of, tool_of
from .store import Json

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(model: ScriptedModel, tmp_path: Path) -> AsyncGenerator[FakeClient]:
    """A client of a fake that retries at once."""
    async with open_client(model, tmp_path, retry_seconds=(0.01, 0.01)) as client:
        yield client


async def test_a_prompt_is_admitted_runs_and_completes(client: FakeClient, tmp_path: Path) -> None:
    """Admitted at once; active while the model is held; then one assistant and one idle message."""
    session_id, go = await client.create(), tmp_path / "go"
    before = (await client.get(f"session/{session_id}"))["data"]
    assert "agent" not in before and "model" not in before and "outcome" not in before
    prompt_id = await client.prompt(session_id, f"script:hold {go}")
    assert await client.active() == {session_id}
    running = await client.messages_when(session_id, lambda found: "assistant" in kinds(found))
    assert "finish" not in running[-1]
    go.touch()
    after = await client.wait(session_id)

    user, assistant, idle = await client.messages(session_id)
    assert (user["id"], user["type"]) == (prompt_id, "user")
    assert (text_of(assistant), assistant["finish"], assistant["tokens"]["input"]) == ("held", "stop", 100)
    assert (idle["type"], idle["outcome"]) == ("idle", "succeeded")
    assert (after["outcome"], after["agent"], after["model"]["id"]) == ("succeeded", "build", "scripted")
    assert await client.active() == set()
    assert await client.get(f"session/{session_id}/inbox") == {"data": []}
    assert client.fake.contract.faults == []


async def test_a_prompt_without_resume_stays_in_the_inbox(client: FakeClient) -> None:
    """It is delivered with the next one, before it."""
    session_id = await client.create()
    held = await client.prompt(session_id, "script:text first", resume=False)
    [item] = (await client.get(f"session/{session_id}/inbox"))["data"]
    assert (item["id"], item["payload"]["text"]) == (held, "script:text first")
    assert await client.messages(session_id) == [] and await client.active() == set()
    await client.prompt(session_id, "script:text second")
    await client.wait(session_id)
    messages = await client.messages(session_id)
    assert kinds(messages) == ["user", "user", "assistant", "idle"]
    assert [item["text"] for item in messages[:2]] == ["script:text first", "script:text second"]


async def test_the_same_prompt_is_admitted_once(client: FakeClient) -> None:
    """Its id is an idempotency key, whatever its body; another session, and another kind, are a conflict."""
    session_id, other = await client.create(), await client.create()
    body: Json = {"id": "msg_mine", "text": "script:text once"}
    first = await client.post(f"session/{session_id}/prompt", **body)
    await client.wait(session_id)
    assert await client.post(f"session/{session_id}/prompt", **body) == first
    assert await client.post(f"session/{session_id}/prompt", id="msg_mine", text="other") == first
    for path in (f"session/{other}/prompt", f"session/{session_id}/synthetic"):
        assert (await client.request("POST", path, 409, json=body))["_tag"] == "ConflictError"
    assert kinds(await client.messages(session_id)) == ["user", "assistant", "idle"]


async def test_steps_and_a_tool_call(client: FakeClient) -> None:
    """Each step is an assistant message; the result of a call is in its state; the diff is of the turn."""
    session_id = await client.run('script:tool write {"filePath": "new.txt", "content": "one\\n"}')
    messages = await client.messages(session_id)
    assert kinds(messages) == ["user", "assistant", "assistant", "idle"]
    assert [message["finish"] for message in messages[1:3]] == ["tool-calls", "stop"]
    call = tool_of(messages)
    assert (call["name"], call["state"]["status"], call["state"]["input"]["path"]) == ("write", "completed", "new.txt")
    assert messages[1]["snapshot"]["files"] == ["new.txt"]
    [change] = (await client.get(f"session/{session_id}/diff"))["data"]
    assert (change["file"], change["status"], change["additions"]) == ("new.txt", "added", 1)
    session = (await client.get(f"session/{session_id}"))["data"]
    assert session["tokens"]["output"] == sum(message["tokens"]["output"] for message in messages[1:3])


async def test_what_steers_runs_before_what_is_queued(client: FakeClient, tmp_path: Path) -> None:
    """Both are sent while a turn runs; a steered prompt shares the idle message of its turn."""
    session_id, go = await client.create(), tmp_path / "go"
    await client.prompt(session_id, f"script:hold {go}")
    await client.prompt(session_id, "script:text queued", delivery="queue")
    await client.prompt(session_id, "script:text steered")
    assert len((await client.get(f"session/{session_id}/inbox"))["data"]) == 2
    go.touch()
    await client.wait(session_id)
    messages = await client.messages(session_id)
    assert [text_of(item).split()[-1] for item in messages if item["type"] == "assistant"] == [
        "held",
        "steered",
        "queued",
    ]
    assert kinds(messages).count("idle") == 1


async def test_what_comes_during_a_turn_that_fails_runs_after_it(model: ScriptedModel, tmp_path: Path) -> None:
    """In a busy period of its own."""
    async with open_client(model, tmp_path, retry_seconds=(0.5,)) as client:
        session_id = await client.create()
        await client.prompt(session_id, "script:error 500")
        await client.messages_when(session_id, lambda found: "assistant" in kinds(found))
        await client.prompt(session_id, "script:text later", delivery="queue")
        await client.wait(session_id)
        messages = await client.messages(session_id)
        assert kinds(messages) == ["user", "assistant", "idle"] * 2
        assert [item["outcome"] for item in messages if item["type"] == "idle"] == ["failed", "succeeded"]


async def test_an_interrupt_leaves_what_is_in_the_inbox(client: FakeClient) -> None:
    """It runs after the next prompt, as it is queued, unless it is cancelled."""
    session_id = await client.create()
    await client.prompt(session_id, "script:hang")
    await client.messages_when(session_id, lambda found: "assistant" in kinds(found))
    await client.prompt(session_id, "script:text parked", delivery="queue")
    cancelled = await client.prompt(session_id, "script:text cancelled", delivery="queue")
    assert await client.send(f"session/{session_id}/interrupt") == {"interrupted": True}
    stopped = await client.wait(session_id)
    assert stopped["outcome"] == "interrupted"
    assistant, idle = (await client.messages(session_id))[-2:]
    assert assistant["error"] == {"type": "aborted", "message": "Step interrupted"}
    assert (assistant["finish"], idle["outcome"]) == ("error", "interrupted")
    assert await client.send(f"session/{session_id}/interrupt") == {"interrupted": False}
    for _ in range(2):  # what is gone is no error
        await client.request("DELETE", f"session/{session_id}/inbox/{cancelled}", 204)
    await client.prompt(session_id, "script:text next")
    await client.wait(session_id)
    texts = [item["text"] for item in await client.messages(session_id, type="user")]
    assert texts == ["script:hang", "script:text next", "script:text parked"]


async def test_an_interrupt_that_resumes(client: FakeClient) -> None:
    """What steers runs at once; what is queued stays, until it steers or the session is woken."""
    session_id = await client.create()
    await client.prompt(session_id, "script:hang")
    await client.messages_when(session_id, lambda found: "assistant" in kinds(found))
    queued = [await client.prompt(session_id, f"script:text {name}", delivery="queue") for name in ("one", "two")]
    await client.prompt(session_id, "script:text steered")
    await client.request("POST", f"session/{session_id}/interrupt", params={"resume": "true"})
    await client.wait(session_id)
    assert [item["id"] for item in (await client.get(f"session/{session_id}/inbox"))["data"]] == queued
    path = f"session/{session_id}/inbox/{queued[1]}"
    await client.request("PATCH", path, 204, json={"delivery": "steer"})
    await client.wait(session_id)
    messages = await client.messages(session_id)
    assert [item["text"].split()[-1] for item in messages if item["type"] == "user"] == [
        "script:hang",
        "steered",
        "two",
        "one",
    ]
    assert kinds(messages).count("idle") == 3
    await client.request("PATCH", path, 409, json={"delivery": "steer"})


async def test_a_model_that_fails(client: FakeClient) -> None:
    """The turn fails with the error of the provider, in the message, in the idle message and in the outcome."""
    session_id = await client.run("script:error 400")
    _, assistant, idle = await client.messages(session_id)
    assert (assistant["finish"], assistant["content"]) == ("error", [])
    assert assistant["error"]["type"] == "provider.invalid-request"
    assert assistant["error"]["status"] == 400
    assert (idle["outcome"], idle["error"]) == ("failed", assistant["error"])
    assert (await client.get(f"session/{session_id}"))["data"]["outcome"] == "failed"


async def test_a_model_that_fails_once_is_asked_again(client: FakeClient) -> None:
    """The same message is used again; nothing of the retry stays in it."""
    session_id = await client.run(f"script:flaky 429 {client.directory}")
    assistant = (await client.messages(session_id))[1]
    assert text_of(assistant) == "done: flaky"
    assert "retry" not in assistant and "error" not in assistant


async def test_a_reply_that_is_cut_off_goes_on(client: FakeClient) -> None:
    """What was said stays in a message that failed; the next one answers a synthetic message."""
    session_id = await client.run("script:drop")
    messages = await client.messages(session_id)
    assert kinds(messages) == ["user", "assistant", "synthetic", "assistant", "idle"]
    assert text_of(messages[1]).startswith("The second half")
    assert (messages[1]["finish"], messages[1]["error"]["type"]) == ("error", "provider.transport")
    assert messages[-1]["outcome"] == "succeeded"


async def test_a_retry_is_visible(model: ScriptedModel, tmp_path: Path) -> None:
    """While it waits for it, the session is active."""
    async with open_client(model, tmp_path, retry_seconds=(60,)) as client:
        session_id = await client.create()
        await client.prompt(session_id, "script:error 500")
        messages = await client.messages_when(session_id, lambda found: "retry" in found[-1])
        assert messages[-1]["retry"]["error"]["type"] == "provider.internal"
        assert await client.active() == {session_id}
        await client.send(f"session/{session_id}/interrupt")
        assert (await client.wait(session_id))["outcome"] == "interrupted"


async def test_an_unknown_model_fails_the_turn_without_an_answer(client: FakeClient) -> None:
    """Create and switch accept it."""
    session_id = await client.create()
    await client.post(f"session/{session_id}/model", 204, model={"id": "none", "providerID": "scripted"})
    await client.prompt(session_id, "script:text hi")
    await client.wait(session_id)
    messages = await client.messages(session_id)
    assert kinds(messages) == ["model-switched", "user", "idle"]
    assert messages[-1]["error"]["type"] == "provider.no-route"


async def test_a_conversation_that_is_too_long_is_compacted(client: FakeClient) -> None:
    """Then the turn goes on; a manual compaction is admitted like a prompt."""
    session_id = await client.run("script:overflow")
    messages = await client.messages(session_id)
    assert kinds(messages) == ["user", "compaction", "assistant", "idle"]
    assert (messages[1]["status"], messages[1]["reason"]) == ("completed", "auto")
    assert (await client.get(f"session/{session_id}/context"))["data"] == messages[1:]
    admitted = (await client.post(f"session/{session_id}/compact"))["data"]
    assert (admitted["type"], admitted["delivery"]) == ("compaction", "steer")
    await client.wait(session_id)
    assert kinds(await client.messages(session_id))[4:] == ["compaction", "idle"]


async def test_messages_come_in_pages_newest_first(client: FakeClient) -> None:
    """An empty page ends; an order and a cursor exclude each other."""
    session_id = await client.run('script:chain [{"name": "read", "args": {"filePath": "README.md"}}]')
    found: list[str] = []
    page = await client.get(f"session/{session_id}/message", limit=2)
    while page["data"]:
        found += kinds(page["data"])
        page = await client.get(f"session/{session_id}/message", limit=2, cursor=page["cursor"]["next"])
    assert found == ["idle", "assistant", "assistant", "user"]
    assert page["cursor"] == {}
    await client.get(f"session/{session_id}/message", 400, cursor="x", order="asc")
    assert (await client.get(f"session/{session_id}/message", 400, cursor="%"))["_tag"] == "InvalidCursorError"


async def test_a_huge_answer_and_broken_calls(client: FakeClient) -> None:
    """An unknown tool and arguments that are no JSON fail their call, and the model goes on."""
    session_id = await client.run("script:huge 500000")
    assert len(text_of((await client.messages(session_id))[1])) == 500_000
    for script, kind in (("badargs", "tool.input-json"), ("unknowntool", "tool.unknown")):
        messages = await client.messages(await client.run(f"script:{script}"))
        assert tool_of(messages)["state"]["error"]["type"] == kind
        assert messages[-1]["outcome"] == "succeeded"


async def test_a_title_is_made_in_the_first_turn(model: ScriptedModel, tmp_path: Path) -> None:
    """It counts in the totals of the session, not in its messages."""
    async with open_client(model, tmp_path, config={}) as client:
        session_id = await client.run("script:text hi")
        session = await eventually(lambda: client.get(f"session/{session_id}"), lambda it: "title" in it["data"])
        assert session["data"]["title"] == "Scripted title"
        assert session["data"]["tokens"]["input"] == 200
