"""A % in a path: files arrive under their own name, and no task works in another directory than its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import mcp_types as types
import pytest
from mcp import Client

from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.prepare import directory_misreading
from opencode_mcp.settings import Settings
from tests.conftest import Connect, make_project
from tests.facts import facts

from .conftest import Wire

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("directory", "other"),
    [("/a%41b", "/aAb"), ("/a%20b", "/a b"), ("/a%2541", "/a%41"), ("/%C3%A9", "/é")],
)
def test_a_path_that_opencode_decodes_is_named_with_what_it_becomes(directory: str, other: str) -> None:
    problem = directory_misreading(directory)

    assert problem is not None
    assert problem.startswith(f"OpenCode decodes {directory!r} to {other!r}")


@pytest.mark.parametrize("directory", ["/a", "/100%", "/a%zz", "/a%E9b", "/a%41b 100%", "/a+b", ""])
def test_a_path_that_opencode_does_not_decode_is_accepted(directory: str) -> None:
    """1.18.33 works in directories of these names: what is no escaped text as a whole is not decoded."""
    assert directory_misreading(directory) is None


@pytest.mark.parametrize("given", [True, False], ids=["given", "default"])
async def test_no_session_is_created_where_it_would_use_another_directory(
    opencode: OpenCodeClient, wire: Wire, given: bool
) -> None:
    """Its prompts would change the files of another project."""
    arguments = {"directory": "/project%41"} if given else {}
    there = opencode if given else opencode.with_options(directory="/project%41", lacks_project=False)

    with pytest.raises(InvalidArguments, match="directory: OpenCode decodes '/project%41' to '/projectA'"):
        await there.call("session_create", **arguments)
    assert wire.requests == []
    await there.call("file_list", path=".", **arguments)
    assert wire.requests[0].url.params["directory"] == "/project%2541"


async def test_a_task_in_such_a_path_is_refused_and_files_are_read(
    connect: Connect, attached: Settings, tmp_path: Path, environ: Mapping[str, str]
) -> None:
    """The real OpenCode has one project beside the other, whose name is what the first one's is decoded to."""
    project = make_project(tmp_path / "a%41b", environ)
    other = make_project(tmp_path / "aAb", environ)
    (project / "x%42.txt").write_text("mine")
    (project / "xB.txt").write_text("another")
    place = {"directory": str(project)}

    async with connect(replace(attached, directory=str(tmp_path))) as client:  # both lie in what reads may open
        task = await client.call_tool("run_task", {"prompt": "script:write", **place})
        read = await client.call_tool("file_read", {"path": "x%42.txt", **place})
        raw = await client.call_tool("v2_fs_read", {"path": "x%42.txt", "location": place})
    async with connect() as client:
        unopened = await client.call_tool("file_read", {"path": "x%42.txt", **place})

    assert task.is_error
    assert isinstance(task.content[0], types.TextContent)
    assert f"OpenCode decodes '{project}' to '{other}'" in task.content[0].text
    assert sorted(file.name for file in other.iterdir()) == [".git", "README.md"]
    assert facts(read) == {"type": "text", "content": "mine"}
    assert facts(raw) == {"result": "mine"}
    assert unopened.is_error
    assert isinstance(unopened.content[0], types.TextContent)
    assert f"OpenCode has not loaded '{project}'" in unopened.content[0].text


async def test_a_task_may_work_in_a_worktree_of_such_a_project(
    client: Client, tmp_path: Path, environ: Mapping[str, str]
) -> None:
    """The worktree's own path has no escapes."""
    project = make_project(tmp_path / "c%41d", environ)

    asked = {"prompt": "script:text hi", "worktree": True, "directory": str(project)}
    task = await client.call_tool("run_task", asked)

    assert facts(task)["state"] == "completed"
