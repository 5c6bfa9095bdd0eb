"""Try this bridge on a real OpenCode 2 and print a report in Markdown, to paste into an issue.

    opencode serve --port 4096
    OPENCODE_PASSWORD=… .venv/bin/python scripts/try_opencode2.py http://127.0.0.1:4096 > report.md

It plays rows of the scenario table through the task tools, with a scripted model that this process serves, so no
provider is called and nothing is spent. OpenCode must run on this machine. All work is in temporary projects, which
--allow-directory bounds. At the end their sessions, worktrees and saved permissions are removed. Nothing else of
OpenCode is changed: other sessions are not read, and OpenCode is neither started, configured nor stopped.

The exit status is 0 if all rows passed, 1 if one differs, and 2 if none could be played.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import anyio
import httpx2
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from examples.scripted_model import ScriptedModel, provider_config, scripted_model
from opencode_mcp import __version__
from opencode_mcp.catalog import Catalog
from opencode_mcp.catalog.opencode2 import OPENCODE_2
from opencode_mcp.cli.document_option import require_needed_operations
from opencode_mcp.connect import connect
from opencode_mcp.exceptions import DocumentError, OpenCodeError
from opencode_mcp.openapi import Document
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.opencode.process.other_processes import is_loopback
from opencode_mcp.settings import Settings
from tests.conftest import QUICK_CONFIG
from tests.opencode2.scenario_context import GIT_IDENTITY, OpenCode2Context
from tests.opencode2_on_1.scenario_context import merge
from tests.scenarios import SCENARIOS
from tests.scenarios.scenario import Scenario, run_scenario
from tests.scenarios.scenario_context import SharedFixtures, make_asking_project, open_client

ROWS = (
    "plain answer",
    "tool calls counted",
    "started by the user",
    "progress on each step",
    "time limit reached, then waited for",
    "permission asked, once: by tool",
    "permission asked, reject with a message: by tool",
    "question asked, a choice: by tool",
    "question asked, own words: by tool",
    "subagent's permission asked, once: by tool",
    "policy allow",
    "policy reject",
    "access read",
    "stop a working task",
    "stop a waiting task",
    "aborted by another client",
    "deleted by another client",
    "session busy",
    "request repeated",
    "unknown model",
    "unknown agent",
    "check passes",
    "check fails",
    "answer fits its schema",
    "changes as a patch",
    "prompts queued behind a running turn",
    "prompt that interrupts",
)
"""Rows that start no OpenCode, and need nothing beyond their project."""

DIFFERENCE_CHARS = 300
NO_PROGRAM = Program(("no-opencode-is-started-by-this",), version="2.0.0", generation=2)


class NotPlayed(Exception):
    """Nothing was played; says why."""


@dataclass(frozen=True)
class Outcome:
    """How a row ended; `difference` is "" where it passed."""

    row: str
    seconds: float
    difference: str


@dataclass(frozen=True)
class TrialContext(OpenCode2Context):
    """A row's context. With --allow-directory no tool lists what runs on a server, where they look for theirs."""

    opencode: OpenCodeClient | None = None

    async def ask(self, tool: str, **arguments: Any) -> Any:
        """Call an operation of OpenCode 2."""
        if tool == "session_active" and self.opencode is not None:
            return await self.opencode.call(tool)
        return await super().ask(tool, **arguments)


