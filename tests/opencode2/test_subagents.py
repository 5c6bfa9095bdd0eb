"""Subagents in the foreground and in the background: who waits, who wakes, and what an interrupt ends."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from examples.scripted_model import ScriptedModel
from tests.eventually import eventually

from .client import FakeClient, kinds, open_client, text_of, tool_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(model: ScriptedModel, tmp_path: Path) -> AsyncGenerator[FakeClient]:
    """A client of a fake."""
    async with open_client(model, tmp_path) as client:
        yield client


def delegate(prompt: str, **arguments: Any) -> str:
    """Return a prompt that gives a subagent a prompt."""
    call = {"agent": "general", "prompt": prompt, "description": "child", **arguments}
    return f"script:tool subagent {json.dumps(call)}"


async def child_of(client: FakeClient, session_id: str) -> str:
    """Wait for the child of a session."""
    children = await eventually(lambda: client.get("session", parentID=session_id), lambda found: found["data"])
    return children["data"][0]["id"]


async def test_a_subagent_inherits_and_reports(client: FakeClient) -> None:
    """It is no root, and its text is the result of the call."""
    rules = [{"action": "webfetch", "resource": "*", "effect": "deny"}]
    session_id = await client.run(delegate("script:text from the child"), permissions=rules, metadata={"task": "1"})
    child_id = await child_of(client, session_id)
    child = (await client.get(f"session/{child_id}"))["data"]
    assert (child["parentID"], child["agent"], child["title"]) == (session_id, "general", "child")
    assert (child["permissions"], child["metadata"]) == (rules, {"task": "1"})
    assert [item["id"] for item in (await client.get("session", parentID="null"))["data"]] == [session_id]
    assert "from the child" in tool_of(await client.messages(session_id))["state"]["content"][0]["text"]
    await client.request("DELETE", f"session/{session_id}", 204)
    await client.get(f"session/{child_id}", 404)


@pytest.mark.parametrize(
    ("agent", "words"), [("bild", "Unknown agent: bild"), ("build", "build cannot run as a subagent")]
)
async def test_what_cannot_be_a_subagent(client: FakeClient, agent: str, words: str) -> None:
    """The call fails, and no session is made."""
    session_id = await client.run(delegate("script:text hi", agent=agent))
    assert words in tool_of(await client.messages(session_id))["state"]["error"]["message"]
    assert (await client.get("session", parentID=session_id))["data"] == []


async def test_a_subagent_has_no_subagents(client: FakeClient) -> None:
    """Its agent may be offered the tool; the call fails."""
    (client.directory / "opencode.json").write_text('{"agent": {"worker": {"mode": "all"}}}')
    session_id = await client.run(delegate(delegate("script:text hi"), agent="worker"))
    child_id = await child_of(client, session_id)
    assert "depth limit" in tool_of(await client.messages(child_id))["state"]["error"]["message"]


async def test_a_subagent_goes_on(client: FakeClient) -> None:
    """A later call gives the same child another prompt."""
    session_id = await client.run(delegate("script:text one"))
    child_id = await child_of(client, session_id)
    await client.prompt(session_id, delegate("script:text two", sessionID=child_id))
    await client.wait(session_id)
    assert kinds(await client.messages(child_id)) == ["user", "assistant", "idle"] * 2
    await client.prompt(session_id, delegate("script:text three", sessionID=session_id))
    await client.wait(session_id)
    assert len((await client.get("session", parentID=session_id))["data"]) == 1


async def test_an_idle_parent_wakes_when_its_background_child_has_ended(client: FakeClient, tmp_path: Path) -> None:
    """Between the two turns of the parent only the child is active."""
    session_id, go = await client.create(), tmp_path / "go"
    await client.prompt(session_id, delegate(f"script:hold {go}", background=True))
    child_id = await child_of(client, session_id)
    await client.wait(session_id)
    assert await client.active() == {child_id}
    call = tool_of(await client.messages(session_id))
    assert (call["state"]["status"], call["state"]["metadata"]) == (
        "completed",
        {"sessionID": child_id, "status": "running"},
    )
    go.touch()
    messages = await client.messages_when(session_id, lambda found: kinds(found).count("idle") == 2)
    synthetic = next(message for message in messages if message["type"] == "synthetic")
    assert synthetic["metadata"] == {
        "source": "subagent",
        "childID": child_id,
        "agent": "general",
        "state": "completed",
    }
    assert synthetic["text"].startswith(f'<subagent sessionID="{child_id}" state="completed"')
    assert kinds(messages)[-3:] == ["synthetic", "assistant", "idle"]


async def test_a_call_goes_on_in_the_background(client: FakeClient, tmp_path: Path) -> None:
    """A subagent that blocks its parent no longer does."""
    session_id, go = await client.create(), tmp_path / "go"
    await client.prompt(session_id, delegate(f"script:hold {go}"))
    child_id = await child_of(client, session_id)
    await eventually(client.active, lambda found: found == {session_id, child_id})
    await client.send(f"session/{session_id}/background", 204)
    assert (await client.wait(session_id))["outcome"] == "succeeded"
    assert await client.active() == {child_id}
    go.touch()
    await client.messages_when(session_id, lambda found: kinds(found).count("idle") == 2)


async def test_an_interrupt_ends_the_child_in_the_foreground(client: FakeClient) -> None:
    """One in the background runs on."""
    session_id, other = await client.create(), await client.create()
    await client.prompt(session_id, delegate("script:hang"))
    await client.prompt(other, delegate("script:hang", background=True))
    foreground, background = await child_of(client, session_id), await child_of(client, other)
    await eventually(client.active, lambda found: foreground in found)
    for parent in (session_id, other):
        await client.send(f"session/{parent}/interrupt")
        await client.wait(parent)
    assert await eventually(client.active, lambda found: foreground not in found) == {background}
    assert (await client.get(f"session/{foreground}"))["data"]["outcome"] == "interrupted"


async def test_an_interrupted_child_does_not_end_its_parent(client: FakeClient) -> None:
    """The call fails, and the model goes on."""
    session_id = await client.create()
    await client.prompt(session_id, delegate("script:hang"))
    child_id = await child_of(client, session_id)
    await eventually(client.active, lambda found: child_id in found)
    await client.send(f"session/{child_id}/interrupt")
    assert (await client.wait(session_id))["outcome"] == "succeeded"
    messages = await client.messages(session_id)
    assert "Subagent cancelled" in tool_of(messages)["state"]["error"]["message"]
    assert text_of(messages[-2]) == "done: tool"
