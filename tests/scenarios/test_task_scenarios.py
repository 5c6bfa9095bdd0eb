"""Through an MCP client, on a real OpenCode: no call hangs, and every report has the true state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import combinations

import pytest

from tests.scenarios import SCENARIOS

from .conftest import with_more_time
from .permissions import SPARE_SCENARIOS
from .scenario import Scenario, run_scenario
from .scenario_context import ScenarioContext

pytestmark = pytest.mark.anyio

QUICK_SCENARIOS = {
    *("plain answer", "tool calls", "subagent", "model error 400", "model error 429, once", "model says nothing"),
    *("finished before the wait", "started by another bridge", "time limit reached, then waited for", "wait for all"),
    *("aborted in a command", "deleted by another client", "disposed by another client", "request repeated"),
    *("permission asked, once: by tool", "permission asked, always: by form, 2025-11-25"),
    *("permission asked, once: by form, 2026-07-28", "permission asked, reject: by another client"),
    *("question asked, a choice: by form, 2026-07-28", "unknown session: report_task", "policy allow, subagent"),
}
"""The scenarios of the `opencode` tier."""

FAULTY_SCENARIOS = {
    *("plain answer", "subagent", "model error 429, once", "finished before the wait", "wait for all"),
    *("deleted by another client", "request repeated", "policy allow, subagent"),
    *("permission asked, once: by tool", "permission asked, once: by form, 2026-07-28"),
    "question asked, a choice: by form, 2026-07-28",
}
"""Those over a faulty network, unless --chaos SEED selects all."""

QUICK_TASK_SCENARIOS = {
    *("plain answer", "subagent", "model error 400", "wait for all", "aborted in a command"),
    *("permission asked, once: by form, 2026-07-28", "question asked, a choice: by form, 2026-07-28"),
}
"""Those through MCP tasks in the `opencode` tier."""

SLOW_TASK_SCENARIOS = {
    *("run_tasks cancelled", "managed OpenCode killed", "unknown session among others: wait_for_tasks"),
    *("subagent's permission asked, reject: by form, 2026-07-28", "session_prompt, permission by form, 2026-07-28"),
    *("permission asked, form dismissed: by form, 2026-07-28", "event stream always cut"),
    "check fails, then the task corrects it",
}
"""Those in the `slow` tier, unless --mcp-tasks selects all."""

NO_TIME_LIMIT = "The time limit of a call is not that of its task, which goes on until its turn has ended."
NO_PROGRESS = "Progress belongs to a call; a task has a status message, which the client asks for."
NOT_AS_TASKS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("model says nothing", "time limit reached, then waited for", "time limit 0"),
            *("stop a task with a working subagent", "check followed by three bridges"),
        ),
        NO_TIME_LIMIT,
    ),
    **dict.fromkeys(
        (
            *("progress every ten seconds", "progress on each step"),
            *("wait_for_tasks cancelled over stdio, 2026-07-28", "wait_for_tasks cancelled over http, 2026-07-28"),
        ),
        NO_PROGRESS,
    ),
    "given more to do by another client": "A task is one turn: the prompt of another client begins the next.",
}
"""Scenarios that do not hold for MCP tasks, and why."""

SCENARIOS_NEEDING_EVERY_EVENT = {"progress on each step"}
"""A step whose event is lost while the stream is cut is not reported: OpenCode replays no events."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what the options select: the quick scenarios in the `opencode` tier, the others in the `slow` tier."""
    if "faulty_scenario_context" in metafunc.fixturenames:
        all_scenarios = metafunc.config.getoption("--chaos") is not None
        names = (
            {scenario.name for scenario in SCENARIOS} - SCENARIOS_NEEDING_EVERY_EVENT
            if all_scenarios
            else FAULTY_SCENARIOS
        )
        scenarios = [pytest.param(scenario, marks=pytest.mark.slow) for scenario in SCENARIOS if scenario.name in names]
    elif "task_scenario_context" in metafunc.fixturenames:
        all_scenarios = metafunc.config.getoption("--mcp-tasks")
        names = (
            {scenario.name for scenario in SCENARIOS} - NOT_AS_TASKS.keys()
            if all_scenarios
            else QUICK_TASK_SCENARIOS | SLOW_TASK_SCENARIOS
        )
        scenarios = [
            pytest.param(scenario, marks=() if scenario.name in QUICK_TASK_SCENARIOS else pytest.mark.slow)
            for scenario in SCENARIOS
            if scenario.name in names
        ]
    elif "scenario_context" in metafunc.fixturenames:
        left_out = set[str]() if metafunc.config.getoption("--every-scenario") else SPARE_SCENARIOS - QUICK_SCENARIOS
        scenarios = [
            pytest.param(scenario, marks=() if scenario.name in QUICK_SCENARIOS else pytest.mark.slow)
            for scenario in SCENARIOS
            if scenario.name not in left_out
        ]
    else:
        return
    metafunc.parametrize("scenario", scenarios, ids=lambda scenario: scenario.name)


async def test_a_scenario_reports_the_expected_state(scenario: Scenario, scenario_context: ScenarioContext) -> None:
    """Within its time limit."""
    await run_scenario(scenario, scenario_context)


async def test_a_scenario_reports_the_expected_state_over_a_faulty_network(
    scenario: Scenario, faulty_scenario_context: ScenarioContext
) -> None:
    """Also when responses are late, lost, cut off or refused: no state is guessed."""
    await run_scenario(with_more_time(scenario), faulty_scenario_context)


async def test_a_scenario_reports_the_expected_state_through_an_mcp_task(
    scenario: Scenario, task_scenario_context: ScenarioContext
) -> None:
    """Also when the client asks for the state of a task, instead of waiting for the result of a call."""
    await run_scenario(scenario, task_scenario_context)


def test_every_scenario_has_a_unique_name() -> None:
    """Names are the ids of the tests."""
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)


def test_each_two_of_request_answer_and_client_are_played() -> None:
    """Without --every-scenario a permission is not given by each client in each way, but each two of them meet."""
    answered = re.compile("(.*) asked, (.*?): (by .*)")
    parts = {scenario.name: match.groups() for scenario in SCENARIOS if (match := answered.fullmatch(scenario.name))}
    pairs = {name: {*combinations(enumerate(values), 2)} for name, values in parts.items()}

    assert len(SPARE_SCENARIOS) > 30
    assert parts.keys() > SPARE_SCENARIOS
    played = set[object]().union(*(pairs[name] for name in parts.keys() - SPARE_SCENARIOS))
    assert set[object]().union(*pairs.values()) == played


def test_the_named_scenarios_exist() -> None:
    """A scenario that is renamed stays in its tier."""
    named = QUICK_SCENARIOS | FAULTY_SCENARIOS | QUICK_TASK_SCENARIOS | SLOW_TASK_SCENARIOS | NOT_AS_TASKS.keys()
    assert named <= {scenario.name for scenario in SCENARIOS}
