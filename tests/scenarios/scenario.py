"""A row of the scenario table: what is done, what must be seen of it, and within how many seconds."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
import pytest

from .observed import ObservedResult
from .scenario_context import Config, ScenarioContext

LIMIT_SECONDS = 90.0
"""A row's time limit where it has none of its own: on a busy machine OpenCode takes its time."""

Action = Callable[[ScenarioContext], Awaitable[ObservedResult]]
"""Acts on a bench, and returns the call that tells what came of it."""


@dataclass(frozen=True)
class Scenario:
    """A line of the table.

    `state` is that of the report which `action` returns, or "error" for a call that failed without one;
    `words` is found in what is said of that state. A row that changes more than its own sessions, or
    reads what changed, has a project of its own, with this configuration of OpenCode.
    """

    name: str
    action: Action
    state: str
    pattern: str = ""
    limit_seconds: float = LIMIT_SECONDS
    config: Config | None = None


async def run_scenario(scenario: Scenario, ctx: ScenarioContext) -> None:
    """Play a row, and compare what is seen with what it expects.

    Raises:
        Failed: it hung, or what was seen differs.
    """
    with anyio.move_on_after(scenario.limit_seconds) as limit:
        observed = await scenario.action(ctx)
        assert observed.state == scenario.state, (
            f"expected {scenario.state}, seen {observed.state}: {observed.text[:2000]}"
        )
        assert re.search(scenario.pattern, observed.message), (
            f"expected {scenario.pattern!r} in {observed.message[:2000]!r}"
        )
    if limit.cancelled_caught:
        pytest.fail(f"hung: no end within {scenario.limit_seconds:g} s", pytrace=False)
