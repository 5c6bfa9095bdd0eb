"""Tasks in worktrees, on a real OpenCode: no work is lost, and a removed worktree is reported as removed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from opencode_mcp.settings import Settings
from tests.conftest import Connect
from tests.scenarios.observed import ObservedResult
from tests.scenarios.worktrees import exists

pytestmark = pytest.mark.anyio


async def call(client: Client, tool: str, **arguments: Any) -> ObservedResult:
    """Call a tool."""
    return ObservedResult.from_result(await client.call_tool(tool, arguments))


async def call_succeeds(client: Client, tool: str, **arguments: Any) -> ObservedResult:
    """Call a tool that must succeed."""
    seen = await call(client, tool, **arguments)
    assert not seen.is_error, seen.text
    return seen


async def call_refused(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must fail, and return its error."""
    seen = await call(client, tool, **arguments)
    assert seen.is_error, seen.text
    return seen.text


def shell_prompt(*commands: str) -> str:
    """A prompt that runs shell commands."""
    calls = [{"name": "bash", "args": {"command": command, "description": "work"}} for command in commands]
    return f"script:chain {json.dumps(calls)}"


async def run_in_worktree(client: Client, *commands: str, **arguments: Any) -> ObservedResult:
    """Run shell commands as a task in a worktree."""
    settings = {"worktree": True, "permissions": "allow", "timeout_seconds": 120, **arguments}
    seen = await call_succeeds(client, "run_task", prompt=shell_prompt(*commands), **settings)
    assert seen.state == "completed", seen.text
    return seen


def git(where: Path, environ: Mapping[str, str], *arguments: str) -> str:
    """Run git as a user does."""
    done = subprocess.run(["git", *arguments], cwd=where, env=dict(environ), check=True, capture_output=True)
    return os.fsdecode(done.stdout).strip()


def changed_paths(observed: ObservedResult) -> dict[str, str]:
    """Return the status of each file of collect_changes."""
    return {file["path"]: file["status"] for file in observed["files"]}


@pytest.mark.parametrize("branch", ["feature", "develop", "detached"])
async def test_commits_of_a_task_are_applied_whatever_the_project_has_checked_out(
    client: Client, project: Path, environ: Mapping[str, str], branch: str
) -> None:
    """Everything since the base: commits, staged, unstaged, untracked; then the worktree can be discarded."""
    if branch == "develop":  # the only branch
        git(project, environ, "branch", "-m", "develop")
    elif branch == "feature":
        git(project, environ, "checkout", "-qb", "feature")
        git(project, environ, "commit", "--allow-empty", "-qm", "of the feature")
    else:
        git(project, environ, "checkout", "-q", "--detach")
    head = git(project, environ, "rev-parse", "HEAD")
    task = await run_in_worktree(
        client,
        "echo committed > one.txt && git add one.txt && git commit -qm one",
        "echo staged > two.txt && git add two.txt && echo changed >> README.md",
        "printf 'caf\\351\\n\\000' > three.bin",
    )

    shown = await call_succeeds(client, "collect_changes", session_id=task.session_id)
    assert changed_paths(shown) == {
        "README.md": "modified",
        "one.txt": "added",
        "three.bin": "added",
        "two.txt": "added",
    }
    assert task["next"] == {"tool": "collect_changes", "arguments": {"session_id": task.session_id}}
    done = await call_succeeds(client, "collect_changes", session_id=task.session_id, apply=True, discard=True)

    assert (done["applied_to"], done["discarded"]) == (str(project), True)
    assert (project / "one.txt").read_text() == "committed\n"
    assert (project / "three.bin").read_bytes() == b"caf\xe9\n\0"
    assert git(project, environ, "rev-parse", "HEAD") == head, "apply makes no commit"
    assert git(project, environ, "diff", "--cached", "--name-only") == ""
    assert not exists(task["directory"])


async def test_a_line_that_opencode_adds_to_its_config_is_named(
    client: Client, project: Path, environ: Mapping[str, str]
) -> None:
    """It adds it in the project too, so that there is nothing to apply; a task that changes no config has no note."""
    (project / "opencode.json").write_text("{}\n")
    git(project, environ, "add", "opencode.json")
    git(project, environ, "commit", "-qm", "config")
    task = await run_in_worktree(client, "true")

    shown = await call_succeeds(client, "collect_changes", session_id=task.session_id)
    assert changed_paths(shown) == {"opencode.json": "modified"}
    assert shown["note"] == "OpenCode itself adds the `$schema` line to opencode.json"
    assert task["next"] is None
    await call_succeeds(client, "collect_changes", session_id=task.session_id, discard=True)


async def test_a_discarded_worktree_is_reported_as_removed(client: Client, project: Path) -> None:
    """Changes that were not applied keep the worktree; after its removal each call says so at once."""
    task = await run_in_worktree(client, "echo committed > one.txt && git add one.txt && git commit -qm one")
    session = task.session_id

    said = await call_refused(client, "collect_changes", session_id=session, discard=True)
    assert "one.txt" in said and "force" in said
    assert exists(task["directory"])
    gone = await call_succeeds(client, "collect_changes", session_id=session, discard=True, force=True)

    assert gone["discarded"] and "applied_to" not in gone.content
    assert not (project / "one.txt").exists()
    for tool, arguments in (
        ("collect_changes", {"session_id": session}),
        ("run_task", {"session_id": session, "prompt": "script:text more"}),
    ):
        said = await call_refused(client, tool, **arguments)
        assert "was removed (discarded" in said and len(said) < 600
    report = await call_succeeds(client, "report_task", session_id=session)
    assert "was removed" in report["note"]
    assert report["next"] is None


