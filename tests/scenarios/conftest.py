"""A context for each scenario: a project on the shared OpenCode, over a good network or a faulty one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from examples.scripted_model import ScriptedModel
from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.server import tool_handlers
from opencode_mcp.server.mcp_tasks import polled_task
from opencode_mcp.settings import Settings
from tests.conftest import make_environ
from tests.network_faults import open_faulty_proxy, random_faults
from tests.scenarios import SCENARIOS
from tests.task_client import TaskClient

from .scenario import Scenario
from .scenario_context import ScenarioContext, SharedFixtures, make_asking_project, open_scenario_context

FAULTY_NETWORK_SLOWDOWN = 2
"""The factor of a scenario's time limit over a faulty network."""

TASK_UNREACHABLE_SECONDS = 10.0
"""How long OpenCode may be unreachable before a task has failed; users wait for ten minutes."""


@pytest.fixture(scope="session")
def quick_project(program: Program, model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of all scenarios that have none of their own: OpenCode loads it once."""
    folder = tmp_path_factory.mktemp("scenarios")
    return make_asking_project(folder / "quick", make_environ(program, model, folder), {})


@pytest.fixture
def shared_fixtures(
    catalog: Catalog, model: ScriptedModel, program: Program, environ: Mapping[str, str]
) -> SharedFixtures:
    """What a scenario needs besides its project."""
    return SharedFixtures(catalog, model, program, environ)


@pytest.fixture
async def scenario_context(
    scenario: Scenario, scenario_project: Callable[[str], Path], shared_fixtures: SharedFixtures, endpoint: Endpoint
) -> AsyncGenerator[ScenarioContext]:
    """The scenario's context."""
    key = f"row{scenario_number(scenario)}x"
    async with open_scenario_context(
        shared_fixtures, settings_for(endpoint, str(endpoint.url)), scenario_project(key), key
    ) as ctx:
        yield ctx


@pytest.fixture
async def faulty_scenario_context(
    request: pytest.FixtureRequest,
    scenario: Scenario,
    scenario_project: Callable[[str], Path],
    shared_fixtures: SharedFixtures,
    endpoint: Endpoint,
) -> AsyncGenerator[ScenarioContext]:
    """The scenario's context behind a faulty network: its faults follow from the seed and the scenario."""
    assert endpoint.url.port is not None
    seed = (request.config.getoption("--chaos") or 1) * 1000 + scenario_number(scenario)
    key = f"row{1000 + scenario_number(scenario)}x"
    async with (
        open_faulty_proxy(endpoint.url.port, random_faults(seed)) as proxy,
        open_scenario_context(
            shared_fixtures, settings_for(endpoint, proxy.url), scenario_project(key), key, faulty_network=True
        ) as ctx,
    ):
        yield ctx


@pytest.fixture
async def task_scenario_context(
    monkeypatch: pytest.MonkeyPatch,
    scenario: Scenario,
    scenario_project: Callable[[str], Path],
    shared_fixtures: SharedFixtures,
    endpoint: Endpoint,
) -> AsyncGenerator[ScenarioContext]:
    """The scenario's context with clients that take MCP tasks, and servers that hold no call before it becomes one."""
    monkeypatch.setattr(tool_handlers, "HOLD_SECONDS", 0.0)
    monkeypatch.setattr(polled_task, "UNREACHABLE_SECONDS", TASK_UNREACHABLE_SECONDS)
    key = f"row{2000 + scenario_number(scenario)}x"
    async with open_scenario_context(
        shared_fixtures, settings_for(endpoint, str(endpoint.url)), scenario_project(key), key, client_class=TaskClient
    ) as ctx:
        yield ctx


@pytest.fixture
def scenario_project(
    scenario: Scenario, quick_project: Path, shared_fixtures: SharedFixtures, tmp_path: Path
) -> Callable[[str], Path]:
    """Return a function from the key to the project: the scenario's own, or the shared one."""
    config = scenario.config
    if config is None:
        return lambda key: quick_project
    return lambda key: make_asking_project(tmp_path / key, shared_fixtures.environ, config)


def scenario_number(scenario: Scenario) -> int:
    """Return a scenario's number, from 1."""
    return SCENARIOS.index(scenario) + 1


def with_more_time(scenario: Scenario) -> Scenario:
    """Return a scenario with the time limit for a faulty network."""
    return replace(scenario, limit_seconds=scenario.limit_seconds * FAULTY_NETWORK_SLOWDOWN)


def settings_for(endpoint: Endpoint, url: str) -> Settings:
    """Return the settings that reach an OpenCode at a URL."""
    return Settings(url=url, username=endpoint.username, password=endpoint.password)
