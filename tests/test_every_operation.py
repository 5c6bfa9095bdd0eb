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

from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.opencode.process.managed import managed_server
from opencode_mcp.settings import Settings

from . import tiny_mcp_server
from .conftest import Connect
from .operations import OWN_SERVER_SCENARIOS, SHARED_SERVER_SCENARIOS
from .operations.scenario import OperationScenario, Values, run_steps

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
async def isolated_server(
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
async def untruncated_client(connect: Connect, attached: Settings) -> AsyncGenerator[Client]:
    """A client of the OpenCode that all tests share. Its answers are whole, so that tables see all of them."""
    async with connect(replace(attached, max_result_chars=UNLIMITED, show_secrets=True)) as client:
        yield client


@pytest.fixture
async def isolated_client(connect: Connect, attached: Settings, isolated_server: Endpoint) -> AsyncGenerator[Client]:
    """A client of the OpenCode apart."""
    apart = replace(attached, url=str(isolated_server.url), password=isolated_server.password)
    async with connect(replace(apart, max_result_chars=UNLIMITED, show_secrets=True)) as client:
        yield client


@pytest.mark.parametrize("scenario", SHARED_SERVER_SCENARIOS, ids=lambda scenario: scenario.name)
async def test_a_scenario_is_answered_as_expected(
    scenario: OperationScenario, untruncated_client: Client, values: Values
) -> None:
    """Each call of a scenario is answered as its table says, on the server that tests share."""
    await run_steps(scenario, untruncated_client, values)


@pytest.mark.parametrize("scenario", OWN_SERVER_SCENARIOS, ids=lambda scenario: scenario.name)
async def test_a_scenario_on_its_own_server_is_answered_as_expected(
    scenario: OperationScenario, isolated_client: Client, values: Values
) -> None:
    """Each call of a scenario is answered as its table says, on a server apart."""
    await run_steps(scenario, isolated_client, values)


def test_the_scenarios_call_every_operation(catalog: Catalog) -> None:
    """No operation is left out: a scenario that passes has made each call of its table."""
    assert {
        step.tool for scenario in (*SHARED_SERVER_SCENARIOS, *OWN_SERVER_SCENARIOS) for step in scenario.steps
    } >= set(catalog)
