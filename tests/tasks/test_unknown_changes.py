"""The changes of a turn have numbers only where they are known, on a real OpenCode."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from opencode_mcp.settings import Settings
from tests.conftest import Connect
from tests.tasks.worktree.test_worktrees import call, call_refused, call_succeeds, run_in_worktree

pytestmark = pytest.mark.anyio

WRITES = f"script:tool write {json.dumps({'filePath': 'new.txt', 'content': 'new'})}"


def non_utf8_path(project: Path) -> Path:
    """A file whose name is not UTF-8."""
    return Path(os.fsdecode(os.fsencode(project) + b"/caf\xe9.txt"))


async def test_changes_in_a_folder_without_git_are_unknown(
    connect: Connect, attached: Settings, tmp_path: Path
) -> None:
    """Neither OpenCode nor git knows them: the report says so, instead of an empty list."""
    folder = tmp_path / "plain"
    folder.mkdir()
    async with connect(replace(attached, directory=str(folder))) as client:
        talk = await call_succeeds(client, "run_task", prompt="script:text only", timeout_seconds=120)
        seen = await call_succeeds(client, "run_task", prompt=WRITES, timeout_seconds=120)
        said = await call_refused(client, "collect_changes", session_id=seen.session_id)
        listed = (await call_succeeds(client, "session_list"))["result"]

    assert talk["changes"] is None
    assert "files" not in seen["changes"] and "not in a git repository" in seen["changes"]["unknown"]
    assert "not in a git repository" in said
    assert {one["directory"] for one in listed} == {str(folder)}


async def test_changes_without_snapshots_are_unknown(connect: Connect, attached: Settings, project: Path) -> None:
    """git lists uncommitted files; they are not reported as the turn's changes."""
    (project / "opencode.json").write_text('{"snapshot": false}')
    async with connect(replace(attached, directory=str(project))) as client:
        seen = await call_succeeds(client, "run_task", prompt=WRITES, timeout_seconds=120)
        collected = await call_succeeds(client, "collect_changes", session_id=seen.session_id)

    assert "files" not in seen["changes"] and "`snapshot` is false" in seen["changes"]["unknown"]
    assert "new.txt" in seen["changes"]["paths"]
    assert "new.txt" in {one["path"] for one in collected["files"]}
    assert "`snapshot` is false" in collected["note"] and "uncommitted" in collected["note"]


@pytest.mark.snapshots
async def test_changes_with_a_file_name_that_is_not_utf8_are_unknown(
    connect: Connect, attached: Settings, project: Path
) -> None:
    """One such name prevents new snapshots in OpenCode, whose sum is then empty."""
    non_utf8_path(project).write_bytes(b"odd")
    async with connect(replace(attached, directory=str(project))) as client:
        seen = await call_succeeds(client, "run_task", prompt=WRITES, timeout_seconds=120)

    assert "files" not in seen["changes"] and "not UTF-8" in seen["changes"]["unknown"]


@pytest.mark.snapshots
async def test_changes_in_a_worktree_need_no_snapshots(
    connect: Connect, attached: Settings, project: Path, environ: Mapping[str, str]
) -> None:
    """There git knows all changes since the worktree was created, in files with any name."""
    async with connect(replace(attached, directory=str(project))) as client:
        seen = await run_in_worktree(client, "printf odd > \"$(printf 'caf\\351.txt')\" && echo new > new.txt")
        assert set(seen["changes"]["paths"]) == {"caf\\xe9.txt", "new.txt"}
        assert "not UTF-8" in seen["changes"]["unknown"]
        await call_succeeds(client, "collect_changes", session_id=seen.session_id, apply=True, discard=True)
        assert (await call(client, "collect_changes", session_id=seen.session_id)).is_error

    assert non_utf8_path(project).read_bytes() == b"odd"
