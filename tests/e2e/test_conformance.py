"""The conformance suite of the protocol's authors, against the real server and against it with fixtures.

Most scenarios call tools, resources and prompts by names that no server has but for the suite's sake. So the
real server is held to those that need none, and the rest to the same server with the fixtures added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import RecordFigure

from .conformance import ScenarioResult, run_scenario, run_suite
from .npm_programs import Programs
from .server_process import FIXTURE_SERVER_COMMAND, SERVER_COMMAND, run_server

pytestmark = [pytest.mark.clients, pytest.mark.anyio]

REVISIONS = ("2025-11-25", "2026-07-28")

NEED_NO_FIXTURES: Mapping[str, tuple[str, ...]] = {
    "2025-11-25": (
        "server-initialize",
        "ping",
        "completion-complete",
        "tools-list",
        "server-sse-multiple-streams",
        "resources-list",
        "prompts-list",
        "dns-rebinding-protection",
        "server-session-lifecycle",
    ),
    "2026-07-28": (
        "server-stateless",
        "completion-complete",
        "tools-list",
        "server-sse-multiple-streams",
        "resources-list",
        "sep-2164-resource-not-found",
        "prompts-list",
        "dns-rebinding-protection",
        "caching",
        "input-required-result-unsupported-methods",
        "http-header-validation",
    ),
}

NO_LOGGING = "The bridge logs on stderr only: the protocol's logging is deprecated since 2026-07-28."
EXPECTED_FAILURES: Mapping[str, Mapping[str, str]] = {
    "2025-11-25": {
        "logging-set-level": NO_LOGGING,
        "tools-call-with-logging": NO_LOGGING,
        "server-sse-polling": "It is not scored, and only warns: the streams of a call cannot be resumed, which is "
        "optional, and gone since 2026-07-28.",
    },
    "2026-07-28": {
        "tasks-status-notifications": "It skips itself: notifications about tasks are optional, and none are sent.",
    },
}
"""Scenarios that do not pass with fixtures either, and why."""

TASKS_CHECKS = 44
"""How many checks the scenarios of MCP Tasks have: an extension, which the suite runs and does not score."""

SKILLS_CHECKS = {"sep-2640-skills-enumeration": 32, "sep-2640-skills-manifest": 6}
"""How many checks the scenarios of the extension for skills have; a third one is about folders, not served."""


@dataclass(frozen=True)
class SuiteResults:
    """What the suite says of both servers, by revision and scenario."""

    real: Mapping[str, Mapping[str, ScenarioResult]]
    with_fixtures: Mapping[str, Mapping[str, ScenarioResult]]


@pytest.fixture(scope="module")
async def outcome(
    programs: Programs, attached_environ: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> SuiteResults:
    """Run the suite for each revision against each server."""

    async def run(command: tuple[str, ...]) -> dict[str, dict[str, ScenarioResult]]:
        folders: dict[str, Path] = {one: tmp_path_factory.mktemp("conformance") for one in REVISIONS}
        async with run_server(command, attached_environ) as url:
            return {one: await run_suite(programs, url, one, folder) for one, folder in folders.items()}

    return SuiteResults(await run(SERVER_COMMAND), await run(FIXTURE_SERVER_COMMAND))


@pytest.mark.parametrize("revision", REVISIONS)
async def test_the_server_passes_scenarios_that_need_no_fixtures(
    outcome: SuiteResults, revision: str, record_figure: RecordFigure
) -> None:
    """All that the suite can check there is as it should be, with no warning either."""
    needed = [outcome.real[revision][name] for name in NEED_NO_FIXTURES[revision]]
    good = [one for one in needed if one.passed and not one.problems]
    record_figure(
        f"conformance {revision}, the real server: {len(good)} of {len(needed)} scenarios that need no fixtures, "
        f"{sum(one.passed for one in good)} checks; {sum(len(one.untestable) for one in needed)} cannot be made there"
    )

    assert {one.name: one.problems for one in needed if one not in good} == {}


@pytest.mark.parametrize("revision", REVISIONS)
async def test_the_server_fails_only_scenarios_that_need_fixtures(outcome: SuiteResults, revision: str) -> None:
    """It passes as soon as the fixtures are added; and in no scenario at all a message is not as the schema says."""
    added = outcome.with_fixtures[revision]
    explained = {name for name, one in added.items() if one.passes} | EXPECTED_FAILURES[revision].keys()
    failing = {name: one.problems + one.untestable for name, one in outcome.real[revision].items() if not one.passes}

    assert {name: faults for name, faults in failing.items() if name not in explained} == {}
    assert {name: why for name, faults in failing.items() for why in faults if why.startswith("wire-schema")} == {}


@pytest.mark.parametrize("revision", REVISIONS)
async def test_the_server_with_fixtures_passes_all_but_expected_failures(
    outcome: SuiteResults, revision: str, record_figure: RecordFigure
) -> None:
    """What is expected to fail does fail, and scenarios that do not count pass too."""
    scenarios = outcome.with_fixtures[revision].values()
    scored = [one for one in scenarios if not one.not_scored]
    others = [one for one in scenarios if one.not_scored]
    record_figure(
        f"conformance {revision}, with fixtures: {sum(one.passes for one in scored)} of {len(scored)} scored "
        f"scenarios, and {sum(one.passes for one in others)} of {len(others)} that are not scored, "
        f"{sum(one.passed for one in (*scored, *others))} checks; {len(EXPECTED_FAILURES[revision])} expected not to "
        f"pass"
    )

    failing = {one.name: one.problems + one.untestable for one in (*scored, *others) if not one.passes}
    assert failing.keys() == EXPECTED_FAILURES[revision].keys(), failing


async def test_the_scenarios_of_mcp_tasks_pass_with_fixtures(
    outcome: SuiteResults, record_figure: RecordFigure
) -> None:
    """They run the product's own extension, with tasks that are fixtures; no check is left out."""
    scenarios = [one for one in outcome.with_fixtures["2026-07-28"].values() if one.name.startswith("tasks-")]
    passed = sum(one.passed for one in scenarios)
    record_figure(f"conformance, MCP Tasks: {passed} of {TASKS_CHECKS} checks in {len(scenarios)} scenarios")

    assert {one.name: one.problems + one.untestable for one in scenarios if one.problems or one.untestable} == {}
    assert passed == TASKS_CHECKS


async def test_the_scenarios_of_skills_pass(
    programs: Programs, module_environ: Mapping[str, str], tmp_path: Path
) -> None:
    """On the real server, with the skills that it has; no OpenCode is needed."""
    environ = {**module_environ, "OPENCODE_MCP_NO_AUTH": "1", "OPENCODE_MCP_URL": "http://127.0.0.1:9"}
    async with run_server(SERVER_COMMAND, environ) as url:
        results = [await run_scenario(programs, url, name, tmp_path) for name in SKILLS_CHECKS]

    assert [one.problems + one.untestable for one in results] == [(), ()]
    assert {one.name: one.passed for one in results} == SKILLS_CHECKS
