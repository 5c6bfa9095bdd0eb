"""The process: passwords, web page, booting, restart, events, log, and requests that break the contract."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import anyio
import httpx2
import jsonschema_rs
import pytest

from examples.scripted_model import ScriptedModel
from tests.contract_server import load_contract
from tests.eventually import eventually

from .assumptions import ASSUMPTIONS
from .client import FakeClient, kinds, open_client, tool_of
from .fake import PASSWORD
from .operations import OPERATIONS, STREAMS
from .store import Store, new_id

pytestmark = pytest.mark.anyio


async def test_without_the_password_there_is_only_the_web_page(model: ScriptedModel, tmp_path: Path) -> None:
    """Every path that is not the API's is a page, with status 200; the user name is fixed."""
    async with open_client(model, tmp_path) as client, httpx2.AsyncClient(base_url=client.fake.url, timeout=60) as http:
        for path in ("/global/health", "/session", "/api/no-such"):
            page = await http.get(path)
            assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        for auth in (None, ("opencode", "wrong"), ("other", PASSWORD)):
            refused = await http.get("/api/info", auth=auth)
            assert (refused.status_code, refused.json()["_tag"]) == (401, "UnauthorizedError")
            assert refused.headers["www-authenticate"].startswith("Basic")
        token = base64.b64encode(f"opencode:{PASSWORD}".encode()).decode()
        assert (await http.get("/api/info", params={"auth_token": token})).status_code == 200
        info = await client.get("info")
        assert (info["version"], type(info["pid"])) == ("2.1.2", int)
        assert (await client.http.get("/openapi.json")).json()["info"]["version"]


@pytest.mark.parametrize(("state", "status"), [("starting", 503), ("failed", 500), ("stopping", 503)])
async def test_a_process_that_is_not_ready(model: ScriptedModel, tmp_path: Path, state: str, status: int) -> None:
    """Every request is refused in the same way; /api/info has a status of its own. Then it is ready."""
    async with open_client(model, tmp_path, state=state) as client:
        answer = await client.http.get("/api/session/active")
        assert (answer.status_code, answer.json()) == (503, {"code": f"service_{state}"})
        assert answer.headers["retry-after"] == "1"
        assert (await client.http.get("/api/info")).status_code == status
        client.fake.state = "ready"
        assert await client.active() == set()


async def test_a_restart_keeps_what_is_stored_and_ends_what_runs(model: ScriptedModel, tmp_path: Path) -> None:
    """No idle message, no outcome; the pending request is gone; the inbox waits for the next prompt."""
    config = {"agent": {"title": {"disable": True}}, "permission": {"edit": "ask"}}
    async with open_client(model, tmp_path, config=config) as client:
        session_id = await client.create()
        await client.prompt(session_id, 'script:tool write {"filePath": "a.txt", "content": "a"}')
        await client.permission(session_id)
        await client.prompt(session_id, "script:text later", delivery="queue")
        before = await client.messages(session_id)
        await client.fake.restart()
        assert await client.messages(session_id) == before
        assert kinds(before) == ["user", "assistant"]
        assert "finish" not in before[1] and tool_of(before)["state"]["status"] == "running"
        assert await client.active() == set()
        assert (await client.get(f"session/{session_id}/permission"))["data"] == []
        assert "outcome" not in (await client.get(f"session/{session_id}"))["data"]
        assert len((await client.get(f"session/{session_id}/inbox"))["data"]) == 1
        await client.prompt(session_id, "script:text now")
        await client.wait(session_id)
        assert [item["text"] for item in (await client.messages(session_id, type="user"))[1:]] == [
            "script:text now",
            "script:text later",
        ]
        state = tool_of(await client.messages(session_id))["state"]
        assert state["error"] == {"type": "aborted", "message": "Tool execution interrupted: write"}


async def test_another_process_has_the_same_sessions(model: ScriptedModel, tmp_path: Path) -> None:
    """One that is started on the database of an earlier one; what that ran is not active."""
    store = Store()
    async with open_client(model, tmp_path, store=store) as client:
        session_id = await client.create()
        await client.prompt(session_id, "script:hang")
        await client.messages_when(session_id, lambda found: "assistant" in kinds(found))
    async with open_client(model, tmp_path, store=store) as client:
        assert kinds(await client.messages(session_id)) == ["user", "assistant"]
        assert await client.active() == set()


async def test_a_wait_is_cut_when_the_process_ends(model: ScriptedModel, tmp_path: Path) -> None:
    """So is the event stream."""
    async with open_client(model, tmp_path) as client:
        session_id = await client.create()
        await client.prompt(session_id, "script:hang")
        seen: list[Any] = []

        async def wait() -> None:
            seen.append((await client.http.post(f"/api/experimental/session/{session_id}/wait")).status_code)

        async def listen() -> None:
            seen.append([event["type"] async for event in client.events()])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            tasks.start_soon(listen)
            await eventually(lambda: len(client.fake.engine.events.subscribers) == 1)
            await eventually(lambda: "experimental.session.wait" in client.fake.contract.requests)
            await client.fake.restart()
        assert len(seen) == 2 and 503 in seen


async def collect(client: FakeClient, until: str, act: Any) -> list[dict[str, Any]]:
    """Return the events of the stream up to one of a type, while something is done."""
    events: list[dict[str, Any]] = []

    async def listen() -> None:
        async for event in client.events():
            events.append(event)
            if event["type"] == until:
                return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await eventually(lambda: len(client.fake.engine.events.subscribers) == 1)
        await act()
    return events


