"""A client of the fake, and a project for it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from examples.scripted_model import ScriptedModel, provider_config
from tests.eventually import eventually

from .engine import Options
from .fake import PASSWORD, USER, FakeOpenCode2, open_opencode2
from .store import Json, Store

QUIET: Json = {"agent": {"title": {"disable": True}}}
"""Half the calls of the model, for tests that read no titles."""


@dataclass(frozen=True)
class FakeClient:
    """Requests to the fake; every answer is a 2xx unless `status` says otherwise."""

    http: httpx2.AsyncClient
    fake: FakeOpenCode2
    directory: Path

    async def request(self, method: str, path: str, status: int = 0, **options: Any) -> Any:
        """Send a request; return the answer's JSON, None without one."""
        response = await self.http.request(method, f"/api/{path}", **options)
        assert response.status_code == status or (not status and response.is_success), response.text
        assert self.fake.answer_faults == []
        return response.json() if response.content else None

    async def get(self, path: str, status: int = 0, **query: Any) -> Any:
        """Return what is there."""
        return await self.request("GET", path, status, params=query)

    async def post(self, path: str, status: int = 0, **body: Any) -> Any:
        """Send a body."""
        return await self.request("POST", path, status, json=body)

    async def send(self, path: str, status: int = 0) -> Any:
        """Send a POST without a body."""
        return await self.request("POST", path, status)

    async def at(self, path: str, **query: Any) -> Any:
        """Return what is at the location of the project."""
        return await self.get(path, **{"location[directory]": str(self.directory)}, **query)

    async def create(self, **body: Any) -> str:
        """Create a session in the project."""
        location = {"directory": str(self.directory)}
        created = await self.request("POST", "session", json={"location": location, **body})
        return created["data"]["id"]

    async def prompt(self, session_id: str, text: str, **body: Any) -> str:
        """Send a prompt; return its id."""
        return (await self.post(f"session/{session_id}/prompt", text=text, **body))["data"]["id"]

    async def wait(self, session_id: str) -> Json:
        """Wait until a session is idle; return it."""
        await self.send(f"experimental/session/{session_id}/wait")
        return (await self.get(f"session/{session_id}"))["data"]

    async def run(self, text: str, **body: Any) -> str:
        """Create a session, and run a prompt to its end."""
        session_id = await self.create(**body)
        await self.prompt(session_id, text)
        await self.wait(session_id)
        return session_id

    async def messages(self, session_id: str, **query: Any) -> list[Json]:
        """Return the messages, oldest first."""
        return (await self.get(f"session/{session_id}/message", order="asc", **query))["data"]

    async def messages_when(self, session_id: str, until: Callable[[list[Json]], object]) -> list[Json]:
        """Wait until the messages are as they should be; return them."""

        async def read() -> list[Json]:
            return await self.messages(session_id)

        return await eventually(read, until)

    async def active(self) -> set[str]:
        """Return the sessions that run."""
        return {*(await self.get("session/active"))["data"]}

    async def permission(self, session_id: str) -> Json:
        """Wait for a request of a session."""
        listed = await eventually(lambda: self.get(f"session/{session_id}/permission"), lambda found: found["data"])
        return listed["data"][0]

    async def reply(self, request: Json, status: int = 0, **body: Any) -> Any:
        """Answer a request."""
        return await self.post(f"session/{request['sessionID']}/permission/{request['id']}/reply", status, **body)

    async def form(self, session_id: str) -> Json:
        """Wait for a form of a session."""
        listed = await eventually(lambda: self.get(f"session/{session_id}/form"), lambda found: found["data"])
        return listed["data"][0]

    async def events(self, path: str = "event", **query: Any) -> AsyncIterator[Json]:
        """Yield the events of a stream, until it ends."""
        async with self.http.stream("GET", f"/api/{path}", params=query) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))


def kinds(messages: list[Json]) -> list[str]:
    """Return the types of messages."""
    return [message["type"] for message in messages]


def text_of(message: Json) -> str:
    """Return the text of an assistant message."""
    return "".join(item["text"] for item in message["content"] if item["type"] == "text")


def tool_of(messages: list[Json]) -> Json:
    """Return the first call of a tool."""
    return next(item for message in messages for item in message.get("content", []) if item["type"] == "tool")


@asynccontextmanager
async def open_client(
    model: ScriptedModel, folder: Path, config: Json | None = None, store: Store | None = None, **options: Any
) -> AsyncGenerator[FakeClient]:
    """Serve a fake whose models are the scripted one, with a project; open a client of it."""
    project = folder / "project"
    (project / ".git").mkdir(parents=True, exist_ok=True)
    (project / "README.md").write_text("hello from the project\n")
    state = options.pop("state", "ready")
    settings = Options(
        {**provider_config(model.url), **(QUIET if config is None else config)}, folder=folder, **options
    )
    async with (
        open_opencode2(settings, store, state=state) as fake,
        httpx2.AsyncClient(base_url=fake.url, auth=(USER, PASSWORD), timeout=60, trust_env=False, verify=False) as http,
    ):
        yield FakeClient(http, fake, project)
