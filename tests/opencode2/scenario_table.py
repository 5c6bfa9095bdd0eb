"""The scenario table of OpenCode 1 on the fake OpenCode 2: which rows can be played, and what the others lack.

`PLAYED` are the rows that run now. A row that is in none of the tables is played unchanged, once tasks have an engine
for OpenCode 2; then it belongs in `PLAYED`. All that are playable run with

    pytest -m '' tests/opencode2/test_scenario_table.py --opencode2
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tests.scenarios import SCENARIOS

NO_BLOCKING_PROMPT = "OpenCode 2 has no operation that blocks until the answer; run_task is what stands for it"


def rows(*beginnings: str) -> Iterator[str]:
    """Yield the names of the rows that begin so."""
    yield from (scenario.name for scenario in SCENARIOS if scenario.name.startswith(beginnings))


def because(reason: str, names: Iterable[str]) -> Mapping[str, str]:
    """Give rows a reason."""
    return dict.fromkeys(names, reason)


NOT_PLAYABLE: Mapping[str, str] = {
    **because(NO_BLOCKING_PROMPT, rows("session_prompt", "two session_prompt")),
    **because(
        "only a write of the configuration disposes an instance; location.reload rejects requests and ends no turn",
        rows("disposed "),
    ),
    **because(
        "the rules of a session are replaced, so nothing is refused: test_access.py plays it",
        ("policy allow, then report", "access kept by the session"),
    ),
    "session busy: session_shell": "session.shell runs beside a turn; it refuses nothing",
    "model replaced by a plugin": "the fake runs no plugins, and OpenCode 2's hooks are others",
    "permissions as a map, with an unknown tool": (
        "`write` and `shell` are other things in OpenCode 2; which words a map takes there is the engine's choice"
    ),
}
"""Rows that OpenCode 2 has no counterpart for."""

NEEDS_CHANGE: Mapping[str, str] = {
    "files as people write them": "path_get names the home folder; and what was read is in `files` of the user message",
}
"""Rows that need a change of the row or a decision before they can be played."""

DIFFERS: Mapping[str, str] = {
    "model error 400": "the error is provider.invalid-request with `status` 400",
    "model error 401": "the error is provider.auth with `status` 401",
    "a file that cannot be read": "OpenCode 2 refuses the prompt with 400; V1 sends an event and goes on",
    "model error 500 until OpenCode gives up": "ten retries of up to 10 s: set retry_seconds=(0.1,) for the row",
    "model drops the connection": "what was said stays, and OpenCode 2 goes on after one retry of 2 s",
    "context overflow, not compacted": "the type is provider.invalid-request, not ContextOverflowError",
    "spent by turn, session and family": "the totals of a session include its title (disabled in QUICK_CONFIG only)",
    "subagent": "the transcript's line begins with the tool `subagent`, not `task`",
    "tool calls": "OpenCode does not add `$schema` to opencode.json here",
    "several models, one stopped": "the note about `$schema` is of OpenCode 1",
    "agent kept by the session": "agent and model belong to the session: session.get has them, not the last prompt",
    **because(
        "a rejected call says 'The user declined this tool call' (aborted)",
        (
            scenario.name
            for scenario in SCENARIOS
            if ", reject" in scenario.name or ", form declined:" in scenario.name
            if not scenario.name.startswith(("session_prompt", "question"))
        ),
    ),
    **because(
        "the tool and its action are `shell`",
        ("permissions as a map", "permissions as a map, with an access", *rows("setup denied")),
    ),
    **because(
        "the waiting request begins with `shell: touch`, unless the engine keeps the word `bash`",
        ("permission asked", "subagent's permission asked"),
    ),
    **because(
        "the tools that the model is offered are `shell` and `subagent`",
        rows("access read", "access edit"),
    ),
    **because(
        "a queued prompt is in OpenCode's inbox and runs without a bridge: before the check of the turn before it",
        rows("prompts queued", "prompt queued behind", "queued prompt", "prompt that interrupts"),
    ),
    **because("session.shell runs unasked and outside of the turn; its message has the exit code", rows("check ")),
}
"""Rows that can be played, whose expectation is of OpenCode 1. A row may also be in NEEDS_CHANGE."""

PLAYED: tuple[str, ...] = (
    "malformed session id",
    "malformed session id: wait_for_tasks",
    "malformed request id",
    "started by a task of a task",
    "unknown session: report_task",
    "limit that is not positive",
    "schema that is not valid",
    "two tasks in one directory",
)
"""Rows that pass on the fake now."""


def playable() -> list[str]:
    """Return the rows that nothing is missing for but the engine; some of them have another expectation."""
    return [row.name for row in SCENARIOS if row.name not in NOT_PLAYABLE and row.name not in NEEDS_CHANGE]


def unchanged() -> list[str]:
    """Return the playable rows whose expectation holds for both generations."""
    return [name for name in playable() if name not in DIFFERS]
