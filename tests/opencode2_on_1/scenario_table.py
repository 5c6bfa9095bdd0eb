"""Which scenarios 1.18.33 can play behind the shim, and what the others need that it does not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tests.opencode2.scenario_table import NOT_PLAYABLE as NOT_ON_OPENCODE_2
from tests.opencode2.scenario_table import because, rows
from tests.scenarios import SCENARIOS
from tests.scenarios.scenario import Scenario


def with_word(*words: str) -> tuple[str, ...]:
    """Return the names of the rows that have one of these words."""
    return tuple(scenario.name for scenario in SCENARIOS if any(word in scenario.name for word in words))


NOT_PLAYABLE: Mapping[str, str] = {
    **NOT_ON_OPENCODE_2,
    **because(
        "the v2 engine of 1.18.33 has no subagents", (*with_word("subagent"), "spent by turn, session and family")
    ),
    **because(
        "the v2 engine of 1.18.33 has no rules of a session",
        (
            *rows("policy allow", "policy reject", "policy kept"),
            *rows("access read", "access edit", "access narrowed", "access kept"),
            *rows("permissions as a map", "aborted in a command", "deleted in a command", "run_task cancelled over"),
            "event: completed by policy, and a follow-up",
        ),
    ),
    **because(
        "the v2 API of 1.18.33 runs no shell commands",
        (
            *rows("check ", "setup ", "event: check", "queued prompt taken over", "session busy: session_shell"),
            *("prompts queued behind a running turn", "limit of minutes, in a check"),
        ),
    ),
    **because(
        "the v2 API of 1.18.33 has no worktrees",
        (
            *with_word("worktree"),
            *rows("several models"),
            *rows("several tasks", "run_tasks cancelled", "run_task cancelled at every"),
        ),
    ),
    **because(
        "the v2 API of 1.18.33 does not say what a turn has changed",
        ("tool calls", "a turn that was reverted", *rows("changes ")),
    ),
    **because(
        "the v2 engine of 1.18.33 does not show the model the message of a rejection",
        with_word("reject with a message", "ask timeout"),
    ),
    **because(
        "the v2 engine of 1.18.33 tries once",
        rows("model error 429", "model error 500", "model drops"),
    ),
    **because(
        "the v2 API of 1.18.33 takes no metadata of a prompt, which tells the user's words from those about the schema",
        (*rows("answer fits", "answer as a list", "answer in a code", "answer never fits", "answer too long"),),
    ),
    **because("agent and model belong to the session in OpenCode 2", ("agent kept by the session",)),
    **because("the v2 engine of 1.18.33 sends a file to the model as it is", ("files as people write them",)),
    **because("the v2 engine of 1.18.33 does not compact", ("context overflow, compacted by OpenCode",)),
    **because("its words for a missing file are others", ("a tool call that fails",)),
    **because(
        "its request names a folder, and not the file",
        [name for name in with_word("by another client") if name.startswith("access outside")],
    ),
    **because("the v2 engine of 1.18.33 counts no cost", ("limit of cost", *rows("cost of a bridge"))),
    "disposed while the user is asked": "the v2 API of 1.18.33 reloads no location",
    "time limit 0": "requests through the shim take longer than the moment that a call without time gets",
    **because(
        "it starts an OpenCode of its own, which no shim is in front of",
        rows("managed OpenCode", "attached OpenCode"),
    ),
}
"""Rows that need what 1.18.33 lacks."""

DIFFERS: Mapping[str, tuple[str, str, str]] = {
    "a file that cannot be read": (
        "failed",
        "does not support media type text/plain",
        "the v2 engine sends a file to the model as it is",
    ),
    "context overflow, not compacted": (
        "failed",
        "provider.invalid-request: HTTP 400: maximum context length is 1000 tokens",
        "the error has no type of its own",
    ),
    "permission asked": ("waiting_permission", "^shell: touch made-row", "the action is `shell`"),
    "access outside the directory asked": (
        "waiting_permission",
        r"^external_directory: /.*/\*$",
        "it asks for the nearest folder that exists",
    ),
}
"""Rows with another state or message here, and why."""


def expected_here(scenario: Scenario) -> Scenario:
    """Return a scenario with what is expected of it here."""
    if scenario.name not in DIFFERS:
        return scenario
    state, pattern, _ = DIFFERS[scenario.name]
    return replace(scenario, state=state, pattern=pattern)


def playable() -> list[str]:
    """Return the rows that can be played."""
    return [scenario.name for scenario in SCENARIOS if scenario.name not in NOT_PLAYABLE]
