"""Real assistants, their models scripted, have OpenCode do a task that asks for permission: `pytest -m clients`."""

from __future__ import annotations

from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import cast

import pytest
from mcp import Client

from opencode_mcp.cli.clients import jsonc
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.settings import Settings
from opencode_mcp.skills import read_skills
from opencode_mcp.tools.definition import FOR_BOARD_ONLY
from tests.conftest import RecordFigure
from tests.scenarios.scenario_context import make_asking_project

from .assistant_scenario import AssistantRun, run_assistant
from .assistants import ASSISTANTS, Assistant, InstalledPrograms

pytestmark = [pytest.mark.anyio, pytest.mark.clients]


@pytest.fixture(scope="module", params=ASSISTANTS, ids=lambda assistant: assistant.client)
async def assistant_run(
    request: pytest.FixtureRequest,
    binaries: Path,
    program: Program,
    module_environ: Mapping[str, str],
    module_endpoint: Endpoint,
    tmp_path_factory: pytest.TempPathFactory,
) -> AssistantRun:
    """An assistant that was asked to have OpenCode run a command, in a project where commands need leave."""
    assistant = cast("Assistant", request.param)
    folder = tmp_path_factory.mktemp(assistant.client)
    project = make_asking_project(folder / "project", module_environ, {})
    settings = Settings(url=str(module_endpoint.url), password=module_endpoint.password or "", directory=str(project))
    return await run_assistant(assistant, InstalledPrograms(binaries, program), module_environ, settings, folder)


async def test_an_assistant_offers_every_tool_to_its_model(assistant_run: AssistantRun, client: Client) -> None:
    """None is dropped for its name or its schema, in any request; one for apps only may be kept from the model."""
    listed = {tool.name for tool in (await client.list_tools()).tools}
    for_model = listed - FOR_BOARD_ONLY

    assert [for_model - turn.tools for turn in assistant_run.turns] == [set[str]()] * len(assistant_run.turns)
    assert assistant_run.turns[0].tools <= listed


async def test_an_assistant_offers_the_skills_to_its_model(assistant_run: AssistantRun) -> None:
    """By their names and descriptions, from the folder where `install` has put them."""
    text = unescape(assistant_run.turns[0].text)

    assert [skill.name for skill in read_skills() if skill.frontmatter["description"][:100] not in text] == []


async def test_a_model_that_follows_the_reports_completes_a_task_that_needs_permission(
    assistant_run: AssistantRun,
) -> None:
    """It gets the permission request, allows it once, waits, and gets the report of the completed task."""
    assert assistant_run.tools[:3] == ["path_get", "run_task", "answer_permission"]
    assert set(assistant_run.tools[3:]) == {"wait_for_tasks"}
    assert assistant_run.states[:2] == ["", "waiting_permission"]
    assert assistant_run.states[-1] == "completed"
    assert assistant_run.turns[-1].results[0].content["directory"] == str(assistant_run.task.project)


async def test_the_command_runs_only_after_the_permission_is_granted(assistant_run: AssistantRun) -> None:
    """Nothing is done while leave is asked for, and what was allowed is done in the end."""
    waiting, *_ = [
        turn.done for turn in assistant_run.turns if turn.results and turn.results[-1].state == "waiting_permission"
    ]

    assert not waiting
    assert assistant_run.task.file.exists()


async def test_the_assistant_prints_the_answer_and_leaves_no_process(
    assistant_run: AssistantRun, record_figure: RecordFigure
) -> None:
    """OpenCode's answer is its last word, and our server ends with it."""
    record_figure(
        f"{assistant_run.assistant.title}: {len(assistant_run.turns[0].tools)} tools offered, "
        f"{len(assistant_run.tools)} calls, "
        f"answered in {assistant_run.seconds:.1f} s"
    )

    assert "OpenCode says: done: tool" in assistant_run.output
    assert assistant_run.remaining_processes == {}


async def test_nothing_is_left_after_uninstall(assistant_run: AssistantRun) -> None:
    """The file is as it was; one that the assistant has written as well has all that its user had there."""
    before, after = assistant_run.assistant.settings, assistant_run.restored

    assert assistant_run.remaining_files == ()
    if not assistant_run.assistant.rewrites:
        assert after == before
        return
    kept = jsonc.read(before)
    settings = jsonc.read(after)
    assert {name: settings.get(name) for name in kept} == kept
    assert "opencode" not in settings.get("mcpServers", {})
    assert [line for line in before.splitlines() if line.startswith("//") and line not in after] == []
