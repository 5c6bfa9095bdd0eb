"""A task that continues: with what agent and model, and after its changes were applied."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from mcp import Client

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode.models import Session
from opencode_mcp.tasks.model_selection import Selection, continue_selection
from tests.scenarios.worktrees import exists
from tests.tasks.worktree.test_worktrees import call_succeeds, run_in_worktree, shell_prompt

from .test_race_conditions import FakeOpenCode

pytestmark = pytest.mark.anyio


async def test_follow_up_changes_are_applied_after_the_first_ones(client: Client, project: Path) -> None:
    """The same lines change again, and an added file is deleted: both are applied; then discarding is allowed."""
    task = await run_in_worktree(client, "echo first > one.txt && echo first > two.txt")
    await call_succeeds(client, "collect_changes", session_id=task.session_id, apply=True)
    more = shell_prompt("echo second > one.txt && rm two.txt")
    again = await call_succeeds(client, "run_task", session_id=task.session_id, prompt=more, timeout_seconds=120)
    assert again["next"]["tool"] == "collect_changes"

    done = await call_succeeds(client, "collect_changes", session_id=task.session_id, apply=True, discard=True)

    assert done["applied_to"] == str(project) and "two.txt" in done["note"]
    assert (project / "one.txt").read_text() == "second\n"
    assert not (project / "two.txt").exists()
    assert not exists(task["directory"])


SELECTABLE: Mapping[str, Any] = {
    "app_agents": [{"name": name, "mode": "primary"} for name in ("build", "plan")],
    "config_providers": {
        "providers": [{"id": "scripted", "models": {"one": {"variants": {"high": {}, "low": {}}}, "two": {}}}],
        "default": {},
    },
    "config_get": {},
}
SESSION_MODEL = {"providerID": "scripted", "id": "one"}
ONE, TWO = ({"providerID": "scripted", "modelID": name} for name in ("one", "two"))


@pytest.mark.parametrize(
    ("named", "selection"),
    [
        ({}, {"agent": "plan", "model": ONE, "variant": "high"}),
        ({"variant": "low"}, {"agent": "plan", "model": ONE, "variant": "low"}),
        ({"model": "scripted/two"}, {"agent": "plan", "model": TWO}),
        ({"agent": "build"}, {"agent": "build"}),
        ({"agent": "plan", "model": "scripted/two"}, {"agent": "plan", "model": TWO}),
    ],
    ids=str,
)
async def test_a_follow_up_keeps_what_it_does_not_name(named: Mapping[str, str], selection: Mapping[str, Any]) -> None:
    """The agent; and with it the model and its variant. Another agent has its own model, another model its variants."""
    facts = {"agent": "plan", "model": {**SESSION_MODEL, "variant": "high"}}

    assert await select_next(facts, **named) == selection


@pytest.mark.parametrize(
    ("facts", "selection"),
    [
        ({}, {}),
        (
            {"agent": "build", "model": {**SESSION_MODEL, "variant": "default"}},
            {"agent": "build", "model": ONE},
        ),
    ],
    ids=["never prompted", "without a variant"],
)
async def test_a_follow_up_selects_nothing_that_the_session_lacks(
    facts: Mapping[str, Any], selection: Mapping[str, Any]
) -> None:
    """OpenCode then takes its defaults."""
    assert await select_next(facts) == selection


@pytest.mark.parametrize(
    ("facts", "kind", "valid"),
    [
        ({"agent": "gone"}, "agent", {"agent": "build"}),
        ({"model": {"providerID": "scripted", "id": "gone"}}, "model", {"model": "scripted/one"}),
        ({"model": {**SESSION_MODEL, "variant": "gone"}}, "variant", {"variant": "low"}),
    ],
    ids=str,
)
async def test_a_follow_up_with_an_agent_or_model_that_is_gone_is_refused(
    facts: Mapping[str, Any], kind: str, valid: dict[str, str]
) -> None:
    """OpenCode would accept the prompt and run nothing, or run it with an agent that may edit. The error says why, and
    what to pass; a name that the caller passed has no such reason."""
    with pytest.raises(WorkflowError, match=rf"unknown {kind} '.*gone', .* last prompt had: pass another `{kind}`;"):
        await select_next(facts)
    with pytest.raises(WorkflowError, match=rf"unknown {kind} 'other'; nearest"):
        await select_next(facts, **{kind: "other"})

    assert valid.keys() <= (await select_next(facts, **valid)).keys()


async def select_next(facts: Mapping[str, Any], **named: str) -> dict[str, Any]:
    """Return what the next prompt of a session with these facts selects."""
    opencode = FakeOpenCode(answers={**SELECTABLE})
    session = Session.model_validate({"id": "ses_1", "directory": "/project", "time": {"created": 1}, **facts})
    return await continue_selection(cast("Any", opencode), session, Selection(**named))
