"""Which scenarios 1.18.33 can play behind the shim, and what the others need that it does not have."""

from __future__ import annotations

from collections.abc import Mapping

from tests.opencode2.scenario_table import NEEDS_CHANGE, because, rows
from tests.opencode2.scenario_table import NOT_PLAYABLE as NOT_ON_OPENCODE_2
from tests.scenarios import SCENARIOS


def with_word(*words: str) -> tuple[str, ...]:
    """Return the names of the rows that have one of these words."""
    return tuple(scenario.name for scenario in SCENARIOS if any(word in scenario.name for word in words))


NOT_PLAYABLE: Mapping[str, str] = {
    **NOT_ON_OPENCODE_2,
    **NEEDS_CHANGE,
    **because("the v2 engine of 1.18.33 has no subagents", with_word("subagent")),
    **because(
        "the v2 engine of 1.18.33 has no rules of a session",
        (
            *rows("policy allow", "policy reject", "policy kept", "access read", "access edit", "access narrowed"),
            *rows("permissions as a map", "aborted in a command", "deleted in a command", "run_task cancelled over"),
        ),
    ),
    **because("the v2 API of 1.18.33 runs no shell commands", rows("check ", "setup ")),
    **because("the v2 API of 1.18.33 has no worktrees", with_word("worktree")),
    **because("the v2 engine of 1.18.33 tries once", rows("model error 429", "model error 500", "model drops")),
}
"""Rows that need what 1.18.33 lacks."""


def playable() -> list[str]:
    """Return the rows that can be played."""
    return [scenario.name for scenario in SCENARIOS if scenario.name not in NOT_PLAYABLE]
