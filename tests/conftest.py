"""A real OpenCode with a scripted model, shared by tests; a fresh git project and a client for each test; tiers."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from mcp import Client

from examples.scripted_model import ScriptedModel, environment, scripted_model
from opencode_mcp.catalog import Catalog
from opencode_mcp.catalog.generations import GENERATIONS
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.opencode.endpoint import ignore_progress
from opencode_mcp.opencode.process import server_run
from opencode_mcp.opencode.process.cache import VERSIONS_FILE
from opencode_mcp.opencode.process.install import Program, cache_folder, find_program
from opencode_mcp.opencode.process.launch import LAUNCHES
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings

from . import npm
from .shared_server import SharedServerPool
from .tiers import MARKED_TIERS, TIERS, SpawnRecorder, tier_of

Connect = Callable[..., AbstractAsyncContextManager[Client]]
Config = Mapping[str, Any]
RecordFigure = Callable[[str], None]
"""Notes a line for the end of the run."""

QUICK_CONFIG: Config = {"snapshot": False, "agent": {"title": {"disable": True}}}
"""OpenCode's configuration where a project has no other: a prompt takes a third of the processor time without
snapshots, which are several runs of git, and without titles, which are a second request to the model."""

SNAPSHOTS: Config = {"$schema": "https://opencode.ai/config.json", "snapshot": True}
"""The configuration of a project in which a test reads what a session without a worktree has changed. OpenCode would
add the schema to the file, and so change the project."""

BROWSER_TESTS = Path(__file__).with_name("browser")

SPAWN_RECORDER = SpawnRecorder()
"""For the whole run: the interpreter keeps what listens to its audit events."""

for profile, examples in (("dev", 10), ("ci", 40), ("long", 1000)):
    hypothesis.settings.register_profile(
        profile,
        max_examples=examples,
        deadline=None,
        database=None,
        # They depend on the seed, and on what else the machine does.
        suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
    )
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The MCP SDK's transports run on asyncio."""
    return "asyncio"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag that renews the tool snapshots, and those for long runs."""
    parser.addoption("--update-snapshots", action="store_true", help="write tests/tools/snapshots anew")
    parser.addoption("--chaos", type=int, metavar="SEED", help="play every scenario over a bad network too")
    parser.addoption("--every-scenario", action="store_true", help="play each way to answer each permission")
    parser.addoption("--mcp-tasks", action="store_true", help="play every scenario through MCP Tasks too")
    parser.addoption("--opencode2", action="store_true", help="play every scenario that it can on the fake OpenCode 2")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many workers `-n auto` is: two for each core, as much of most tests is waiting. Three are slower.

    It is none where one file or test is named, which is over before workers have begun, and for the tiers whose
    tests start several servers each.
    """
    named = any("::" in argument or argument.endswith(".py") for argument in config.args)
    heavy = {"clients", "scale", "browser"} & {*str(config.option.markexpr).split()}
    return 0 if named or heavy else 2 * (os.cpu_count() or 1)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where `-m` names a tier of marked tests, leave out the files without the mark.

    To import all of them takes five seconds of processor time, in every worker. Those of the browser import what only
    the extra `dev` installs.
    """
    tier = config.option.markexpr
    if collection_path == BROWSER_TESTS:
        return bool(tier) and "browser" not in tier
    if tier not in MARKED_TIERS or collection_path.suffix != ".py":
        return None
    return f"mark.{tier}" not in collection_path.read_text(encoding="utf-8") or None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its tier, before `-m` selects; the longest begin first, so that none is alone at the end."""
    for item in items:
        item.add_marker(tier_of(item))
    items.sort(key=lambda item: (TIERS.index(tier_of(item)), "soak" not in item.path.parts))


@pytest.fixture(autouse=True)
def _forbid_processes_in_unit_tests(request: pytest.FixtureRequest) -> Generator[None]:
    """Hold a unit test to what its tier says."""
    with SPAWN_RECORDER.record() as started:
        yield
    if started and tier_of(request.node) == "unit":
        pytest.fail(f"a unit test starts processes ({started[0]}): it needs the fixture `spawns`", pytrace=False)


@pytest.fixture
def spawns() -> None:
    """Say that a test starts processes, which puts it into the tier `process`."""


@pytest.fixture
def record_figure(record_property: Callable[[str, object], None]) -> RecordFigure:
    """What a test measures, to be printed at the end of the run."""
    return partial(record_property, "figure")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests have noted, on whatever worker they ran."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    for report in reports:
        for name, value in getattr(report, "user_properties", ()):
            if name == "figure" and report.when == "call":
                terminalreporter.write_line(str(value))


@pytest.fixture(scope="session")
def binaries() -> Path:
    """The folder of the commands of assistants from npm."""
    return npm.install_assistants()


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """Every operation of the snapshot."""
    return Catalog.from_snapshot()


@pytest.fixture(scope="session", params=GENERATIONS, ids="OpenCode {}".format)
def every_catalog(request: pytest.FixtureRequest) -> Catalog:
    """Every operation of a bundled document, one generation of OpenCode after another."""
    return Catalog.from_snapshot(request.param)


