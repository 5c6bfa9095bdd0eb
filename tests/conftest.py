"""One real OpenCode with a scripted model for the whole run; a fresh git project and a client for each test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from examples.scripted_model import ScriptedModel, environment, scripted_model
from opencode_mcp.openapi import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.install import Program, cache_folder, find
from opencode_mcp.opencode.process import managed_server
from opencode_mcp.opencode.server import silent
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings

from . import npm

Connect = Callable[..., AbstractAsyncContextManager[Client]]
CALLED = pytest.StashKey[set[str]]()
FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The MCP SDK's transports run on asyncio."""
    return "asyncio"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag that renews the tool snapshots, and the one for a long run."""
    parser.addoption("--update-snapshots", action="store_true", help="write tests/tools/snapshots anew")
    parser.addoption("--chaos", type=int, metavar="SEED", help="play the whole truth table over a bad network too")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count the operations that `test_every_operation.py` calls, and to collect what others say."""
    config.stash[CALLED] = set()
    config.stash[FIGURES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell how many operations were called, if any, and the figures of the run."""
    if called := config.stash[CALLED]:
        total = len(Catalog.bundled())
        terminalreporter.write_line(f"operations called on the real server: {len(called)} of {total}")
    for line in config.stash[FIGURES]:
        terminalreporter.write_line(line)


@pytest.fixture
def figures(pytestconfig: pytest.Config) -> list[str]:
    """Lines for the end of the run."""
    return pytestconfig.stash[FIGURES]


@pytest.fixture(scope="session")
def binaries() -> Path:
    """The folder of the commands of assistants from npm."""
    return npm.assistants()


@pytest.fixture(scope="session")
def called(pytestconfig: pytest.Config) -> set[str]:
    """The operations that were called and answered as expected, to be added to."""
    return pytestconfig.stash[CALLED]


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """Every operation of the snapshot."""
    return Catalog.bundled()


@pytest.fixture(scope="session")
async def model(anyio_backend: str) -> AsyncGenerator[ScriptedModel]:
    """The scripted model."""
    async with scripted_model() as model:
        yield model


@pytest.fixture(scope="session")
async def program(anyio_backend: str) -> Program:
    """The managed copy of the tested OpenCode, installed once per machine as users get it."""
    without_opencode = os.pathsep.join(
        folder for folder in os.environ["PATH"].split(os.pathsep) if not (Path(folder) / "opencode").exists()
    )
    environ = {**os.environ, "PATH": without_opencode}
    return await find((), cache_folder(environ), environ, silent)


@pytest.fixture(scope="session")
def environ(program: Program, model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """An environment with an empty home, the scripted model as the only provider, and ripgrep."""
    home = tmp_path_factory.mktemp("home")
    identity = {f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENCODE", "XDG_"))}
    return {
        **kept,
        **identity,
        "HOME": str(home),
        "PATH": os.pathsep.join([*program.path, os.environ["PATH"]]),
        **environment(model.url, home),
        "OPENCODE_MCP_COMMAND": program.command[0],
    }


@pytest.fixture(scope="session")
async def endpoint(
    environ: Mapping[str, str], program: Program, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Endpoint]:
    """A running OpenCode."""
    folder = str(tmp_path_factory.mktemp("served"))
    async with managed_server(program.command, folder, environ) as server:
        yield await server.endpoint()


def make_project(folder: Path, environ: Mapping[str, str]) -> Path:
    """Create a git repository with one commit in a folder.

    OpenCode takes the first commit's hash for the project's id, so no two may be the same.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("hello from the project\n")
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", str(folder)]):
        subprocess.run(["git", *command], cwd=folder, env=dict(environ), check=True)
    return folder


@pytest.fixture
def project(tmp_path: Path, environ: Mapping[str, str]) -> Path:
    """A git repository with one commit."""
    return make_project(tmp_path / "project", environ)


@pytest.fixture
def attached(endpoint: Endpoint, project: Path) -> Settings:
    """Settings that attach to the running OpenCode, for the test's project."""
    return Settings(
        url=str(endpoint.url), username=endpoint.username, password=endpoint.password or "", directory=str(project)
    )


@pytest.fixture
def connect(attached: Settings, catalog: Catalog) -> Connect:
    """Open an in-memory client; keyword arguments go to `mcp.Client`."""

    @asynccontextmanager
    async def open_client(settings: Settings = attached, **options: Any) -> AsyncGenerator[Client]:
        async with Client(create_server(settings, catalog), **options) as client:
            yield client

    return open_client


@pytest.fixture
async def client(connect: Connect) -> AsyncGenerator[Client]:
    """A client of the bridge, in memory."""
    async with connect() as client:
        yield client
