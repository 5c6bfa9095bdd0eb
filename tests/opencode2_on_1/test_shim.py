"""The shim itself: what a turn on 1.18.33 looks like as one of OpenCode 2."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from opencode_mcp.opencode import Endpoint
from tests.eventually import eventually
from tests.opencode2.store import Json

from .operations import ShimCall, list_sessions
from .shim import Shim, open_shim
from .upstream import Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@dataclass(frozen=True)
class ShimClient:
    """Requests to the shim, for one session."""

    http: httpx2.AsyncClient
    shim: Shim
    session_id: str

    async def request(self, method: str, path: str, **options: Any) -> Any:
        """Send a request about the session; return the answer's JSON, None without one."""
        response = await self.http.request(method, f"/api/session/{self.session_id}{path}", **options)
        assert response.is_success, response.text
        return response.json() if response.content else None

    async def pending(self, kind: str) -> Json:
        """Wait for a permission request or a form."""
        listed = await eventually(lambda: self.request("GET", f"/{kind}"), lambda found: found["data"])
        return listed["data"][0]

    async def outcomes(self, turns: int) -> list[str]:
        """Wait until so many turns have ended; return how each of them has."""

        async def read() -> list[str]:
            listed = (await self.request("GET", "/message", params={"order": "asc"}))["data"]
            return [message["outcome"] for message in listed if message["type"] == "idle"]

        return await eventually(read, until=lambda outcomes: len(outcomes) >= turns)


@pytest.fixture
async def session(endpoint: Endpoint, scripted_project: Path) -> AsyncGenerator[ShimClient]:
    """A session of a shim."""
    async with open_shim(endpoint) as shim, httpx2.AsyncClient(base_url=shim.url, timeout=60) as http:
        body = {"location": {"directory": str(scripted_project)}, "metadata": {"task": {"kept": True}}}
        created = (await http.post("/api/session", json=body)).json()["data"]
        assert created["metadata"] == body["metadata"]
        yield ShimClient(http, shim, created["id"])


async def test_turns_end_with_an_idle_message(session: ShimClient) -> None:
    """With the outcome; a request is answered in OpenCode 2's words, and shows them."""
    events: list[Json] = []

    async def listen() -> None:
        async with session.http.stream("GET", "/api/event") as response:
            async for frame in httpx2.EventSource(response):
                event: Json = json.loads(frame.data)
                events.append(event)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await eventually(lambda: events)
        await session.request("POST", "/prompt", json={"text": "script:bash"})
        request = await session.pending("permission")
        assert (request["action"], request["resources"]) == ("shell", ["echo hello-from-bash"])
        await session.request("POST", f"/permission/{request['id']}/reply", json={"decision": "reject"})
        assert await session.outcomes(1) == ["interrupted"]
        await session.request("POST", "/prompt", json={"text": "script:question"})
        form = await session.pending("form")
        assert [field["key"] for field in form["fields"]] == ["q0"]
        await session.request("POST", f"/form/{form['id']}/reply", json={"answer": {"q0": "Red"}})
        assert await session.outcomes(2) == ["interrupted", "succeeded"]
        await session.request("POST", "/prompt", json={"text": "script:error 400"})
        assert await session.outcomes(3) == ["interrupted", "succeeded", "failed"]
        await session.request("POST", "/prompt", json={"text": "script:hang"})
        await eventually(lambda: session.request("GET", "/inbox"), lambda found: not found["data"])
        assert await session.request("POST", "/interrupt") == {"interrupted": True}
        assert await session.outcomes(4) == ["interrupted", "succeeded", "failed", "interrupted"]
        assert await session.request("POST", "/interrupt") == {"interrupted": False}
        await eventually(
            lambda: {event["type"] for event in events if session.session_id in json.dumps(event)},
            until={"session.execution.started", "permission.asked", "form.replied", "session.step.failed"}.issubset,
        )
        tasks.cancel_scope.cancel()
    shim = session.shim
    assert (shim.contract.faults, shim.answer_faults, shim.missing) == ([], [], [])


async def test_a_child_session_that_is_deleted_while_it_is_read_is_not_listed() -> None:
    """OpenCode 2 lists them in one step."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/session/ses_1/children":
            return httpx2.Response(200, json=[{"id": "ses_2"}])
        return httpx2.Response(404, json={"_tag": "SessionNotFoundError"})

    transport = httpx2.MockTransport(answer)
    async with httpx2.AsyncClient(transport=transport, base_url="http://opencode.test") as http:
        call = ShimCall(Upstream(http), "/api/session", {}, {"parentID": "ses_1"}, {}, "/project")
        assert await list_sessions(call) == {"data": [], "cursor": {}}


async def test_what_1_18_33_lacks_is_said(session: ShimClient) -> None:
    """With 501, and noted for the table of scenarios."""
    response = await session.http.get(f"/api/session/{session.session_id}/environment")
    assert response.headers["content-type"].startswith("text/html"), "only PUT is documented"
    answers = [
        await session.http.patch(f"/api/session/{session.session_id}", json={"permissions": []}),
        await session.http.post(f"/api/session/{session.session_id}/shell", json={"command": "true"}),
    ]
    assert [answer.status_code for answer in answers] == [501, 501]
    assert session.shim.missing == ["session.update: rules of a session", "session.shell: it"]