async def test_the_events_of_a_turn(model: ScriptedModel, tmp_path: Path) -> None:
    """In the recorded order; the durable ones are in the log of the session, which has no deltas."""
    async with open_client(model, tmp_path) as client:
        session_id = await client.create()
        events = await collect(
            client, "session.execution.succeeded", lambda: client.prompt(session_id, "script:text hi")
        )
        types = [event["type"] for event in events]
        assert types[:7] == [
            "server.connected",
            "session.inbox.enqueued",
            "session.execution.started",
            "session.instructions.updated",
            "session.inbox.delivered",
            "session.step.started",
            "session.text.started",
        ]
        assert types[-5:] == [
            "session.text.ended",
            "session.step.streamed",
            "session.step.ended",
            "session.usage.updated",
            "session.execution.succeeded",
        ]
        assert "created" not in events[0]
        assert {event["location"]["directory"] for event in events[1:]} == {str(client.directory)}
        log = [item async for item in client.events(f"experimental/session/{session_id}/log", follow="false")]
        assert log[0]["type"] == "session.created"
        assert log[1:-1] == [event for event in events if "durable" in event]
        assert log[-1] == {"type": "log.synced", "aggregateID": session_id, "seq": log[-2]["durable"]["seq"]}
        after = log[2]["durable"]["seq"]
        later = [item async for item in client.events(f"experimental/session/{session_id}/log", after=after)]
        assert later == log[3:]


async def test_the_events_of_requests(model: ScriptedModel, tmp_path: Path) -> None:
    """The reply of a permission is `reply` in its event and `decision` in its request."""
    config = {"agent": {"title": {"disable": True}}, "permission": {"edit": "ask"}}
    async with open_client(model, tmp_path, config=config) as client:
        session_id = await client.create()

        async def act() -> None:
            await client.prompt(session_id, 'script:tool write {"filePath": "a.txt", "content": "a"}')
            await client.reply(await client.permission(session_id), decision="once")
            await client.wait(session_id)
            await client.prompt(session_id, "script:question")
            form = await client.form(session_id)
            await client.post(f"session/{session_id}/form/{form['id']}/reply", answer={"q0": "Own words"})

        events = {event["type"]: event["data"] for event in await collect(client, "form.replied", act)}
        assert events["permission.replied"]["reply"] == "once"
        assert events["permission.asked"]["sessionID"] == session_id
        assert events["form.created"]["form"]["sessionID"] == session_id
        assert events["form.replied"]["answer"] == {"q0": "Own words"}
        assert events["session.tool.success"]["executed"] is False


async def test_a_slow_subscriber_is_cut(model: ScriptedModel, tmp_path: Path) -> None:
    """It gets no error, its stream ends."""
    async with open_client(model, tmp_path) as client:
        events = client.fake.engine.events
        with events.subscribe() as received:
            for _ in range(4097):
                events.publish("filesystem.changed", None, "/p", file="a", event="add")
            assert len([event async for event in received]) == 4096
        assert events.subscribers == []


async def test_a_request_that_breaks_the_contract(model: ScriptedModel, tmp_path: Path) -> None:
    """It is refused and noted; so is an operation that the fake does not play."""
    async with open_client(model, tmp_path) as client:
        session_id = await client.create()
        await client.post(f"session/{session_id}/prompt", 400, prompt={"text": "as V1"})
        assert "session.prompt" in client.fake.contract.faults[0]
        await client.get("plugin", 500)
        assert client.fake.not_played == ["plugin.list"]
        missing = await client.get("agent", 404, **{"location[directory]": "/no/such"})
        assert missing["_tag"] == "LocationNotFoundError"
        lost = await client.create(location={"directory": "/no/such"})
        assert (await client.get(f"session/{lost}"))["data"]["location"] == {"directory": "/no/such"}
        refused = await client.post(f"session/{lost}/prompt", 404, text="script:text hi")
        assert refused["location"] == {"directory": "/no/such"}


async def test_an_answer_or_an_event_that_breaks_the_contract(model: ScriptedModel, tmp_path: Path) -> None:
    """A check that could not fail would prove nothing."""
    async with open_client(model, tmp_path) as client:
        fake = client.fake
        [route] = [route for route in fake.contract.routes if route.id == "session.get"]
        assert fake.checked(route, 200, {"data": {"id": "ses_1"}}).status_code == 500
        assert fake.checked(route, 418, {}).status_code == 500
        assert "session.get: answer: " in fake.answer_faults[0]
        assert fake.answer_faults[-1] == "session.get: 418 is not declared"
        with pytest.raises(jsonschema_rs.ValidationError):
            fake.engine.events.publish("filesystem.changed", None, "/p", file="a", event="moved")


def test_what_is_played_is_in_the_document() -> None:
    """And what is assumed is said."""
    known = {route.id for route in load_contract(2).routes}
    assert OPERATIONS.keys() | STREAMS <= known
    assert len(OPERATIONS) + len(STREAMS) > 65
    assert len({*ASSUMPTIONS}) == len(ASSUMPTIONS) > 20


def test_ids_sort_as_they_were_made() -> None:
    """Also many in one millisecond."""
    made = [new_id("msg") for _ in range(10_000)]
    assert made == sorted(made) and len({*made}) == len(made)
    assert len(made[0]) == len("msg_") + 26
