"""The engine of OpenCode 2 on the fake."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from examples.scripted_model import ScriptedModel
from opencode_mcp.catalog import Catalog, Operation
from opencode_mcp.catalog.opencode2 import OPENCODE_2
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.endpoint import AttachedServer, Endpoint
from opencode_mcp.opencode.engine.opencode2.engine2 import Engine2
from opencode_mcp.opencode.models import Message, Session
from opencode_mcp.opencode.prepare import PreparedCall
from tests.eventually import eventually

from .client import FakeClient, open_client
from .fake import PASSWORD
from .store import Json


class NeededOnly(OpenCodeClient):
    """A client that sends only what the table of needed operations has: a server's document may lack all else."""

    def prepare(self, operation: Operation, arguments: Mapping[str, Any], lenient: bool = False) -> PreparedCall:
        """Prepare a call of a needed operation with needed arguments."""
        assert {*arguments} <= OPENCODE_2.needed[operation.id], f"{operation.id}: {[*arguments]}"
        return super().prepare(operation, arguments, lenient)


@dataclass(frozen=True)
class EngineClient:
    """The engine under test, and a client of the same fake beside it."""

    engine: Engine2
    client: FakeClient

    @property
    def directory(self) -> str:
        """The project."""
        return str(self.client.directory)

    async def create(self, **facts: Any) -> Session:
        """Create a session in the project."""
        metadata: Json = facts.pop("metadata", {})
        return await self.engine.create_session(self.directory, metadata=metadata, **facts)

    async def start(self, text: str, session: Session | None = None, **selection: Any) -> Session:
        """Send a prompt, in a new session or in one that is given."""
        session = session or await self.create()
        await self.engine.send_prompt(session, [{"type": "text", "text": text}], selection)
        return session

    async def run(self, text: str, session: Session | None = None, **selection: Any) -> list[Message]:
        """Send a prompt, wait for its end, and return the session's messages."""
        session = await self.start(text, session, **selection)
        await self.client.wait(session.id)
        return await self.engine.list_messages(session.id)

    async def newest(self, session: Session) -> Message:
        """Return the newest message."""
        [message] = await self.engine.list_messages(session.id, 1)
        return message

    async def newest_reply(self, session: Session) -> Message:
        """Wait for a reply, and return it."""
        return await eventually(lambda: self.newest(session), lambda message: message.info.role == "assistant")


@asynccontextmanager
async def open_engine(model: ScriptedModel, folder: Path, **options: Any) -> AsyncGenerator[EngineClient]:
    """Serve a fake, and open an engine on it; requests that break the document fail the test."""
    async with open_client(model, folder, **options) as client:
        server = AttachedServer(Endpoint(httpx2.URL(client.fake.url), password=PASSWORD))
        async with NeededOnly(server, Catalog.from_snapshot(2)) as opencode:
            yield EngineClient(Engine2(opencode), client)
        fake = client.fake
        assert (fake.contract.faults, fake.answer_faults, fake.not_played) == ([], [], [])
