"""What waits for the user: permissions by rule, for once, always, rejected; questions as forms; subagents' requests."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from examples.scripted_model import ScriptedModel
from tests.eventually import eventually

from .client import QUIET, FakeClient, kinds, open_client, text_of, tool_of

pytestmark = pytest.mark.anyio

ASKING: dict[str, Any] = {**QUIET, "permission": {"edit": "ask"}}
WRITE = 'script:tool write {"filePath": "made.txt", "content": "made"}'


@pytest.fixture
async def client(model: ScriptedModel, tmp_path: Path) -> AsyncGenerator[FakeClient]:
    """A client of a fake that asks before each edit."""
    async with open_client(model, tmp_path, config=ASKING) as client:
        yield client


async def ask(client: FakeClient, prompt: str = WRITE, **body: Any) -> tuple[str, dict[str, Any]]:
    """Run a prompt until it asks; return the session and the request."""
    session_id = await client.create(**body)
    await client.prompt(session_id, prompt)
    return session_id, await client.permission(session_id)


async def test_a_permission_is_asked_and_allowed_once(client: FakeClient) -> None:
    """The session stays active while it waits; the request names the call; a second answer is 404."""
    session_id, request = await ask(client)
    call = tool_of(await client.messages(session_id))
    assert (request["action"], request["resources"], request["save"]) == ("edit", ["made.txt"], ["*"])
    assert request["source"]["id"] == call["id"]
    assert call["state"]["status"] == "running"
    assert await client.active() == {session_id}
    assert (await client.at("permission/request"))["data"] == [request]
    assert (await client.get("permission/request"))["data"] == [], "without a location it is the server's own"
    assert (await client.get(f"session/{session_id}/permission/{request['id']}"))["data"] == request
    await client.reply(request, 204, decision="once")
    assert (await client.wait(session_id))["outcome"] == "succeeded"
    assert (client.directory / "made.txt").read_text() == "made"
    assert (await client.reply(request, 404, decision="once"))["_tag"] == "PermissionNotFoundError"


async def test_always_holds_for_the_project(client: FakeClient) -> None:
    """It settles other requests, is stored, and can be removed."""
    first, request = await ask(client)
    second, _ = await ask(client)
    await client.reply(request, 204, decision="always")
    for session_id in (first, second):
        assert (await client.wait(session_id))["outcome"] == "succeeded"
    third = await client.run(WRITE)
    assert (await client.get(f"session/{third}"))["data"]["outcome"] == "succeeded"
    [saved] = (await client.get("permission/saved"))["data"]
    assert (saved["action"], saved["resource"]) == ("edit", "*")
    await client.request("DELETE", f"permission/saved/{saved['id']}", 204)
    await ask(client)


async def test_a_rejection_ends_the_turn(client: FakeClient) -> None:
    """Without a message; all other requests of the session are rejected with it."""
    calls = [{"name": "write", "args": {"filePath": f"{name}.txt", "content": "x"}} for name in ("a", "b")]
    session_id, _ = await ask(client, f"script:tools {json.dumps(calls)}")
    listed = await eventually(
        lambda: client.get(f"session/{session_id}/permission"), lambda found: len(found["data"]) == 2
    )
    await client.reply(listed["data"][0], 204, decision="reject")
    assert (await client.wait(session_id))["outcome"] == "interrupted"
    messages = await client.messages(session_id)
    assert kinds(messages) == ["user", "assistant", "idle"]
    assert {item["state"]["error"]["type"] for item in messages[1]["content"]} == {"aborted"}
    assert messages[1]["finish"] == "error"
    assert not [*client.directory.glob("?.txt")]


async def test_a_rejection_with_a_message_goes_on(client: FakeClient) -> None:
    """The model receives the words."""
    session_id, request = await ask(client)
    await client.reply(request, 204, decision="reject", message="make it elsewhere")
    assert (await client.wait(session_id))["outcome"] == "succeeded"
    messages = await client.messages(session_id)
    error = tool_of(messages)["state"]["error"]
    assert error["type"] == "permission.rejected" and "make it elsewhere" in error["message"]
    assert text_of(messages[2]) == "done: tool"


async def test_a_rejection_counts_for_all_requests_of_the_session(client: FakeClient) -> None:
    """With its message, so that the model goes on after all of them; another session's request waits on."""
    calls = [{"name": "write", "args": {"filePath": f"{name}.txt", "content": "x"}} for name in ("a", "b")]
    session_id, _ = await ask(client, f"script:tools {json.dumps(calls)}")
    other, kept = await ask(client)
    listed = await eventually(
        lambda: client.get(f"session/{session_id}/permission"), lambda found: len(found["data"]) == 2
    )
    await client.reply(listed["data"][0], 204, decision="reject", message="elsewhere")
    assert (await client.wait(session_id))["outcome"] == "succeeded"
    content = (await client.messages(session_id))[1]["content"]
    assert [item["state"]["error"]["type"] for item in content] == ["permission.rejected"] * 2
    assert (await client.get(f"session/{other}/permission"))["data"] == [kept]