@dataclass(frozen=True)
class Trial:
    """One run: the server, the model, and the folder that has all projects."""

    settings: Settings
    model: ScriptedModel
    folder: Path

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment for git in the projects."""
        return {**os.environ, **GIT_IDENTITY}

    def make_project(self, name: str, config: Mapping[str, Any]) -> Path:
        """Create a project that has the scripted model only, and asks before commands."""
        return make_asking_project(self.folder / name, self.environ, merge(provider_config(self.model.url), config))

    def hide(self, text: str) -> str:
        """Return a text in one line of a table, without the password and the names of folders here."""
        for secret, mark in ((self.settings.password, "…"), (str(self.folder), "FOLDER"), (str(Path.home()), "~")):
            text = text.replace(secret or mark, mark)
        return " ".join(text.split()).replace("|", "\\|")[:DIFFERENCE_CHARS]


async def fetch_json(settings: Settings, path: str) -> Any:
    """Return what the server has at a path.

    Raises:
        NotPlayed: no response, or none in JSON.
    """
    auth = httpx2.BasicAuth("opencode", settings.password or "")
    async with httpx2.AsyncClient(auth=auth, base_url=settings.url or "", timeout=30, trust_env=False) as http:
        try:
            return (await http.get(path)).raise_for_status().json()
        except (httpx2.HTTPError, ValueError) as error:
            raise NotPlayed(f"{settings.url}{path}: {error!r}") from error


async def read_version(settings: Settings) -> str:
    """Return the server's version.

    Raises:
        NotPlayed: it is elsewhere, or no OpenCode 2.
    """
    host = httpx2.URL(settings.url or "").host
    if not is_loopback(host):
        raise NotPlayed(f"OpenCode must run on this machine, as it calls a model here: {host} is another one")
    version = str((await fetch_json(settings, "/api/info")).get("version", ""))
    if not version.startswith("2."):
        raise NotPlayed(f"{settings.url} is OpenCode {version or 'of an unknown version'}, not 2.x")
    return version


async def describe_document(settings: Settings) -> str:
    """Say how the server's own document differs from the bundled one."""
    try:
        document = Document.parse(json.dumps(await fetch_json(settings, "/openapi.json")))
    except (NotPlayed, DocumentError) as error:
        return f"cannot be read: {error}"
    bundled = OPENCODE_2.load_document()
    gone, new = document.missing_operation_ids(bundled), bundled.missing_operation_ids(document)
    try:
        require_needed_operations(Catalog(lambda: document, generation=OPENCODE_2), OPENCODE_2)
        needed = "has all that tasks need"
    except DocumentError as error:
        needed = str(error)
    return f"gone: {', '.join(gone) or 'nothing'}; new: {', '.join(new) or 'nothing'}; {needed}"


async def check_project(opencode: OpenCodeClient, project: Path) -> None:
    """Refuse to play where another model would be called, or where the project is not one of its own.

    Raises:
        NotPlayed: says why.
    """
    model = (await engine_of(opencode).read_config(str(project))).model
    if model != "scripted/scripted":
        raise NotPlayed(f"OpenCode would call {model or 'a model that it hosts'} in {project}, not the scripted model")
    location = await opencode.call("location_get", location={"directory": str(project)})
    if location["project"]["id"] == "global":
        raise NotPlayed(f"OpenCode takes {project} for no project: it finds no git repository there")


@asynccontextmanager
async def open_context(trial: Trial, project: Path, key: str) -> AsyncGenerator[TrialContext]:
    """Open a row's context; all that its project has in OpenCode is removed at the end."""
    settings = Settings(
        url=trial.settings.url,
        password=trial.settings.password,
        directory=str(project),
        allow_directory=(str(trial.folder),),
        generation="2",
    )
    catalog = Catalog.from_snapshot(2)
    async with connect(settings, catalog) as servers:
        await check_project(servers.default, project)
        try:
            async with open_client(settings, catalog) as client:
                shared = SharedFixtures(catalog, trial.model, NO_PROGRAM, trial.environ)
                yield TrialContext(shared, settings, project, key, client, opencode=servers.default)
        finally:
            with anyio.CancelScope(shield=True):
                await clean_up(servers.default, str(project))


