"""Scenarios on the v2 engine of a real OpenCode 1.18.33, which a bridge takes for an OpenCode 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from opencode_mcp.opencode import Endpoint
from tests.scenarios import SCENARIOS
from tests.scenarios.scenario import run_scenario
from tests.scenarios.scenario_context import SharedFixtures

from .scenario_context import make_scripted_project, open_shim_context
from .scenario_table import NOT_PLAYABLE, playable

pytestmark = pytest.mark.anyio

ROWS = {scenario.name: (number, scenario) for number, scenario in enumerate(SCENARIOS, 5001)}
SAMPLE = ("unknown session: report_task", "malformed session id")
"""The rows that CI plays."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Play a sample, or with --opencode2 all rows that can be played."""
    if "row" in metafunc.fixturenames:
        metafunc.parametrize("row", playable() if metafunc.config.getoption("--opencode2") else SAMPLE)


@pytest.mark.slow
async def test_a_row_is_played(
    row: str, shared_fixtures: SharedFixtures, endpoint: Endpoint, scripted_project: Path, tmp_path: Path
) -> None:
    """With no request, answer or event that breaks the contract, and nothing that 1.18.33 lacks."""
    number, scenario = ROWS[row]
    project = scripted_project
    if scenario.config is not None:
        project = make_scripted_project(
            tmp_path / "project", shared_fixtures.environ, shared_fixtures.model, scenario.config
        )
    async with open_shim_context(shared_fixtures, endpoint, project, f"row{number}x") as (ctx, shim):
        try:
            await run_scenario(scenario, ctx)
        except BaseException as error:
            error.add_note(f"1.18.33 lacks {sorted({*shim.missing})}; faults: {shim.answer_faults[:5]}")
            raise
    assert (shim.contract.faults, shim.answer_faults, shim.missing) == ([], [], [])


def test_every_row_is_accounted_for() -> None:
    """A row that is renamed stays in the table."""
    assert NOT_PLAYABLE.keys() <= ROWS.keys()
    assert {*SAMPLE} <= {*playable()}
