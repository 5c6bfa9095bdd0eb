"""A scenario: an action, the state that must be reported, and a time limit."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from .observed import ObservedResult
from .scenario_context import Config, ScenarioContext

LIMIT_SECONDS = 300.0
"""The default time limit: OpenCode is slow on a busy machine."""

Action = Callable[[ScenarioContext], Awaitable[ObservedResult]]
"""Acts in a scenario's context, and returns the result to compare."""


@dataclass(frozen=True)
class Scenario:
    """An action and its expected result.

    `state` is that of the report which `action` returns, or "error" for a call that failed without one; `pattern` must
    match the message about it. A scenario that changes more than its own sessions, or reads changes, has its own
    project; `config` is OpenCode's configuration there.
    """

    name: str
    action: Action
    state: str
    pattern: str = ""
    limit_seconds: float = LIMIT_SECONDS
    config: Config | None = None


async def run_scenario(scenario: Scenario, ctx: ScenarioContext) -> ObservedResult:
    """Run a scenario, compare the result with the expected one, and return it.

    Raises:
        AssertionError: the result differs, or the scenario did not end within its time limit.
    """
    with anyio.move_on_after(scenario.limit_seconds):
        observed = await scenario.action(ctx)
        check_result(scenario, observed)
        return observed
    raise AssertionError(f"hung: no end within {scenario.limit_seconds:g} s")


def check_result(scenario: Scenario, observed: ObservedResult) -> None:
    """Compare a result with the expected one.

    Raises:
        AssertionError: it differs.
    """
    assert observed.state == scenario.state, f"expected {scenario.state}, seen {observed.state}: {observed.text[:2000]}"
    assert re.search(scenario.pattern, observed.message), (
        f"expected {scenario.pattern!r} in {observed.message[:2000]!r}"
    )
