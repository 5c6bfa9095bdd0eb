"""Every operation, called through an MCP client on a real OpenCode. The tables are in `operations/`."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from mcp import Client

from opencode_mcp.openapi import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.install import Program
from opencode_mcp.opencode.process import managed_server
from opencode_mcp.settings import Settings

from . import tiny_mcp_server
from .conftest import Connect
from .operations import APART, SHARING
from .operations.scenario import Scenario, Values, play

pytestmark = pytest.mark.anyio
UNLIMITED = 1_000_000_000


@pytest.fixture
def values(project: Path, environ: Mapping[str, str]) -> Values:
    """What the tables refer to."""
    return {
        "project": str(project),
        "folder": str(project.parent),
        "config": environ["OPENCODE_CONFIG_CONTENT"],
        "python": sys.executable,
        "tiny_mcp_server": tiny_mcp_server.__file__,
    }


@pytest.fixture(scope="module")
async def server_apart(
    module_environ: Mapping[str, str], program: Program, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Endpoint]:
    """An OpenCode that no other test uses, and that knows the public models' providers.

    Its home is empty, and of programs it finds git and shells only: no package manager to upgrade itself with.
    """
    folder = tmp_path_factory.mktemp("apart")
    for name in ("git", "sh", "bash"):
        if found := shutil.which(name, path=module_environ["PATH"]):
            (folder / name).symlink_to(found)
    apart = {**module_environ, "HOME": str(folder), "PATH": os.pathsep.join([*program.path, str(folder)])}
    del apart["OPENCODE_MODELS_PATH"]
    async with managed_server(program.command, str(folder), apart) as server:
        yield await server.endpoint()


@pytest.fixture
async def whole(connect: Connect, attached: Settings) -> AsyncGenerator[Client]:
    """A client of the OpenCode that all tests share. Its answers are whole, so that tables see all of them."""
    async with connect(replace(attached, max_result_chars=UNLIMITED, show_secrets=True)) as client:
        yield client


@pytest.fixture
async def whole_apart(connect: Connect, attached: Settings, server_apart: Endpoint) -> AsyncGenerator[Client]:
    """A client of the OpenCode apart."""
    apart = replace(attached, url=str(server_apart.url), password=server_apart.password)
    async with connect(replace(apart, max_result_chars=UNLIMITED, show_secrets=True)) as client:
        yield client


@pytest.mark.parametrize("scenario", SHARING, ids=lambda scenario: scenario.name)
async def test_a_scenario_goes_as_its_table_says(scenario: Scenario, whole: Client, values: Values) -> None:
    """Each call of a scenario is answered as its table says, on the server that tests share."""
    await play(scenario, whole, values)


@pytest.mark.parametrize("scenario", APART, ids=lambda scenario: scenario.name)
async def test_a_scenario_that_changes_a_whole_server_goes_as_its_table_says(
    scenario: Scenario, whole_apart: Client, values: Values
) -> None:
    """Each call of a scenario is answered as its table says, on a server apart."""
    await play(scenario, whole_apart, values)


def test_the_tables_call_every_operation(catalog: Catalog) -> None:
    """No operation is left out: a scenario that passes has made each call of its table."""
    assert {step.tool for scenario in (*SHARING, *APART) for step in scenario.steps} >= set(catalog)
