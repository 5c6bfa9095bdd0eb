"""Real assistants, their models scripted, have OpenCode do a task that asks for permission: `pytest -m clients`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest
from mcp import Client

from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.install import Program
from opencode_mcp.settings import Settings
from tests.conftest import Note
from tests.workflows.bench import QUICK, project_that_asks

from .assistant_errand import Outing, go
from .assistants import ASSISTANTS, Assistant, Installed

pytestmark = [pytest.mark.anyio, pytest.mark.clients]


@pytest.fixture(scope="module", params=ASSISTANTS, ids=lambda assistant: assistant.client)
async def outing(
    request: pytest.FixtureRequest,
    binaries: Path,
    program: Program,
    module_environ: Mapping[str, str],
    module_endpoint: Endpoint,
    tmp_path_factory: pytest.TempPathFactory,
) -> Outing:
    """An assistant that was asked to have OpenCode run a command, in a project where commands need leave."""
    assistant = cast("Assistant", request.param)
    folder = tmp_path_factory.mktemp(assistant.client)
    project = project_that_asks(folder / "project", module_environ, QUICK)
    settings = Settings(url=str(module_endpoint.url), password=module_endpoint.password or "", directory=str(project))
    return await go(assistant, Installed(binaries, program), module_environ, settings, folder)


async def test_an_assistant_offers_every_tool_to_its_model(outing: Outing, client: Client) -> None:
    """None is dropped for its name or its schema, in any request."""
    listed = {tool.name for tool in (await client.list_tools()).tools}

    assert [listed - turn.offered for turn in outing.turns] == [set[str]()] * len(outing.turns)
    assert outing.turns[0].offered == listed


async def test_a_model_that_does_what_reports_say_gets_a_task_done_that_asks_for_leave(outing: Outing) -> None:
    """It is told of the permission, answers it once, waits, and is told that the task is completed."""
    assert outing.tools[:3] == ["path_get", "run_task", "answer_permission"]
    assert set(outing.tools[3:]) == {"wait_for_tasks"}
    assert outing.states[:2] == ["", "waiting_permission"]
    assert outing.states[-1] == "completed"
    assert outing.turns[-1].results[0].facts["directory"] == str(outing.errand.project)


async def test_the_command_runs_after_the_answer_and_not_before(outing: Outing) -> None:
    """Nothing is done while leave is asked for, and what was allowed is done in the end."""
    waiting, *_ = [
        turn.done for turn in outing.turns if turn.results and turn.results[-1].state == "waiting_permission"
    ]

    assert not waiting
    assert outing.errand.file.exists()


async def test_the_assistant_says_the_answer_and_leaves_nothing_running(outing: Outing, figures: Note) -> None:
    """OpenCode's answer is its last word, and our server ends with it."""
    figures(
        f"{outing.assistant.title}: {len(outing.turns[0].offered)} tools offered, {len(outing.tools)} calls, "
        f"answered in {outing.seconds:.1f} s"
    )

    assert "OpenCode says: done: tool" in outing.output
    assert outing.left == {}