async def clean_up(opencode: OpenCodeClient, project: str) -> None:
    """Remove the sessions, worktrees and saved permissions of a project that this run has made."""
    engine = engine_of(opencode)
    sessions = await engine.list_sessions(project, limit=1000)
    for session in sessions:
        if session.parent_id is None:
            await engine.abort(session.id)
            await engine.delete_session(session.id)
    for worktree in await engine.list_worktrees(project):
        await engine.remove_worktree(project, worktree)
    project_id = (await opencode.call("location_get", location={"directory": project}))["project"]["id"]
    for saved in (await opencode.call("permission_saved_list", projectID=project_id))["data"]:
        await opencode.call("permission_saved_remove", id=saved["id"])


async def play(trial: Trial, number: int, scenario: Scenario) -> Outcome:
    """Play a row in a project of its own."""
    started, difference = time.monotonic(), ""
    project = trial.make_project(f"row{number}", {**QUICK_CONFIG, **(scenario.config or {})})
    try:
        async with open_context(trial, project, f"row{number}x") as ctx:
            await run_scenario(scenario, ctx)
    except (Exception, pytest.fail.Exception) as error:
        if isinstance(error, NotPlayed):
            raise
        difference = trial.hide("; ".join(describe_errors(error)))
    return Outcome(scenario.name, time.monotonic() - started, difference)


def describe_errors(error: BaseException) -> list[str]:
    """Say what went wrong, each error of a group for itself."""
    if isinstance(error, BaseExceptionGroup):
        grouped = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return [text for each in grouped for text in describe_errors(each)]
    return [f"{type(error).__name__}: {error}"]


def write_report(version: str, document: str, outcomes: Sequence[Outcome]) -> str:
    """Return the report."""
    passed = sum(not outcome.difference for outcome in outcomes)
    lines = [
        f"**OpenCode {version} and opencode-mcp {__version__}**: {passed} of {len(outcomes)} rows passed",
        "",
        f"- {platform.system()} {platform.machine()}, Python {platform.python_version()}",
        f"- the document of OpenCode {version}, compared with that of {OPENCODE_2.snapshot.version}: {document}",
        "",
        "| row | result | seconds | difference |",
        "|---|---|---|---|",
        *(
            f"| {outcome.row} | {'differs' if outcome.difference else 'passed'} | {outcome.seconds:.1f} | "
            f"{outcome.difference} |"
            for outcome in outcomes
        ),
    ]
    return "\n".join(lines) + "\n"


async def try_server(settings: Settings, scenarios: Sequence[Scenario]) -> tuple[str, bool]:
    """Play rows on a server; return the report, and whether all have passed.

    Raises:
        NotPlayed: nothing was played.
    """
    version = await read_version(settings)
    document = await describe_document(settings)
    parent = await anyio.Path(tempfile.gettempdir()).resolve()
    with tempfile.TemporaryDirectory(prefix="opencode-mcp-trial-", dir=parent) as folder:
        async with scripted_model() as model:
            trial, outcomes = Trial(settings, model, Path(folder)), list[Outcome]()
            for number, scenario in enumerate(scenarios, 1):
                print(f"{number} of {len(scenarios)}: {scenario.name}", file=sys.stderr)
                outcomes.append(await play(trial, number, scenario))
    return write_report(version, document, outcomes), not any(outcome.difference for outcome in outcomes)


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(description="Play rows of the scenario table on a running OpenCode 2.")
    parser.add_argument("url", help="its address, such as http://127.0.0.1:4096; the password is OPENCODE_PASSWORD")
    parser.add_argument("--row", action="append", choices=ROWS, help="play this row only; can be repeated")
    arguments = parser.parse_args()
    settings = Settings(url=arguments.url, password=os.environ.get("OPENCODE_PASSWORD"), generation="2")
    wanted = arguments.row or ROWS
    try:
        report, passed = anyio.run(try_server, settings, [row for row in SCENARIOS if row.name in wanted])
    except (NotPlayed, OpenCodeError) as reason:
        print(f"nothing was played: {reason}", file=sys.stderr)
        return 2
    print(report, end="")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
