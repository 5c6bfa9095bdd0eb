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
from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from tests.conftest import make_project

from .observed import ObservedResult

Config = Mapping[str, Any]

BASE_CONFIG: Config = {"permission": {"bash": "ask"}}
"""OpenCode's configuration in every project here; access outside of the project is asked for by default."""

QUICK_CONFIG: Config = {"snapshot": False, "agent": {"title": {"disable": True}}}
"""Half the work for rows that look neither at changes nor at titles."""

TASK_LIMIT_SECONDS = 600

CLIENT_MODES = {"2025-11-25": "legacy", "2026-07-28": "auto"}
"""The SDK client's words for the two protocol eras."""


@dataclass(frozen=True)
class SharedFixtures:
    """What all rows share."""

    catalog: Catalog
    model: ScriptedModel
    program: Program
    environ: Mapping[str, str]


@dataclass(frozen=True)
class ScenarioContext:
    """A row's place. `key` is in no other row; `client` is one that cannot ask its user.

    `reported_sessions` are those that were reported; they are aborted in the end. Over a bad network an answer may be
    lost.
    """

    shared: SharedFixtures
    settings: Settings
    project: Path
    key: str
    client: Client
    faulty_network: bool = False
    reported_sessions: set[str] = field(default_factory=set[str])

    async def call_tool(self, tool: str, client: Client | None = None, **arguments: Any) -> ObservedResult:
        """Call a tool."""
        observed = ObservedResult.from_result(await (client or self.client).call_tool(tool, arguments))
        for report in observed.tasks if "tasks" in observed.content else [observed]:
            if "state" in report.content:
                self.reported_sessions.add(report.session_id)
        return observed

    async def run_task(self, prompt: str, client: Client | None = None, **arguments: Any) -> ObservedResult:
        """Run a task; what would take longer than its row may is hung."""
        return await self.call_tool(
            "run_task", client, prompt=prompt, **{"timeout_seconds": TASK_LIMIT_SECONDS, **arguments}
        )

    async def wait_for_task(self, *session_ids: str, client: Client | None = None, **arguments: Any) -> ObservedResult:
        """Wait for tasks; the report of the first one."""
        arguments = {"session_ids": [*session_ids], "timeout_seconds": TASK_LIMIT_SECONDS, **arguments}
        return (await self.call_tool("wait_for_tasks", client, **arguments)).tasks[0]

    async def create_session(self) -> str:
        """Create a session that is no task of the bridge."""
        session_id: str = (await self.call_tool("session_create"))["id"]
        self.reported_sessions.add(session_id)
        return session_id

    @property
    def held_prompt(self) -> str:
        """A prompt that is answered once `release` was called."""
        return f"script:hold {self.file('go')}"

    def release(self) -> None:
        """Have it answered."""
        self.file("go").touch()

    def open_bridge(self, settings: Settings | None = None, **options: Any) -> AbstractAsyncContextManager[Client]:
        """Open a client of another bridge; `options` are those of `mcp.Client`."""
        return open_client(settings or self.settings, self.shared.catalog, **options)

    async def report_task(self, session_id: str) -> ObservedResult:
        """Report a task."""
        return await self.call_tool("report_task", session_id=session_id)

    def model_requests(self, words: str | None = None) -> list[Request]:
        """What the model was asked with these words in it, or with this row's key."""
        return [request for request in self.shared.model.requests if (words or self.key) in str(request.messages)]

    def file(self, name: str) -> Path:
        """A file of the project that is this row's own."""
        return self.project / f"{name}-{self.key}"


@asynccontextmanager
async def open_client(settings: Settings, catalog: Catalog, **options: Any) -> AsyncGenerator[Client]:
    """Open a client of a bridge of its own, in memory."""
    async with Client(create_server(settings, catalog), **options) as client:
        yield client


@asynccontextmanager
async def open_scenario_context(
    shared: SharedFixtures, settings: Settings, project: Path, key: str, bad_network: bool = False
) -> AsyncGenerator[ScenarioContext]:
    """Provide a bench, and leave nothing running."""
    async with open_client(replace(settings, directory=str(project)), shared.catalog) as client:
        ctx = ScenarioContext(shared, replace(settings, directory=str(project)), project, key, client, bad_network)
        yield ctx
        for session_id in ctx.reported_sessions:
            await client.call_tool("session_abort", {"sessionID": session_id})


def make_asking_project(folder: Path, environ: Mapping[str, str], config: Config) -> Path:
    """Create a git project in which OpenCode asks before it runs a command."""
    folder.mkdir(parents=True)
    (folder / "opencode.json").write_text(json.dumps({**BASE_CONFIG, **config}))
    return make_project(folder, environ)
