"""The promise: through an MCP client, on a real OpenCode, no call hangs and no report says what is not so."""

from __future__ import annotations

import pytest

from tests.scenarios import SCENARIOS

from .conftest import with_more_time
from .scenario import Scenario, run_scenario
from .scenario_context import ScenarioContext

pytestmark = pytest.mark.anyio

QUICK_SCENARIOS = {
    *("plain answer", "tool calls", "subagent", "model error 400", "model error 429, once", "model says nothing"),
    *("finished before the wait", "started by another bridge", "time limit reached, then waited for", "wait for all"),
    *("aborted in a command", "deleted by somebody else", "disposed by somebody else", "request repeated"),
    *("permission asked, once: by us", "permission asked, always: by form, 2025-11-25"),
    *("permission asked, once: by form, 2026-07-28", "permission asked, reject: by somebody else"),
    *("question asked, a choice: by form, 2026-07-28", "unknown session: report_task", "policy allow, subagent"),
}
"""Rows of the quick tiers; those over a bad network, too, unless --chaos SEED asks for all."""

SCENARIOS_NEEDING_EVERY_EVENT = {"progress on each step"}
"""A step that is told of while the stream is cut is not told of again: OpenCode replays no event."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Play all rows: the everyday ones in the tier of the shared OpenCode, the others in the slow one."""
    if "faulty_scenario_context" in metafunc.fixturenames:
        all_scenarios = metafunc.config.getoption("--chaos") is not None
        names = (
            {scenario.name for scenario in SCENARIOS} - SCENARIOS_NEEDING_EVERY_EVENT
            if all_scenarios
            else QUICK_SCENARIOS
        )
        scenarios = [pytest.param(scenario, marks=pytest.mark.slow) for scenario in SCENARIOS if scenario.name in names]
    elif "scenario_context" in metafunc.fixturenames:
        scenarios = [
            pytest.param(scenario, marks=() if scenario.name in QUICK_SCENARIOS else pytest.mark.slow)
            for scenario in SCENARIOS
        ]
    else:
        return
    metafunc.parametrize("scenario", scenarios, ids=lambda scenario: scenario.name)


async def test_a_scenario_reports_the_expected_state(scenario: Scenario, scenario_context: ScenarioContext) -> None:
    """What is reported is so, within the row's time limit."""
    await run_scenario(scenario, scenario_context)


async def test_a_scenario_reports_the_expected_state_over_a_faulty_network(
    scenario: Scenario, faulty_scenario_context: ScenarioContext
) -> None:
    """The same when answers are late, lost, cut off or refused: what cannot be known is not made up."""
    await run_scenario(with_more_time(scenario), faulty_scenario_context)


def test_every_scenario_has_a_unique_name() -> None:
    """A reader of the table can tell its rows apart."""
    assert len({row.name for row in SCENARIOS}) == len(SCENARIOS)


def test_the_quick_scenarios_exist() -> None:
    """A row that is renamed does not leave the quick tiers unseen."""
    assert {row.name for row in SCENARIOS} >= QUICK_SCENARIOS
