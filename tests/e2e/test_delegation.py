"""A user of Claude Code delegates to OpenCode by MCP tasks, at a real terminal: `pytest -m clients`.

Only the models are scripted. Every step waits for what the user sees on the screen.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.settings import Settings
from scripts.record_terminal import read_lines
from tests.bridge import environ_for
from tests.eventually import eventually
from tests.facts import facts
from tests.scenarios.scenario_context import make_asking_project, open_client
from tests.server.connections import free_port

from .assistants import InstalledPrograms
from .claude_code import ClaudeCode, answer_form, open_claude_code
from .delegation import FINISHED, IN_BACKGROUND, STOP, DelegatingModel
from .delegation_steps import ANSWER, ASK, COMMAND, CONFIG, DELEGATE, MORE, REST, RUNNING, STEPS
from .server_process import ROOT, SERVER_COMMAND, run_server
from .wire_formats import SERVER

PICTURE = ROOT / "docs" / "delegation.svg"
"""Drawn by scripts/record_delegation.py."""

pytestmark = [pytest.mark.anyio, pytest.mark.clients]


@dataclass(frozen=True)
class Delegation:
    """A Claude Code, the project that OpenCode works in, and a client that looks at what OpenCode does."""

    claude: ClaudeCode
    project: Path
    observer: Client

    async def newest_report(self) -> dict[str, Any]:
        """Return the report of the newest session."""
        listed = facts(await self.observer.call_tool("session_list", {"directory": str(self.project)}))
        newest = max(listed["result"], key=lambda session: session["updated"])
        return facts(await self.observer.call_tool("report_task", {"session_id": newest["id"]}))


@dataclass(frozen=True)
class DelegationFixtures:
    """What a delegation needs besides its servers."""

    installed: InstalledPrograms
    environ: Mapping[str, str]
    settings: Settings
    observer: Client
    folder: Path

    @asynccontextmanager
    async def delegate(self, **servers: Any) -> AsyncGenerator[Delegation]:
        """Provide a Claude Code with our server over stdio, or with `servers`."""
        model = DelegatingModel(STEPS)
        async with open_claude_code(
            self.folder, self.installed, self.environ, self.settings, model, **servers
        ) as claude:
            yield Delegation(claude, Path(str(self.settings.directory)), self.observer)


@pytest.fixture
async def fixtures(
    binaries: Path,
    program: Program,
    module_environ: Mapping[str, str],
    module_endpoint: Endpoint,
    catalog: Catalog,
    tmp_path: Path,
) -> AsyncGenerator[DelegationFixtures]:
    """A project on the running OpenCode."""
    project = make_asking_project(tmp_path / "project", module_environ, CONFIG)
    settings = Settings(url=str(module_endpoint.url), password=module_endpoint.password or "", directory=str(project))
    async with open_client(settings, catalog) as observer:
        yield DelegationFixtures(
            InstalledPrograms(binaries, program), module_environ, settings, observer, tmp_path / "claude"
        )


async def test_a_task_is_delegated_while_its_user_works_on(fixtures: DelegationFixtures) -> None:
    """Over stdio: go on, allow a command in the form that appears, be woken; stop one task; lose all during another."""
    async with fixtures.delegate() as delegation:
        await work_on(delegation)
        await lose_bridge_and_client(delegation)


async def work_on(delegation: Delegation) -> None:
    """Delegate a task and go on, allow its command, and be woken; then have the model stop a second task."""
    made = delegation.project / "CHANGELOG.md"
    async with delegation.claude.open() as screen:
        await screen.enter(DELEGATE)
        await screen.wait_for(IN_BACKGROUND)
        await screen.wait_for(RUNNING)
        await screen.enter(ASK)
        await screen.wait_for(ANSWER)

        (delegation.project / "go").touch()
        form = await answer_form(screen, "once")
        await screen.wait_for(f"{FINISHED} done: chain")

        assert missing_in_picture(form) == []
        assert f"OpenCode asks for permission: bash: {COMMAND}" in form
        assert made.exists()
        kinds = [turn.heard.kind for turn in delegation.claude.model.turns]
        assert kinds[kinds.index("run_task") :] == ["run_task", "user", "notification"]

        await screen.enter(MORE)
        await eventually(lambda: len(delegation.claude.model.heard("run_task")) == 2)
        await screen.wait_for(RUNNING)
        await screen.enter(STOP)
        stopped = await eventually(delegation.newest_report, lambda report: report["state"] == "stopped")
        assert stopped["error"] == "aborted"


def missing_in_picture(form: str) -> list[str]:
    """Return the lines of a form that docs/delegation.svg does not show; spaces do not count."""
    shown = {line.replace(" ", "") for line in read_lines(PICTURE.read_text(encoding="utf-8"))}
    lines = form[form.index("MCP server") :].splitlines()
    return [line for line in lines if line.strip() and line.replace(" ", "") not in shown]


async def lose_bridge_and_client(delegation: Delegation) -> None:
    """Bridge and Claude Code are killed while the task runs; when the user continues, the model is woken."""
    async with delegation.claude.open() as screen:
        await screen.enter(REST)
        await screen.wait_for(IN_BACKGROUND)
        for pid in delegation.claude.bridges():
            os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not delegation.claude.bridges())
    assert (await delegation.newest_report())["state"] == "running"

    async with delegation.claude.open("--continue") as screen:
        await screen.wait_for(RUNNING)
        (delegation.project / "later").touch()
        await screen.wait_for(f"{FINISHED} done: chain")


async def test_a_task_goes_on_while_its_bridge_is_restarted(fixtures: DelegationFixtures) -> None:
    """Over HTTP: Claude Code asks on, and gets the result from the new process."""
    environ = {**fixtures.environ, **environ_for(fixtures.settings), "OPENCODE_MCP_NO_AUTH": "1"}
    port = free_port()
    server = {"type": "http", "url": f"http://127.0.0.1:{port}/mcp"}
    async with fixtures.delegate(**{SERVER: server}) as delegation, AsyncExitStack() as stack:
        async with run_server(SERVER_COMMAND, environ, port):
            screen = await stack.enter_async_context(delegation.claude.open())
            await screen.enter(REST)
            await screen.wait_for(IN_BACKGROUND)
        async with run_server(SERVER_COMMAND, environ, port):
            (delegation.project / "later").touch()
            await screen.wait_for(f"{FINISHED} done: chain")