@pytest.fixture(scope="session")
async def model(anyio_backend: str) -> AsyncGenerator[ScriptedModel]:
    """The scripted model."""
    async with scripted_model() as model:
        yield model


@pytest.fixture(scope="session", autouse=True)
def _patient_with_starts() -> Generator[None]:
    """OpenCode starts slowly beside other tests."""
    launches = {number: replace(launch, start_seconds=300.0) for number, launch in LAUNCHES.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_run, "LAUNCHES", launches)
        yield


@pytest.fixture(scope="session")
async def program(anyio_backend: str) -> Program:
    """The managed copy of the tested OpenCode, installed once per machine as users get it."""
    without_opencode = os.pathsep.join(
        folder for folder in os.environ["PATH"].split(os.pathsep) if not (Path(folder) / "opencode").exists()
    )
    environ = {**os.environ, "PATH": without_opencode}
    return await find_program((), cache_folder(environ), environ, ignore_progress)


def make_environ(program: Program, model: ScriptedModel, home: Path) -> Mapping[str, str]:
    """Return an environment with a home, the scripted model as the only provider, ripgrep, and the quick configuration.

    OpenCode reads it before that of the project, which may say otherwise.
    """
    config = home / "quick.json"
    config.write_text(json.dumps(QUICK_CONFIG))
    remember_version(home)
    identity = {
        f"GIT_{role}_{field}": "test@localhost" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OPENCODE", "XDG_"))}
    return {
        **inherited,
        **identity,
        "HOME": str(home),
        "PATH": os.pathsep.join([*program.path, os.environ["PATH"]]),
        **environment(model.url, home),
        "OPENCODE_CONFIG": str(config),
        # OpenCode's JavaScript engine has little time to gain from its last compiler, which takes a tenth of a start.
        "BUN_JSC_useFTLJIT": "0",
        # OpenCode installs its plugins' package into each new home, for a second of processor time and 50 MB.
        "npm_config_registry": "http://127.0.0.1:9",
        "npm_config_fetch_retries": "0",
        "OPENCODE_MCP_NO_SHARE": "1",  # so that a test ends what it has started; tests of sharing remove it
        "OPENCODE_MCP_COMMAND": program.command[0],
    }


def remember_version(home: Path) -> None:
    """Put OpenCode's version into the cache of a home. To read it takes a second of processor time."""
    folder = home / ".cache" / "opencode-mcp"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    versions = json.loads((cache_folder(os.environ) / VERSIONS_FILE).read_bytes())
    recent = {program: {**version, "at": time.time()} for program, version in versions.items()}  # for an hour
    (folder / VERSIONS_FILE).write_text(json.dumps(recent))


@pytest.fixture
def environ(program: Program, model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """An environment with an empty home of the test's own."""
    return make_environ(program, model, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def module_environ(
    program: Program, model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, str]:
    """An environment with an empty home of the module's own."""
    return make_environ(program, model, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
async def shared_server(
    program: Program, model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[SharedServerPool]:
    """What lends the OpenCode that tests share; each xdist worker has one."""
    async with background_task_group() as tasks:
        yield SharedServerPool(tasks, program, tmp_path_factory.mktemp, partial(make_environ, program, model))


@pytest.fixture
async def endpoint(shared_server: SharedServerPool) -> AsyncGenerator[Endpoint]:
    """A running OpenCode."""
    async with shared_server.lend() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
async def module_endpoint(shared_server: SharedServerPool) -> AsyncGenerator[Endpoint]:
    """A running OpenCode for fixtures of a whole module."""
    async with shared_server.lend() as endpoint:
        yield endpoint


def make_project(folder: Path, environ: Mapping[str, str], config: Config | None = None) -> Path:
    """Create a git repository with one commit in a folder, with OpenCode's configuration there if one is given.

    OpenCode takes the first commit's hash for the project's id, so no two may be the same.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("hello from the project\n")
    if config is not None:
        (folder / "opencode.json").write_text(json.dumps(config))
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", str(folder)]):
        subprocess.run(["git", *command], cwd=folder, env=dict(environ), check=True)
    return folder


@pytest.fixture(scope="session")
def unchanged_project(program: Program, model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with one commit, which no test changes."""
    folder = tmp_path_factory.mktemp("unchanged")
    return make_project(folder / "project", make_environ(program, model, folder))


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path, environ: Mapping[str, str]) -> Path:
    """A git repository with one commit: of the test's own, or the unchanged one where the test is marked with it.

    OpenCode loads each project for most of a second of processor time. The mark `snapshots` is for a test that reads
    what a session has changed.
    """
    if request.node.get_closest_marker("unchanged_project"):
        return request.getfixturevalue("unchanged_project")
    config = SNAPSHOTS if request.node.get_closest_marker("snapshots") else None
    return make_project(tmp_path / "project", environ, config)


@pytest.fixture
def attached(endpoint: Endpoint, project: Path) -> Settings:
    """Settings that attach to the running OpenCode, for the test's project."""
    return Settings(
        url=str(endpoint.url), username=endpoint.username, password=endpoint.password, directory=str(project)
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
