"""Completion of what a person types."""

from __future__ import annotations

from pathlib import Path

import anyio
import mcp_types as types
import pytest
from mcp import Client, MCPError

from opencode_mcp.server.completions import COMPLETE_SECONDS
from opencode_mcp.settings import Settings
from tests.conftest import Connect
from tests.eventually import eventually

from .conftest import new_session

pytestmark = pytest.mark.anyio

SESSION = types.ResourceTemplateReference(type="ref/resource", uri="opencode://session/{id}")
FILE = types.ResourceTemplateReference(type="ref/resource", uri="opencode://file/{+path}")
OPERATION = types.ResourceTemplateReference(type="ref/resource", uri="opencode://operation/{name}")
DELEGATE = types.PromptReference(type="ref/prompt", name="delegate_task")
REVIEW = types.PromptReference(type="ref/prompt", name="review_changes")
Reference = types.ResourceTemplateReference | types.PromptReference


async def complete(client: Client, reference: Reference, name: str, typed: str) -> types.Completion:
    """Complete what was typed for an argument."""
    return (await client.complete(reference, {"name": name, "value": typed})).completion


async def expect_completions(client: Client, reference: Reference, name: str, typed: str, values: list[str]) -> None:
    """See that these are the values, whatever their order, when OpenCode is not too busy to give any."""

    async def found() -> list[str]:
        return sorted((await complete(client, reference, name, typed)).values)

    await eventually(found, until=lambda found: found == values)


async def test_sessions_complete_by_id_and_title(client: Client) -> None:
    """The values are ids; what was typed is looked for in titles as well."""
    red = await new_session(client, title="Paint it RED")
    blue = await new_session(client, title="paint it blue")

    await expect_completions(client, SESSION, "id", "red", [red])
    await expect_completions(client, SESSION, "id", blue[-8:], [blue])
    await expect_completions(client, SESSION, "id", "", sorted((red, blue)))
    await expect_completions(client, REVIEW, "session_id", "Paint", sorted((red, blue)))
    for view in ("transcript", "diff", "todo"):
        reference = types.ResourceTemplateReference(type="ref/resource", uri=f"opencode://session/{{id}}/{view}")
        await expect_completions(client, reference, "id", "blue", [blue])


@pytest.mark.unchanged_project
async def test_agents_and_models_are_completed(client: Client) -> None:
    """What begins with it comes first; agents that OpenCode keeps to itself are no choice."""
    await expect_completions(client, DELEGATE, "agent", "BU", ["build"])
    await expect_completions(client, DELEGATE, "model", "script", ["scripted/scripted"])
    await expect_completions(client, DELEGATE, "model", "", ["scripted/scripted"])
    assert (await complete(client, DELEGATE, "agent", "compaction")).values == []


async def test_paths_are_completed(client: Client, project: Path) -> None:
    """Files of the project, by OpenCode's own search, which has to read the project first."""
    (project / "source").mkdir()
    (project / "source" / "needle.py").write_text("x\n")

    await expect_completions(client, FILE, "path", "needle", ["source/needle.py"])


@pytest.mark.unchanged_project
async def test_operations_are_completed(client: Client) -> None:
    """Operations that begin with it come first; no more than the protocol allows."""
    found = await complete(client, OPERATION, "name", "session_get")
    everything = await complete(client, OPERATION, "name", "")

    assert found.values[0] == "session_get"
    assert "v2_session_get" in found.values
    assert (len(everything.values), everything.has_more) == (100, True)
    assert found.has_more is False


@pytest.mark.unchanged_project
async def test_other_arguments_have_no_completions(client: Client) -> None:
    """Free text, other arguments, and prompts of OpenCode's own."""
    init = types.PromptReference(type="ref/prompt", name="init")

    assert (await complete(client, DELEGATE, "task", "wri")).values == []
    assert (await complete(client, init, "arguments", "x")).values == []


@pytest.mark.unchanged_project
async def test_an_unknown_template_is_an_error(client: Client) -> None:
    """It is -32602."""
    unknown = types.ResourceTemplateReference(type="ref/resource", uri="opencode://nothing/{id}")
    for reference, name in ((unknown, "id"), (SESSION, "path")):
        with pytest.raises(MCPError) as raised:
            await complete(client, reference, name, "x")

        assert raised.value.code == types.INVALID_PARAMS


async def test_without_opencode_there_are_no_values(
    connect: Connect, mode: str, unreachable_settings: Settings
) -> None:
    """That is no error, and takes no longer than a person would wait; operations are known all the same."""

    async def nothing(client: Client, reference: Reference, name: str) -> None:
        assert (await complete(client, reference, name, "")).values == []

    async with connect(unreachable_settings, mode=mode) as client:
        with anyio.fail_after(3 * COMPLETE_SECONDS):
            async with anyio.create_task_group() as tasks:
                for reference, name in ((SESSION, "id"), (FILE, "path"), (DELEGATE, "agent"), (DELEGATE, "model")):
                    tasks.start_soon(nothing, client, reference, name)
        assert (await complete(client, OPERATION, "name", "find_text")).values == ["find_text"]