async def test_rules_of_the_session_come_last(client: FakeClient) -> None:
    """Deny fails the call without a request; allow asks for nothing; a change replaces the list."""
    deny = [{"action": "edit", "resource": "*.txt", "effect": "deny"}]
    session_id = await client.run(WRITE, permissions=deny)
    assert tool_of(await client.messages(session_id))["state"]["error"]["type"] == "permission.rejected"
    allow = [{"action": "*", "resource": "*", "effect": "allow"}]
    await client.request("PATCH", f"session/{session_id}", 204, json={"permissions": allow})
    assert (await client.get(f"session/{session_id}"))["data"]["permissions"] == allow
    await client.prompt(session_id, WRITE)
    assert (await client.wait(session_id))["outcome"] == "succeeded"
    assert (client.directory / "made.txt").exists()


async def test_a_tool_that_is_denied_is_not_offered(client: FakeClient, model: ScriptedModel) -> None:
    """To the model of an agent that may only read; plan does not edit."""
    await client.run("script:text plan only", agent="plan")
    tools = next(request.tools for request in reversed(model.requests) if request.argument == "plan only")
    assert "write" not in tools and "read" in tools
    session_id = await client.run(WRITE, agent="plan")
    assert tool_of(await client.messages(session_id))["state"]["error"]["type"] == "tool.unknown"


async def test_what_is_outside_of_the_project_is_asked_for_first(client: FakeClient, tmp_path: Path) -> None:
    """And a file with secrets inside of it."""
    outside = tmp_path / "outside" / "file"
    call = {"filePath": str(outside), "content": "x"}
    session_id, request = await ask(client, f"script:tool write {json.dumps(call)}")
    assert (request["action"], request["resources"]) == ("external_directory", [f"{outside.parent}/*"])
    await client.reply(request, 204, decision="once")
    second = await eventually(
        lambda: client.get(f"session/{session_id}/permission"),
        lambda found: found["data"] and found["data"] != [request],
    )
    assert second["data"][0]["action"] == "edit"
    (client.directory / ".env").write_text("KEY=1")
    _, request = await ask(client, 'script:tool read {"filePath": ".env"}')
    assert (request["action"], request["resources"]) == ("read", [".env"])


async def test_an_interrupt_withdraws_a_permission(client: FakeClient) -> None:
    """Without a reply."""
    session_id, request = await ask(client)
    await client.send(f"session/{session_id}/interrupt")
    assert (await client.wait(session_id))["outcome"] == "interrupted"
    assert (await client.get(f"session/{session_id}/permission"))["data"] == []
    await client.reply(request, 404, decision="once")
    assert tool_of(await client.messages(session_id))["state"]["error"]["message"] == "Tool execution interrupted"


async def test_whether_something_would_be_allowed(client: FakeClient) -> None:
    """Without a call of a tool; `ask` leaves a request behind, and a reload of the locations rejects it."""
    session_id = await client.create()
    effects = [
        (await client.post(f"session/{session_id}/permission", action=action, resources=["a"]))["data"]["effect"]
        for action in ("read", "edit")
    ]
    assert effects == ["allow", "ask"]
    assert len((await client.get(f"session/{session_id}/permission"))["data"]) == 1
    await client.send("location/reload", 204)
    assert (await client.get(f"session/{session_id}/permission"))["data"] == []


