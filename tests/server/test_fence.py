"""With --allow-directory nothing is done elsewhere, by whatever tool; through an MCP client, on a real OpenCode."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client

from opencode_mcp.exceptions import SettingsError
from opencode_mcp.openapi import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from tests.conftest import Connect, make_project

pytestmark = pytest.mark.anyio


@pytest.fixture
def elsewhere(tmp_path: Path, environ: Mapping[str, str]) -> Path:
    """A project outside of what is allowed."""
    return make_project(tmp_path / "elsewhere", environ)


@pytest.fixture
async def fenced(connect: Connect, attached: Settings, project: Path) -> AsyncGenerator[Client]:
    """A client of a bridge that may work in the test's project only."""
    async with connect(replace(attached, directory="", allow_directory=str(project))) as client:
        yield client


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must be refused because of the fence; return its words."""
    result = await client.call_tool(tool, arguments)
    words = "".join(block.text for block in result.content if isinstance(block, types.TextContent))
    assert result.is_error
    assert "--allow-directory" in words
    return words


async def allowed(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool that must succeed."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


async def test_the_project_is_the_default(fenced: Client, project: Path) -> None:
    """Without --directory it is the first allowed one."""
    assert (await allowed(fenced, "path_get"))["directory"] == str(project)


async def test_operations_elsewhere(fenced: Client, elsewhere: Path, project: Path) -> None:
    """A directory outside is refused in each form that operations have for it, and through the gateway."""
    there = str(elsewhere)
    await refused(fenced, "file_list", path=".", directory=there)
    await refused(fenced, "v2_fs_list", location={"directory": there})
    await refused(fenced, "pty_create", cwd=there)
    await refused(fenced, "worktree_remove", directory=str(project), body={"directory": there})
    await refused(fenced, "read_operation", operation="file_list", arguments={"path": ".", "directory": there})
    await refused(fenced, "file_list", path=".", directory=f"{project}/../elsewhere")


async def test_sessions_elsewhere(client: Client, fenced: Client, elsewhere: Path) -> None:
    """A session that works elsewhere is out of reach, by its id too; one of the project is not."""
    foreign = (await allowed(client, "session_create", directory=str(elsewhere)))["id"]
    own = (await allowed(fenced, "session_create"))["id"]
    words = [{"type": "text", "text": "script:text hi"}]

    await refused(fenced, "session_get", sessionID=foreign)
    await refused(fenced, "session_prompt", sessionID=foreign, parts=words)
    await refused(fenced, "v2_session_get", sessionID=foreign)
    await refused(fenced, "report_task", session_id=foreign)
    await refused(fenced, "stop_task", session_id=foreign)
    await refused(fenced, "read_transcript", session_id=foreign)
    await refused(fenced, "run_task", prompt="script:text hi", session_id=foreign)
    assert not (await fenced.call_tool("session_prompt", {"sessionID": own, "parts": words})).is_error


async def test_tasks_elsewhere(fenced: Client, elsewhere: Path) -> None:
    """A task is neither started there nor given files from there."""
    await refused(fenced, "run_task", prompt="script:text hi", directory=str(elsewhere))
    await refused(fenced, "run_task", prompt="script:text hi", files=[str(elsewhere / "README.md")])
    await refused(fenced, "run_tasks", tasks=[{"prompt": "script:text hi", "directory": str(elsewhere)}])


async def test_a_task_in_a_worktree(fenced: Client) -> None:
    """OpenCode's worktrees lie elsewhere, and belong to the project."""
    report = await allowed(fenced, "run_task", prompt="script:text done", worktree=True)
    assert report["state"] == "completed"
    assert (await allowed(fenced, "collect_changes", session_id=report["session_id"], discard=True))["discarded"]


async def test_what_spans_directories(fenced: Client) -> None:
    """What tells of every directory is refused."""
    for tool in ("global_event", "v2_event_subscribe", "experimental_session_list"):
        await refused(fenced, tool)
    await refused(fenced, "sync_history_list", body={})


def test_a_default_outside_is_refused(attached: Settings, catalog: Catalog, elsewhere: Path) -> None:
    """Operations that are given no directory do not slip out by the default: the server does not start."""
    with pytest.raises(SettingsError, match="--allow-directory"):
        create_server(replace(attached, allow_directory=str(elsewhere)), catalog)
