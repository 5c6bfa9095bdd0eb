"""The scenario table of OpenCode 1 on the fake OpenCode 2: what is played, and where OpenCode 2 differs.

A row that is in none of the tables is played as it is; what it expects of any OpenCode is in `Traits`. All rows run
with

    pytest -m '' tests/opencode2/test_scenario_table.py --opencode2

and those of `SAMPLE` without `--opencode2`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.scenarios import SCENARIOS
from tests.scenarios.scenario import Scenario

NO_BLOCKING_PROMPT = "OpenCode 2 has no operation that blocks until the answer; run_task is what stands for it"


def rows(*beginnings: str) -> Iterator[str]:
    """Yield the names of the rows that begin so."""
    yield from (scenario.name for scenario in SCENARIOS if scenario.name.startswith(beginnings))


def because(reason: str, names: Iterable[str]) -> Mapping[str, str]:
    """Give rows a reason."""
    return dict.fromkeys(names, reason)


@dataclass(frozen=True)
class Difference:
    """What a row has on OpenCode 2 that it does not expect.

    `state` and `pattern` are what it is to expect instead, None for what it expects anyway. Where its action itself
    expects what OpenCode 2 does not do, `fails` is a pattern of the assertion that fails, and nothing follows it.
    """

    reason: str
    state: str | None = None
    pattern: str | None = None
    fails: str = ""

    def applied_to(self, scenario: Scenario) -> Scenario:
        """Return the row with the expectation that holds on OpenCode 2."""
        values = {"state": self.state, "pattern": self.pattern}
        return replace(scenario, **{name: value for name, value in values.items() if value is not None})


NOT_PLAYABLE: Mapping[str, str] = {
    **because(NO_BLOCKING_PROMPT, rows("session_prompt", "two session_prompt")),
    **because(
        "nothing disposes an instance with its turns; location.reload rejects requests, and ends no other turn",
        ("disposed by another client", "disposed in a command"),
    ),
    "model replaced by a plugin": "the fake runs no plugins, and OpenCode 2's hooks are others",
}
"""Rows that OpenCode 2 has no counterpart for."""

DIFFERS: Mapping[str, Difference] = {
    "a file that cannot be read": Difference(
        "OpenCode 2 refuses the prompt, where OpenCode 1 sends an event and goes on",
        fails="HTTP 400, InvalidRequestError: File not found",
    ),
    "context overflow, not compacted": Difference(
        "the error has no name of its own",
        pattern="provider.invalid-request: .*maximum context length is 1000 tokens",
    ),
    "policy allow, then report": Difference(
        "the rules of a session are replaced, so what it was allowed is asked for",
        state="waiting_permission",
        pattern="^shell: touch made-row",
    ),
    "access kept by the session": Difference(
        "the rules of a session are replaced, so its access can be widened", state="completed", pattern="^done: chain$"
    ),
    "session busy: session_shell": Difference(
        "session.shell runs beside a turn; it refuses nothing", state="answer", pattern="^True$"
    ),
    "permissions as a map": Difference("the action is `shell`", pattern="^shell: touch other-made"),
    "permission asked": Difference("the action is `shell`", pattern="^shell: touch made-row"),
    "subagent's permission asked": Difference("the action is `shell`", pattern="^shell: touch made-row"),
}
"""Rows whose expectation is of OpenCode 1, each with what is seen instead."""

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "model error 500 until OpenCode gives up": {"retry_seconds": (0.1, 0.1)},
}
"""Options of the fake that rows need: it would try again for 82 s."""

SAMPLE: tuple[str, ...] = (
    "malformed session id",
    "unknown model",
    "unknown session: report_task",
    "a file that is not there",
    "session busy",
    "two tasks in one directory",
    "files as people write them",
    "tool calls",
    "subagent",
    "model error 400",
    "a file that cannot be read",
    "given more to do by another client",
    "permission asked",
    "permission asked, once: by tool",
    "permission asked, reject: by form, 2025-11-25",
    "subagent's permission asked, reject with a message: by tool",
    "question asked, own words: by tool",
    "policy allow, subagent",
    "policy allow, then report",
    "access edit",
    "permissions as a map",
    "deleted while the user is asked",
    "run_task cancelled over http, 2026-07-28",
    "request twice at once in a session",
    "check fails",
    "setup fails",
    "limits that are not passed",
    "answer never fits its schema",
    "prompts queued behind a running turn",
    "prompt that interrupts",
    "stop a task with a waiting subagent",
    "changes that conflict",
    "event: stopped, and failed",
)
"""Rows that run in the default tiers: one of each kind of behaviour."""


def playable() -> list[str]:
    """Return the rows that are played."""
    return [row.name for row in SCENARIOS if row.name not in NOT_PLAYABLE]
