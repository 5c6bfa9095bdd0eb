"""Where a scenario runs: a project on a real OpenCode, and clients of servers connected to it."""

from __future__ import annotations

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
from tests.conftest import Config, make_project
from tests.facts import facts

from .observed import ObservedResult

BASE_CONFIG: Config = {"permission": {"bash": "ask"}}
"""OpenCode's configuration in every project here; access outside of the project is asked for by default."""

TASK_LIMIT_SECONDS = 600

CLIENT_MODES = {"2025-11-25": "legacy", "2026-07-28": "auto"}
"""The SDK client's modes for the two protocol versions."""


@dataclass(frozen=True)
class Traits:
    """What scenarios expect of an OpenCode, and what differs between the generations.

    - shell, subagent: names of tools.
    - not_offered: the tools that a model does not have where a task's map of permissions denies `edit`.
    - refused_maps: maps of permissions that a task does not take, by a part of the error.
    - system_prompt: the argument of a task that has one, where a prompt may.
    - adds_schema: OpenCode adds `$schema` to the configuration of a project.
    """

    shell: str = "bash"
    subagent: str = "task"
    not_offered: frozenset[str] = frozenset({"write", "edit", "task"})
    refused_maps: Mapping[str, Mapping[str, str]] = field(
        default_factory=lambda: {
            "knows no tool 'shell*'": {"shell*": "deny"},
            "`task` must be denied": {"bash": "ask", "task": "allow"},
        }
    )
    system_prompt: Mapping[str, Any] = field(default_factory=lambda: {"system": "Write short sentences."})
    adds_schema: bool = True


@dataclass(frozen=True)
class SharedFixtures:
    """Fixtures that all scenarios share."""

    catalog: Catalog
    model: ScriptedModel
    program: Program
    environ: Mapping[str, str]


@dataclass(frozen=True)
class ScenarioContext:
    """The project, client and key of one scenario. `key` is unique; `client` cannot ask its user.

    `reported_sessions` are the sessions that were reported; they are aborted at the end. With `faulty_network` a
    response may be lost. Every client is a `client_class`.
    """

    shared: SharedFixtures
    settings: Settings
    project: Path
    key: str
    client: Client
    faulty_network: bool = False
    reported_sessions: set[str] = field(default_factory=set[str])
    client_class: type[Client] = Client
    traits: Traits = field(default_factory=Traits)

    async def call_tool(self, tool: str, client: Client | None = None, **arguments: Any) -> ObservedResult:
        """Call a tool."""
        observed = ObservedResult.from_result(await (client or self.client).call_tool(tool, arguments))
        for report in observed.tasks if "tasks" in observed.content else [observed]:
            if "state" in report.content:
                self.reported_sessions.add(report.session_id)
        return observed

    async def run_task(self, prompt: str, client: Client | None = None, **arguments: Any) -> ObservedResult:
        """Run a task, with a time limit beyond that of the scenario."""
        return await self.call_tool(
            "run_task", client, prompt=prompt, **{"timeout_seconds": TASK_LIMIT_SECONDS, **arguments}
        )

    async def load_project(self) -> None:
        """Have OpenCode load the project, which on a busy machine takes longer than a short time limit."""
        await self.run_task("script:text first")

    async def wait_for_task(self, *session_ids: str, client: Client | None = None, **arguments: Any) -> ObservedResult:
        """Wait for tasks, and return the report of the first one."""
        arguments = {"session_ids": [*session_ids], "timeout_seconds": TASK_LIMIT_SECONDS, **arguments}
        return (await self.call_tool("wait_for_tasks", client, **arguments)).tasks[0]

    async def create_session(self) -> str:
        """Create a session that no task tool started."""
        session_id: str = (await self.call_tool("session_create"))["id"]
        self.reported_sessions.add(session_id)
        return session_id

    async def home_folder(self) -> Path:
        """Return the home folder of OpenCode."""
        return Path(facts(await self.client.call_tool("path_get"))["home"])

    @property
    def held_prompt(self) -> str:
        """A prompt that the model answers after `release`."""
        return f"script:hold {self.file('go')}"

    def release(self) -> None:
        """Let the model answer the held prompt."""
        self.file("go").touch()

    def open_bridge(self, settings: Settings | None = None, **options: Any) -> AbstractAsyncContextManager[Client]:
        """Open a client of another server; `options` are those of `mcp.Client`."""
        return open_client(settings or self.settings, self.shared.catalog, self.client_class, **options)

    async def report_task(self, session_id: str) -> ObservedResult:
        """Report a task."""
        return await self.call_tool("report_task", session_id=session_id)

    def model_requests(self, words: str | None = None) -> list[Request]:
        """The model requests that contain these words, or this scenario's key."""
        return [request for request in self.shared.model.requests if (words or self.key) in str(request.messages)]

    def file(self, name: str) -> Path:
        """A file in the project that only this scenario uses."""
        return self.project / f"{name}-{self.key}"


@asynccontextmanager
async def open_client(
    settings: Settings, catalog: Catalog, client_class: type[Client] = Client, **options: Any
) -> AsyncGenerator[Client]:
    """Open a client of a new server, in memory."""
    async with client_class(create_server(settings, catalog), **options) as client:
        yield client


@asynccontextmanager
async def open_scenario_context(
    shared: SharedFixtures,
    settings: Settings,
    project: Path,
    key: str,
    faulty_network: bool = False,
    client_class: type[Client] = Client,
) -> AsyncGenerator[ScenarioContext]:
    """Provide a scenario's context, and abort its sessions at the end."""
    settings = replace(settings, directory=str(project))
    async with open_client(settings, shared.catalog, client_class) as client:
        ctx = ScenarioContext(
            shared, settings, project, key, client, faulty_network=faulty_network, client_class=client_class
        )
        yield ctx
        for session_id in ctx.reported_sessions:
            await client.call_tool("session_abort", {"sessionID": session_id})


def make_asking_project(folder: Path, environ: Mapping[str, str], config: Config) -> Path:
    """Create a git project in which OpenCode asks before it runs a command."""
    return make_project(folder, environ, {**BASE_CONFIG, **config})
