"""Folders, branches, changes and worktrees of OpenCode 2, as tasks read them."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.scripted_model import ScriptedModel
from opencode_mcp.exceptions import APIError, WorkflowError
from opencode_mcp.opencode.engine.opencode2.engine2 import Engine2

from .client import FakeClient
from .engine_client import open_engine

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class OpenProject:
    """A project on a fake, and the engine that reads it."""

    client: FakeClient
    engine: Engine2

    @property
    def top(self) -> str:
        """The project's directory."""
        return str(self.client.directory)

    def git(self, *arguments: str) -> None:
        """Run git in the project."""
        identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        subprocess.run(["git", *identity, *arguments], cwd=self.top, check=True, capture_output=True)


@asynccontextmanager
async def open_project(model: ScriptedModel, folder: Path) -> AsyncGenerator[OpenProject]:
    """Open a project that is a repository with a commit."""
    async with open_engine(model, folder) as opened:
        project = OpenProject(opened.client, opened.engine)
        project.git("init", "-b", "main")
        project.git("add", "-A")
        project.git("commit", "-m", "first")
        yield project


async def test_folders_are_listed_by_their_names(model: ScriptedModel, tmp_path: Path, spawns: None) -> None:
    """Also below the project; one that does not exist is refused."""
    async with open_project(model, tmp_path) as project:
        (project.client.directory / "src" / "deep").mkdir(parents=True)
        (project.client.directory / "src" / "a.py").touch()
        assert {"README.md", "src"} <= {*await project.engine.list_files(project.top, ".")}
        assert await project.engine.list_files(project.top, "src") == ["a.py", "deep"]
        for directory, path in ((f"{project.top}/none", "."), (project.top, "none")):
            with pytest.raises(APIError) as refused:
                await project.engine.list_files(directory, path)
            assert refused.value.status == 404


async def test_a_directory_is_in_a_working_tree(model: ScriptedModel, tmp_path: Path, spawns: None) -> None:
    """The top is that of the nearest working tree; without git there is none, as in OpenCode 1."""
    (tmp_path / "plain").mkdir()
    async with open_project(model, tmp_path) as project:
        (project.client.directory / "src").mkdir()
        below = await project.engine.read_paths(f"{project.top}/src")
        assert (below.directory, below.worktree) == (f"{project.top}/src", project.top)
        assert (await project.engine.read_paths(str(tmp_path / "plain"))).worktree == "/"
        assert (await project.engine.read_branch(project.top)).branch == "main"


async def test_uncommitted_changes_have_patches(model: ScriptedModel, tmp_path: Path, spawns: None) -> None:
    """With little around a change, as git shows it; the list has none."""
    async with open_project(model, tmp_path) as project:
        lines = [f"line {number}\n" for number in range(50)]
        (project.client.directory / "long.txt").write_text("".join(lines))
        project.git("add", "-A")
        project.git("commit", "-m", "second")
        (project.client.directory / "long.txt").write_text("".join([*lines[:-1], "changed\n"]))
        (project.client.directory / "new.txt").write_text("new\n")
        uncommitted = await project.engine.list_uncommitted(project.top)
        assert {change.file: (change.status, change.patch) for change in uncommitted} == {
            "long.txt": ("modified", ""),
            "new.txt": ("added", ""),
        }
        changes = {change.file: change.patch for change in await project.engine.diff_files(project.top, "git")}
        assert "+changed" in changes["long.txt"] and "line 0\n" not in changes["long.txt"]
        assert "+new" in changes["new.txt"]


async def test_a_turn_has_changes(model: ScriptedModel, tmp_path: Path, spawns: None) -> None:
    """Of the prompt that began it; one that waits in the inbox has none."""
    async with open_project(model, tmp_path) as project:
        session_id = await project.client.run("script:write")
        first = (await project.client.messages(session_id))[0]["id"]
        await project.client.prompt(session_id, "script:text later")
        await project.client.wait(session_id)
        second = [item["id"] for item in await project.client.messages(session_id) if item["type"] == "user"][-1]
        held = await project.client.prompt(session_id, "script:text held", resume=False)
        [written] = await project.engine.diff_turn(session_id, first)
        assert written.status == "added" and written.patch
        assert await project.engine.diff_turn(session_id, second) == []
        assert await project.engine.diff_turn(session_id, held) == []
        with pytest.raises(APIError):
            await project.engine.diff_turn("ses_0123456789abcdefghijklmn", first)


async def test_worktrees_are_made_listed_and_removed(model: ScriptedModel, tmp_path: Path, spawns: None) -> None:
    """From the commit of the working tree that the directory is in; the main checkout is not among them."""
    async with open_project(model, tmp_path) as project:
        first = await project.engine.create_worktree(project.top)
        (Path(first.directory) / "more.txt").write_text("more\n")
        project.git("-C", first.directory, "add", "-A")
        project.git("-C", first.directory, "commit", "-m", "in the worktree")
        second = await project.engine.create_worktree(first.directory)
        assert first.branch and second.branch and first.branch != second.branch
        assert (Path(second.directory) / "more.txt").is_file()
        assert {*await project.engine.list_worktrees(project.top)} == {first.directory, second.directory}
        assert (await project.engine.read_paths(second.directory)).worktree == second.directory
        (Path(first.directory) / "untracked.txt").touch()
        await project.engine.remove_worktree(project.top, first.directory)
        assert await project.engine.list_worktrees(project.top) == [second.directory]


async def test_a_patch_is_refused_with_what_to_do(model: ScriptedModel, tmp_path: Path, spawns: None) -> None:
    """Nothing is sent."""
    async with open_project(model, tmp_path) as project:
        before = len(project.client.fake.contract.requests)
        with pytest.raises(WorkflowError, match=r"git apply"):
            await project.engine.apply_patch(project.top, "diff --git a/a b/a\n")
        assert len(project.client.fake.contract.requests) == before
