"""A bench for each row: a project on a shared OpenCode, over a good network or a bad one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from examples.scripted_model import ScriptedModel
from opencode_mcp.openapi import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.install import Program
from opencode_mcp.settings import Settings
from tests.chaos import proxied, weather
from tests.conftest import environ_in

from . import ROWS
from .bench import QUICK, Bench, World, bench, project_that_asks
from .table import Row

SLOWER = 2
"""How many times its time a row may take over a bad network."""


@pytest.fixture(scope="session")
def quick_project(program: Program, model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of all rows that have none of their own: OpenCode loads it once."""
    folder = tmp_path_factory.mktemp("rows")
    return project_that_asks(folder / "quick", environ_in(program, model, folder), QUICK)


@pytest.fixture
def world(catalog: Catalog, model: ScriptedModel, program: Program, environ: Mapping[str, str]) -> World:
    """What a row has besides its project."""
    return World(catalog, model, program, environ)


@pytest.fixture
async def on_bench(
    row: Row, row_project: Callable[[str], Path], world: World, endpoint: Endpoint
) -> AsyncGenerator[Bench]:
    """The row's bench."""
    key = f"row{number(row)}x"
    async with bench(world, reaching(endpoint, str(endpoint.url)), row_project(key), key) as one:
        yield one


@pytest.fixture
async def on_bad_bench(
    request: pytest.FixtureRequest,
    row: Row,
    row_project: Callable[[str], Path],
    world: World,
    endpoint: Endpoint,
) -> AsyncGenerator[Bench]:
    """The row's bench, beyond a bad network: its faults are those of the seed and the row."""
    assert endpoint.url.port is not None
    seed = (request.config.getoption("--chaos") or 1) * 1000 + number(row)
    key = f"row{1000 + number(row)}x"
    async with (
        proxied(endpoint.url.port, weather(seed)) as proxy,
        bench(world, reaching(endpoint, proxy.url), row_project(key), key, bad_network=True) as one,
    ):
        yield one


@pytest.fixture
def row_project(row: Row, quick_project: Path, world: World, tmp_path: Path) -> Callable[[str], Path]:
    """Return the project for a row's key: the row's own, or that of all others."""
    config = row.project
    if config is None:
        return lambda key: quick_project
    return lambda key: project_that_asks(tmp_path / key, world.environ, config)


def number(row: Row) -> int:
    """Return a row's number in the table."""
    return ROWS.index(row) + 1


def slower(row: Row) -> Row:
    """Return a row with the time that a bad network needs."""
    return replace(row, seconds=row.seconds * SLOWER)


def reaching(endpoint: Endpoint, url: str) -> Settings:
    """Return the settings that reach an OpenCode at a URL."""
    return Settings(url=url, username=endpoint.username, password=endpoint.password)
