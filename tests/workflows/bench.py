"""Where a row is played: a project on a real OpenCode, and clients of bridges in front of it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mcp import Client

from examples.scripted_model import Request, ScriptedModel
from opencode_mcp.openapi import Catalog
from opencode_mcp.opencode.install import Program
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from tests.conftest import make_project

from .seen import Seen

Config = Mapping[str, Any]

ASKS: Config = {"permission": {"bash": "ask"}}
"""OpenCode's configuration in every project here; access outside of the project is asked for by default."""

QUICK: Config = {"snapshot": False, "agent": {"title": {"disable": True}}}
"""Half the work for rows that look neither at changes nor at titles."""

LONG_SECONDS = 600

MODES = {"2025-11-25": "legacy", "2026-07-28": "auto"}
"""The SDK client's words for the two protocol eras."""


@dataclass(frozen=True)
class World:
    """What all rows share."""

    catalog: Catalog
    model: ScriptedModel
    program: Program
    environ: Mapping[str, str]


@dataclass(frozen=True)
class Bench:
    """A row's place. `key` is in no other row; `client` is one that cannot ask its user.

    `sessions` are those that were reported; they are aborted in the end. Over a bad network an answer may be lost.
    """

    world: World
    settings: Settings
    project: Path
    key: str
    client: Client
    bad_network: bool = False
    sessions: set[str] = field(default_factory=set[str])

    async def call(self, tool: str, client: Client | None = None, **arguments: Any) -> Seen:
        """Call a tool."""
        seen = Seen.of(await (client or self.client).call_tool(tool, arguments))
        for report in seen.tasks if "tasks" in seen.facts else [seen]:
            if "state" in report.facts:
                self.sessions.add(report.session_id)
        return seen

    async def run(self, prompt: str, client: Client | None = None, **arguments: Any) -> Seen:
        """Run a task; what would take longer than its row may is hung."""
        return await self.call("run_task", client, prompt=prompt, **{"timeout_seconds": LONG_SECONDS, **arguments})

    async def wait(self, *session_ids: str, client: Client | None = None, **arguments: Any) -> Seen:
        """Wait for tasks; the report of the first one."""
        arguments = {"session_ids": [*session_ids], "timeout_seconds": LONG_SECONDS, **arguments}
        return (await self.call("wait_for_tasks", client, **arguments)).tasks[0]

    async def create_session(self) -> str:
        """Create a session that is no task of the bridge."""
        session_id: str = (await self.call("session_create"))["id"]
        self.sessions.add(session_id)
        return session_id

    @property
    def held(self) -> str:
        """A prompt that is answered once `go` was called."""
        return f"script:hold {self.file('go')}"

    def go(self) -> None:
        """Have it answered."""
        self.file("go").touch()

    def bridge(self, settings: Settings | None = None, **options: Any) -> AbstractAsyncContextManager[Client]:
        """Open a client of another bridge; `options` are those of `mcp.Client`."""
        return opened(settings or self.settings, self.world.catalog, **options)

    async def report(self, session_id: str) -> Seen:
        """Report a task."""
        return await self.call("report_task", session_id=session_id)

    def asked_of_model(self, words: str | None = None) -> list[Request]:
        """What the model was asked with these words in it, or with this row's key."""
        return [request for request in self.world.model.requests if (words or self.key) in str(request.messages)]

    def file(self, name: str) -> Path:
        """A file of the project that is this row's own."""
        return self.project / f"{name}-{self.key}"


@asynccontextmanager
async def opened(settings: Settings, catalog: Catalog, **options: Any) -> AsyncGenerator[Client]:
    """Open a client of a bridge of its own, in memory."""
    async with Client(create_server(settings, catalog), **options) as client:
        yield client


@asynccontextmanager
async def bench(
    world: World, settings: Settings, project: Path, key: str, bad_network: bool = False
) -> AsyncGenerator[Bench]:
    """Provide a bench, and leave nothing running."""
    async with opened(replace(settings, directory=str(project)), world.catalog) as client:
        one = Bench(world, replace(settings, directory=str(project)), project, key, client, bad_network)
        yield one
        for session_id in one.sessions:
            await client.call_tool("session_abort", {"sessionID": session_id})


def project_that_asks(folder: Path, environ: Mapping[str, str], config: Config) -> Path:
    """Create a git project in which OpenCode asks before it runs a command."""
    folder.mkdir(parents=True)
    (folder / "opencode.json").write_text(json.dumps({**ASKS, **config}))
    return make_project(folder, environ)
