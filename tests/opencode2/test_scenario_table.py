"""The scenario table on the fake: every row is accounted for, and played as far as it can be."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from examples.scripted_model import ScriptedModel
from opencode_mcp.settings import Settings
from opencode_mcp.tasks import TASK_TOOLS
from tests.bridge import kill_opencode
from tests.eventually import eventually
from tests.scenarios import SCENARIOS
from tests.scenarios.observed import ObservedResult
from tests.scenarios.scenario import check_result, run_scenario

from .scenario_context import TRANSLATIONS, UNTRANSLATED, open_opencode2_context
from .scenario_table import DIFFERS, NOT_PLAYABLE, OPTIONS, SAMPLE, Difference, playable

pytestmark = pytest.mark.anyio

ROWS = {scenario.name: (number, scenario) for number, scenario in enumerate(SCENARIOS, 3001)}
CALLED = re.compile(r'call_tool\(\s*"(\w+)"')


def test_every_row_is_accounted_for() -> None:
    """A row that is renamed stays in its table, and one that is not played has no other entry."""
    assert NOT_PLAYABLE.keys() | DIFFERS.keys() | OPTIONS.keys() | {*SAMPLE} <= ROWS.keys()
    assert not NOT_PLAYABLE.keys() & (DIFFERS.keys() | OPTIONS.keys() | {*SAMPLE})
    assert len({*playable()} | NOT_PLAYABLE.keys()) == len(SCENARIOS)


def test_every_operation_that_scenarios_call_is_translated() -> None:
    """Or it is said why not."""
    folder = Path(__file__).parent.parent / "scenarios"
    called = {name for path in folder.glob("*.py") for name in CALLED.findall(path.read_text())}
    assert called - TASK_TOOLS.keys() - TRANSLATIONS.keys() == UNTRANSLATED.keys()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Play a sample of the rows, or all of them with --opencode2."""
    if "row" in metafunc.fixturenames:
        metafunc.parametrize("row", playable() if metafunc.config.getoption("--opencode2") else SAMPLE)


async def test_a_row_is_played(row: str, model: ScriptedModel, tmp_path: Path, spawns: None) -> None:
    """With no request and no answer that breaks the contract; what differs must differ."""
    number, scenario = ROWS[row]
    difference = DIFFERS.get(row, Difference(""))
    options = OPTIONS.get(row, {})
    async with open_opencode2_context(model, tmp_path, f"row{number}x", scenario.config, **options) as (ctx, fake):
        if difference.fails:
            with pytest.raises(AssertionError, match=difference.fails):
                await run_scenario(scenario, ctx)
        else:
            observed = await run_scenario(difference.applied_to(scenario), ctx)
            if row in DIFFERS:
                with pytest.raises(AssertionError, match="expected "):
                    check_result(scenario, observed)
    assert (fake.contract.faults, fake.answer_faults, fake.not_played) == ([], [], [])


async def test_what_stands_for_the_operations_of_opencode_1(model: ScriptedModel, tmp_path: Path, spawns: None) -> None:
    """Through an MCP client, in OpenCode 1's form."""
    async with open_opencode2_context(model, tmp_path, "row4001x") as (ctx, fake):
        directory, session_id = str(ctx.project), await ctx.create_session()
        parts = [{"type": "text", "text": f"script:task script:bash {ctx.key}"}]
        await ctx.call_tool("session_prompt_async", sessionID=session_id, parts=parts)
        asked = await eventually(
            lambda: ctx.call_tool("permission_list", directory=directory), lambda found: found["result"]
        )
        [request] = asked["result"]
        [child] = (await ctx.call_tool("session_children", sessionID=session_id))["result"]
        assert request["sessionID"] == child["id"]
        assert (await ctx.call_tool("session_status", directory=directory)).content.keys() == {session_id, child["id"]}
        await ctx.call_tool("permission_reply", requestID=request["id"], directory=directory, reply="once")
        await eventually(
            lambda: ctx.call_tool("session_status", directory=directory), lambda found: found.content == {}
        )
        listed = (await ctx.call_tool("session_messages", sessionID=session_id))["result"]
        assert [message["info"]["role"] for message in listed] == ["user", "assistant", "assistant"]
        assert listed[-1]["parts"][0]["text"] == "done: task"
        await ctx.call_tool(
            "session_prompt_async", sessionID=session_id, parts=[{"type": "text", "text": "script:question"}]
        )
        [form] = (
            await eventually(lambda: ctx.call_tool("question_list", directory=directory), lambda found: found["result"])
        )["result"]
        await ctx.call_tool("question_reply", requestID=form["id"], directory=directory, answers=[["Red"]])
        await ctx.call_tool("session_abort", sessionID=session_id)
        assert (await ctx.call_tool("worktree_list", directory=directory))["result"] == []
        roots = await ctx.call_tool("session_list", directory=directory, scope="project", roots=True)
        assert [(item["id"], item["directory"]) for item in roots["result"]] == [(session_id, directory)]
        await ctx.call_tool("session_delete", sessionID=session_id)
        assert (await ctx.call_tool("session_list", directory=directory))["result"] == []
    assert (fake.contract.faults, fake.answer_faults, fake.not_played) == ([], [], [])


async def test_an_opencode_that_a_scenario_starts_is_a_fake_too(
    model: ScriptedModel, tmp_path: Path, spawns: None
) -> None:
    """A bridge starts it on data of its own, and again after it was killed: the session is still there."""
    async with open_opencode2_context(model, tmp_path, "row4002x") as (ctx, fake):
        mark = "OPENCODE_MCP_TEST_ROW=row4002x"
        environ = {**ctx.shared.environ, "OPENCODE_MCP_TEST_ROW": ctx.key}
        settings = Settings(command=ctx.shared.program.command, directory=str(ctx.project), environ=environ)
        async with ctx.open_bridge(settings) as client:
            managed = replace(ctx, client=client, settings=settings)
            session_id = await managed.create_session()
            await managed.ask("session_prompt", sessionID=session_id, text="script:hang")
            await eventually(lambda: managed.ask("session_message_list", sessionID=session_id), has_assistant)
            kill_opencode(mark)
            found = await eventually(lambda: managed.call_tool("session_get", sessionID=session_id), has_data)
            assert found["data"]["id"] == session_id
            assert (await managed.ask("session_active"))["data"] == {}
    assert fake.contract.requests == []


def has_assistant(listed: dict[str, Any]) -> bool:
    """Whether the model has begun to answer."""
    return any(message["type"] == "assistant" for message in listed["data"])


def has_data(observed: ObservedResult) -> bool:
    """Whether a call was answered, and not refused as its OpenCode had just ended."""
    return "data" in observed.content