async def test_a_question_is_a_form(client: FakeClient) -> None:
    """Its keys, options and kind; a wrong answer leaves it open; the model receives the right one."""
    session_id = await client.create()
    await client.prompt(session_id, "script:question")
    form = await client.form(session_id)
    [field] = form["fields"]
    assert (field["key"], field["type"], field["description"]) == ("q0", "string", "Which one is best?")
    assert [option["value"] for option in field["options"]] == ["Red", "Blue"]
    assert (form["metadata"], field["custom"]) == ({"kind": "question"}, True)
    assert (await client.at("form"))["data"] == [form]
    assert await client.active() == {session_id}
    path = f"session/{session_id}/form/{form['id']}"
    assert (await client.get(path))["data"]["state"] == {"status": "pending"}
    wrong = await client.post(f"{path}/reply", 400, answer={"q7": "Red"})
    assert wrong["_tag"] == "FormInvalidAnswerError"
    await client.post(f"{path}/reply", 204, answer={"q0": "Red"})
    assert (await client.wait(session_id))["outcome"] == "succeeded"
    assert "Red" in tool_of(await client.messages(session_id))["state"]["content"][0]["text"]
    assert (await client.get(path))["data"]["state"] == {"status": "answered", "answer": {"q0": "Red"}}
    settled = await client.post(f"{path}/reply", 409, answer={"q0": "Red"})
    assert settled["_tag"] == "FormAlreadySettledError"


@pytest.mark.parametrize(("query", "outcome"), [({}, "interrupted"), ({"message": "later"}, "succeeded")])
async def test_a_form_is_cancelled(client: FakeClient, query: dict[str, str], outcome: str) -> None:
    """Without a message the turn ends; with one the model goes on."""
    session_id = await client.create()
    await client.prompt(session_id, "script:question")
    form = await client.form(session_id)
    await client.request("DELETE", f"session/{session_id}/form/{form['id']}", 204, params=query)
    assert (await client.wait(session_id))["outcome"] == outcome
    error = tool_of(await client.messages(session_id))["state"]["error"]["message"]
    assert query.get("message", "dismissed") in error


async def test_an_interrupt_cancels_a_form(client: FakeClient) -> None:
    """It can still be read, and no longer answered."""
    session_id = await client.create()
    await client.prompt(session_id, "script:question")
    form = await client.form(session_id)
    await client.send(f"session/{session_id}/interrupt")
    path = f"session/{session_id}/form/{form['id']}"
    assert (await client.get(path))["data"]["state"] == {"status": "cancelled"}
    assert (await client.get(f"session/{session_id}/form"))["data"] == []
    await client.post(f"{path}/reply", 409, answer={"q0": "Red"})


async def test_a_request_of_a_subagent_is_its_own(client: FakeClient) -> None:
    """It is listed at the location and under the child's id, and answered there."""
    session_id = await client.create()
    await client.prompt(session_id, f"script:task {WRITE}")
    children = await eventually(lambda: client.get("session", parentID=session_id), lambda found: found["data"])
    child_id = children["data"][0]["id"]
    request = await client.permission(child_id)
    assert request["sessionID"] == child_id
    assert (await client.get(f"session/{session_id}/permission"))["data"] == []
    assert (await client.at("permission/request"))["data"] == [request]
    assert await client.active() == {session_id, child_id}
    await client.post(f"session/{session_id}/permission/{request['id']}/reply", 404, decision="once")
    await client.reply(request, 204, decision="once")
    assert (await client.wait(session_id))["outcome"] == "succeeded"
    call = tool_of(await client.messages(session_id))
    assert call["state"]["metadata"] == {"sessionID": child_id, "status": "completed"}
    assert f'sessionID="{child_id}" state="completed"' in call["state"]["content"][0]["text"]
