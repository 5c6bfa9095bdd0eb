"""A project on a running OpenCode, and a client that starts tasks in it as a model does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from tests.conftest import QUICK_CONFIG, Config, make_project
from tests.facts import facts

from .apps_host import AppsExtension

CONFIG: Config = {
    **QUICK_CONFIG,
    "$schema": "https://opencode.ai/config.json",  # which OpenCode would add
    "permission": {"bash": "ask"},
    "provider": {"scripted": {"models": {"scripted": {}, "other": {"name": "Other", "tool_call": True}}}},
}
"""OpenCode asks before it runs a command, and has two models."""

MODELS = ["scripted/scripted", "scripted/other"]
WAIT_SECONDS = 120


@dataclass(frozen=True)
class Stage:
    """A project. `environ` is that of its OpenCode, `client` one of the bridge, as a client with apps has it.

    `unfinished` has the sessions whose tasks may still run or wait.
    """

    project: Path
    settings: Settings
    environ: Mapping[str, str]
    client: Client
    unfinished: set[str] = field(default_factory=set[str])

    async def call(self, tool: str, **arguments: Any) -> Any:
        """Call a tool that succeeds, and return its facts."""
        answer = await self.client.call_tool(tool, arguments)
        assert not answer.is_error, answer.content
        content = facts(answer)
        return content.get("result", content)

    async def start(self, prompt: str, title: str | None = None, **arguments: Any) -> str:
        """Start a task, and return its session's id, also of one that has failed at once."""
        report = facts(await self.client.call_tool("start_task", {"prompt": prompt, **arguments}))
        session_id: str = report["session_id"]
        self.unfinished.add(session_id)
        if title is not None:
            await self.call("session_update", sessionID=session_id, title=title)
        return session_id

    async def wait(self, session_id: str) -> dict[str, Any]:
        """Wait until a task has ended or waits for an answer, and return its report, also of a failed one."""
        await self.call("wait_for_tasks", session_ids=[session_id], timeout_seconds=WAIT_SECONDS)
        report = facts(await self.client.call_tool("report_task", {"session_id": session_id}))
        if not report["state"].startswith("waiting"):
            self.unfinished.discard(session_id)
        return report

    async def stop_tasks(self) -> None:
        """Stop what still runs or waits: each board would read it again and again."""
        while self.unfinished:
            await self.call("stop_task", session_id=self.unfinished.pop())

    async def run(self, prompt: str, title: str | None = None, **arguments: Any) -> dict[str, Any]:
        """Start a task, and wait for it."""
        return await self.wait(await self.start(prompt, title, **arguments))

    async def run_in_worktree(self, files: Mapping[str, str], title: str | None = None) -> dict[str, Any]:
        """Run a task whose worktree then has these files, and return its report."""
        report = await self.run("script:text done", title, worktree=True)
        write_files(Path(report["directory"]), files)
        return report

    def commit(self, files: Mapping[str, str]) -> None:
        """Commit files in the project."""
        write_files(self.project, files)
        for command in (["add", *files], ["commit", "-qm", "more files"]):
            subprocess.run(["git", *command], cwd=self.project, env=dict(self.environ), check=True)


@asynccontextmanager
async def open_stage(
    folder: Path,
    environ: Mapping[str, str],
    endpoint: Endpoint,
    catalog: Catalog,
    config: Config = CONFIG,
    **settings: Any,
) -> AsyncGenerator[Stage]:
    """Open a client of a bridge for a project in a folder, made if it is not there; more settings are the bridge's."""
    project = folder if exists(folder) else make_project(folder, environ, config)
    attached = Settings(
        url=str(endpoint.url),
        username=endpoint.username,
        password=endpoint.password,
        directory=str(project),
        **settings,
    )
    async with Client(create_server(attached, catalog), extensions=[AppsExtension()]) as client:
        yield Stage(project, attached, environ, client)


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write files into a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def exists(path: str | Path) -> bool:
    """Whether there is something at a path."""
    return Path(path).exists()


def bash(command: str) -> str:
    """Return a prompt for which the model runs a command."""
    return call_tool("bash", command=command, description="Run it")


def call_tool(name: str, **arguments: Any) -> str:
    """Return a prompt for which the model calls a tool."""
    return f"script:tool {name} {json.dumps(arguments)}"


def ask(question: str, *options: str, **more: Any) -> str:
    """Return a prompt for which the model asks a question."""
    listed = [{"label": option, "description": f"Take {option}"} for option in options]
    return call_tool("question", questions=[{"header": "Choice", "question": question, "options": listed, **more}])


def bash_chain(*commands: str) -> str:
    """Return a prompt for which the model runs commands, one after the other."""
    listed = [{"name": "bash", "args": {"command": command, "description": "Run it"}} for command in commands]
    return f"script:chain {json.dumps(listed)}"


def new_name(kind: str) -> str:
    """Return a name that nothing else has."""
    return f"{kind}-{uuid4().hex[:12]}"
