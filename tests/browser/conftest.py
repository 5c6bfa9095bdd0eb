"""A browser, and the two places where the board is shown: a client with MCP Apps, and `opencode-mcp board`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from examples.scripted_model import ScriptedModel
from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.process.install import Program
from tests.conftest import make_environ
from tests.shared_server import SharedServerPool

from .apps_host import AppsHost, install_modules, run_apps_host
from .board_page import BoardPage, show_board
from .board_process import BoardProcess, run_board
from .chromium import run_chromium
from .stage import Stage, open_stage

OpenBoard = Callable[..., Awaitable[BoardPage]]
PLACES = ("client", "browser")

in_client = pytest.mark.parametrize("place", ["client"])
in_browser = pytest.mark.parametrize("place", ["browser"])
"""For what only the page does, which is the same in both places."""


@pytest.fixture(scope="session")
async def chromium(anyio_backend: str) -> AsyncGenerator[Browser]:
    """The browser."""
    async with run_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, which finds what a person with a screen reader or weak eyes cannot use."""
    return (install_modules() / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
async def session_endpoint(shared_server: SharedServerPool) -> AsyncGenerator[Endpoint]:
    """A running OpenCode for all tests of a worker."""
    async with shared_server.lend() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
async def stage(
    session_endpoint: Endpoint,
    program: Program,
    model: ScriptedModel,
    catalog: Catalog,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncGenerator[Stage]:
    """A project that tests share, as OpenCode takes a second to load one: each has tasks and files of its own."""
    folder = tmp_path_factory.mktemp("board")
    environ = make_environ(program, model, folder)
    async with open_stage(folder / "project", environ, session_endpoint, catalog) as stage:
        yield stage


@pytest.fixture(autouse=True)
async def _stop_tasks(stage: Stage) -> AsyncGenerator[None]:
    """Leave no task to the next test."""
    yield
    await stage.stop_tasks()


@pytest.fixture(scope="session")
async def apps_host(stage: Stage) -> AsyncGenerator[AppsHost]:
    """A client with apps for the shared project."""
    async with run_apps_host(stage.client) as host:
        yield host


@pytest.fixture(scope="session")
def board_process(stage: Stage) -> Generator[BoardProcess]:
    """The command for the shared project."""
    with run_board(stage.environ, stage.settings) as process:
        yield process


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    """Where the board is shown."""
    return request.param


@pytest.fixture
async def open_board(
    place: str, chromium: Browser, apps_host: AppsHost, board_process: BoardProcess
) -> AsyncGenerator[OpenBoard]:
    """Open the board of the shared project; keyword arguments are those of `Browser.new_context`."""
    async with AsyncExitStack() as stack:

        async def open_one(**options: Any) -> BoardPage:
            address = apps_host.address() if place == "client" else await board_process.next_address()
            return await stack.enter_async_context(show_board(chromium, address, place == "client", **options))

        yield open_one


@pytest.fixture
async def own_stage(
    stage: Stage, session_endpoint: Endpoint, catalog: Catalog, tmp_path: Path
) -> AsyncGenerator[Stage]:
    """A project of the test's own, for what shows all tasks."""
    async with open_stage(tmp_path / "project", stage.environ, session_endpoint, catalog) as own:
        yield own
        await own.stop_tasks()


@asynccontextmanager
async def open_place(place: str, stage: Stage) -> AsyncGenerator[str]:
    """Provide an address at which the board of a project can be opened once."""
    if place == "client":
        async with run_apps_host(stage.client) as host:
            yield host.address()
    else:
        with run_board(stage.environ, stage.settings) as process:
            yield await process.next_address()
