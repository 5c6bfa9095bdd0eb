"""What only reads opens no directory, as that runs what is in it; through an MCP client, on a real OpenCode."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from opencode_mcp.settings import Settings
from tests.conftest import Connect, make_project
from tests.facts import facts

pytestmark = pytest.mark.anyio

PLUGIN = """import fs from "fs"
export const Mark = async () => { fs.writeFileSync(%s, "ran"); return {} }
"""


@pytest.fixture
def cloned_project(tmp_path: Path, environ: Mapping[str, str]) -> Path:
    """A repository with a plugin, as anybody may have published it; `ran` beside it appears once the plugin has run."""
    folder = tmp_path / "cloned"
    folder.mkdir()
    (folder / "mark.js").write_text(PLUGIN % json.dumps(str(tmp_path / "ran")))
    (folder / "opencode.json").write_text(json.dumps({"plugin": ["./mark.js"]}))
    return make_project(folder, environ)


async def call_refused(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must be refused as it would open a directory; return its words."""
    result = await client.call_tool(tool, arguments)
    words = str(result.content)
    assert result.is_error, words
    assert "has not loaded" in words
    return words


async def is_readable(client: Client, directory: Path | str) -> bool:
    """Whether a tool that only reads may name a directory."""
    result = await client.call_tool("file_list", {"path": ".", "directory": str(directory)})
    assert not result.is_error or "has not loaded" in str(result.content), result.content
    return not result.is_error


async def test_a_read_does_not_load_a_directory(connect: Connect, cloned_project: Path, tmp_path: Path) -> None:
    """In each form, the gateway's included; the error names what opens it, and once that has, it can be read."""
    there = str(cloned_project)
    async with connect() as client:
        words = await call_refused(client, "file_list", path=".", directory=there)
        await call_refused(client, "v2_agent_list", location={"directory": there})
        await call_refused(client, "read_operation", operation="vcs_get", arguments={"directory": there})
        await call_refused(client, "session_list", directory=there)
        await call_refused(client, "path_get", directory="cloned")
        assert not (await client.call_tool("v2_session_list", {"directory": there})).is_error  # reads the database only
        assert not (tmp_path / "ran").exists()

        assert "session_create" in words
        assert not (await client.call_tool("session_create", {"directory": there})).is_error
        assert await is_readable(client, cloned_project)
        assert (tmp_path / "ran").exists()


async def test_a_loaded_directory_can_be_read(
    connect: Connect, attached: Settings, environ: Mapping[str, str], project: Path, tmp_path: Path
) -> None:
    """What lies below the project, in an allowed directory, or in a project that another bridge has opened."""
    (project / "src").mkdir()
    other, fresh = make_project(tmp_path / "other", environ), make_project(tmp_path / "fresh", environ)
    plain = tmp_path / "plain"
    plain.mkdir()
    (other / "src").mkdir()
    (project / "link").symlink_to(plain)
    async with connect() as client, connect(replace(attached, directory=str(other))) as another:
        assert await is_readable(client, project / "src")
        assert not await is_readable(client, project / "link")
        assert not await is_readable(client, f"{project}/../other")
        assert not (await another.call_tool("path_get", {})).is_error
        assert await is_readable(client, other / "src")
        assert not await is_readable(client, plain)  # without a repository, and with no session yet
        assert not (await another.call_tool("session_create", {"directory": str(plain)})).is_error
        assert await is_readable(client, plain)
    confined = replace(attached, directory=None, allow_directory=(str(project), str(fresh)))
    async with connect(confined) as client:
        assert await is_readable(client, fresh)


async def test_read_only_loads_no_other_directory(
    connect: Connect, attached: Settings, cloned_project: Path, project: Path, tmp_path: Path
) -> None:
    """Only the configured one, and those where OpenCode has sessions: not even what lies in the project."""
    (project / "src").mkdir()
    async with connect() as client, connect(replace(attached, read_only=True)) as reader:
        assert await is_readable(reader, project)
        assert not await is_readable(reader, project / "src")
        words = await call_refused(reader, "file_list", path=".", directory=str(cloned_project))
        assert "--read-only" in words
        assert not (tmp_path / "ran").exists()

        assert not (await client.call_tool("session_create", {"directory": str(cloned_project)})).is_error
        assert await is_readable(reader, cloned_project)


async def test_no_destructive_loads_no_directory(
    connect: Connect, attached: Settings, cloned_project: Path, project: Path, tmp_path: Path
) -> None:
    """To open one runs commands, so that a session cannot be created there either."""
    (project / "src").mkdir()
    async with connect(replace(attached, no_destructive=True)) as client:
        for tool in ("session_create", "file_status"):
            assert "--no-destructive" in await call_refused(client, tool, directory=str(cloned_project))
        await call_refused(client, "v2_session_create", location={"directory": str(cloned_project)})
        assert await is_readable(client, project / "src")
        assert not (tmp_path / "ran").exists()


async def test_a_file_of_another_folder_is_attached_without_loading_it(
    connect: Connect, cloned_project: Path, tmp_path: Path
) -> None:
    """Its plugins do not run, whether the file is there or not."""
    async with connect() as client:
        found = await client.call_tool(
            "run_task", {"prompt": "script:text x", "files": [f"{cloned_project}/readme.md"]}
        )
        missing = await client.call_tool(
            "run_task", {"prompt": "script:text x", "files": [f"{cloned_project}/READNE.md"]}
        )
        assert not found.is_error, found.content
        session = {"sessionID": facts(found)["session_id"]}
        messages = str(facts(await client.call_tool("session_messages", session)))

    assert "hello from the project" in messages
    assert missing.is_error and "nearest: README.md" in str(missing.content), missing.content
    assert not (tmp_path / "ran").exists()