async def test_a_worktree_removed_by_another_client_is_reported_as_removed(client: Client) -> None:
    """The user, or OpenCode's own operation, removed it."""
    task = await run_in_worktree(client, "echo one > one.txt")
    shutil.rmtree(task["directory"])

    assert "was removed" in await call_refused(client, "collect_changes", session_id=task.session_id)
    assert "was removed" in await call_refused(
        client, "run_task", session_id=task.session_id, prompt="script:text more"
    )


async def test_a_task_in_a_monorepo_package_works_in_that_folder(
    connect: Connect, attached: Settings, project: Path, environ: Mapping[str, str]
) -> None:
    """The task works in the same folder of the worktree; its changes outside of that are applied too."""
    package = project / "packages" / "one"
    package.mkdir(parents=True)
    (package / "inner.txt").write_text("inner\n")
    git(project, environ, "add", "-A")
    git(project, environ, "commit", "-qm", "package")
    async with connect(replace(attached, directory=str(package))) as client:
        task = await run_in_worktree(
            client, "echo changed >> inner.txt && echo out > ../../outside.txt && echo new > new.txt"
        )
        assert task["directory"].endswith("/packages/one")
        done = await call_succeeds(client, "collect_changes", session_id=task.session_id, apply=True, discard=True)
        listed = (await call_succeeds(client, "session_list"))["result"]

    assert set(changed_paths(done)) == {"outside.txt", "packages/one/inner.txt", "packages/one/new.txt"}
    assert done["applied_to"] == str(project)
    assert (project / "outside.txt").read_text() == "out\n"
    assert (package / "inner.txt").read_text() == "inner\nchanged\n"
    assert task.session_id in {one["id"] for one in listed}


async def test_uncommitted_files_are_named_or_copied(client: Client, project: Path) -> None:
    """A new worktree has the last commit; `include_uncommitted` adds the uncommitted files."""
    (project / "README.md").write_text("of the user\n")
    (project / "draft.txt").write_text("draft\n")
    without = await run_in_worktree(client, "cat README.md > seen.txt")
    assert "without the uncommitted changes in draft.txt, README.md;" in without["note"]
    taken = await run_in_worktree(
        client, "cat README.md draft.txt > seen.txt && echo more >> draft.txt", include_uncommitted=True
    )
    assert taken["note"] is None or "uncommitted" not in taken["note"]

    shown = await call_succeeds(client, "collect_changes", session_id=taken.session_id)
    assert changed_paths(shown) == {"draft.txt": "modified", "seen.txt": "added"}
    await call_succeeds(client, "collect_changes", session_id=taken.session_id, apply=True, discard=True)

    assert (project / "seen.txt").read_text() == "of the user\ndraft\n"
    assert (project / "draft.txt").read_text() == "draft\nmore\n"
    assert (project / "README.md").read_text() == "of the user\n"


async def test_a_worktree_needs_a_commit(
    connect: Connect, attached: Settings, tmp_path: Path, environ: Mapping[str, str]
) -> None:
    """A worktree cannot be created there; the error says what to do."""
    folder = tmp_path / "unborn"
    folder.mkdir()
    git(folder, environ, "init", "-q")
    async with connect(replace(attached, directory=str(folder))) as client:
        said = await call_refused(client, "run_task", prompt="script:text", worktree=True)
    assert "no commit yet" in said and "git commit" in said and "fatal" not in said


async def test_sessions_in_worktrees_are_listed(client: Client, project: Path) -> None:
    """The project's list has them; `scope: directory` lists only those of the folder."""
    task = await run_in_worktree(client, "true")
    everywhere = (await call_succeeds(client, "session_list"))["result"]
    here = (await call_succeeds(client, "session_list", scope="directory"))["result"]

    assert [one["id"] for one in everywhere] == [task.session_id]
    assert here == []


@pytest.mark.slow
@pytest.mark.snapshots
async def test_changes_that_a_remote_server_cannot_apply_are_named(
    connect: Connect, attached: Settings, project: Path, environ: Mapping[str, str]
) -> None:
    """A server that does not share the files uses OpenCode's operations, and loses nothing."""
    git(project, environ, "checkout", "-qb", "feature")
    nowhere = replace(attached, environ={"PATH": "/nowhere"})  # no git: as little as on another machine
    async with connect(nowhere) as client:
        text = await run_in_worktree(client, "echo text > text.txt")
        done = await call_succeeds(client, "collect_changes", session_id=text.session_id, apply=True, discard=True)
        assert done["discarded"] and (project / "text.txt").read_text() == "text\n"
        binary = await run_in_worktree(client, "printf 'a\\000b' > data.bin && printf 'caf\\351\\n' > latin.txt")
        said = await call_refused(client, "collect_changes", session_id=binary.session_id, apply=True, discard=True)
        assert "data.bin" in said and "latin.txt" in said and "git merge" in said
        committed = await call_succeeds(
            client,
            "run_task",
            worktree=True,
            permissions="allow",
            timeout_seconds=120,
            prompt='script:chain [{"name": "write", "args": {"filePath": "kept.txt", "content": "kept"}}, '
            '{"name": "bash", "args": {"command": "git add -A && git commit -qm kept", "description": "commit"}}]',
        )
        said = await call_refused(client, "collect_changes", session_id=committed.session_id, discard=True)
        assert "kept.txt" in said
        assert exists(f"{committed['directory']}/kept.txt")
        said = await call_refused(client, "run_task", prompt="script:text", worktree=True, include_uncommitted=True)
        assert "another machine" in said
