"""Ignored files that `.worktreeinclude` names: which are copied to a worktree, and what becomes of the copies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode.models import ProjectPath, Session, parse_model
from opencode_mcp.tasks.changes import CollectChanges, collect_from_worktree
from opencode_mcp.tasks.metadata import with_task_metadata
from opencode_mcp.tasks.workspace import not_included_note
from opencode_mcp.tasks.worktree import copies
from opencode_mcp.tasks.worktree.copies import copy_included
from opencode_mcp.tasks.worktree.git import Git
from opencode_mcp.tasks.worktree.local import LocalChanges, read_local_changes
from tests.tasks.test_race_conditions import FakeOpenCode

from .test_local import client, make_task
from .test_merge import Pair, pair

pytestmark = pytest.mark.anyio

__all__ = ["pair"]

IGNORED = {
    ".env": "KEY=project\n",
    "ignored/one.txt": "one\n",
    "ignored/deep/two.txt": "two\n",
    "ignored/big.bin": "big\n",
    "deep/app.log": "log\n",
    "caf\udce9.log": "latin\n",
}
"""Files of the project that git ignores."""


@pytest.fixture
def filled(pair: Pair) -> Pair:
    """A project with ignored files, of which `.worktreeinclude` names all but one, and with some that it must not copy.

    `late.cfg` is ignored in the project only: the worktree's commit does not ignore it.
    """
    (pair.project / ".gitignore").write_text("ignored/\n*.log\n.env\n*.sock\n")
    pair.git(pair.project, "commit", "-qam", "ignore more")
    pair.git(pair.worktree, "merge", "-q", "develop")
    for name, content in {**IGNORED, "untracked.txt": "new\n", "late.cfg": "late\n"}.items():
        (pair.project / name).parent.mkdir(parents=True, exist_ok=True)
        (pair.project / name).write_text(content)
    (pair.project / ".gitignore").write_text("ignored/\n*.log\n.env\n*.sock\nlate.cfg\n")
    (pair.project / "ignored" / "link").symlink_to(pair.project.parent)
    (pair.project / "ignored" / "deep").chmod(0o700)
    (pair.project / ".env").chmod(0o600)
    named = "# local files\n.env\nignored/**\n!big.bin\n*.log\nuntracked.txt\ntext.txt\nlate.cfg\n"
    (pair.project / ".worktreeinclude").write_text(named)
    return pair


async def copy(pair: Pair) -> str | None:
    """Copy what the project includes, and return the note."""
    project, worktree = (Git.for_directory(str(place), pair.environ) for place in (pair.project, pair.worktree))
    return await copy_included(project, worktree)


async def read_changes(catalog: Catalog, pair: Pair) -> tuple[LocalChanges, str]:
    """Return the changes in the worktree and their patch."""
    base = pair.git(pair.project, "rev-parse", "HEAD").strip()
    worktree = Git.for_directory(str(pair.worktree), pair.environ)
    async with read_local_changes(client(catalog, pair), make_task(pair, base=base), worktree) as found:
        return found, await found.patch()


def paths_below(folder: Path) -> set[str]:
    """Return the relative paths of all files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() or path.is_symlink()}


async def test_only_ignored_files_that_are_named_are_copied(filled: Pair) -> None:
    """As .gitignore's syntax names them; no tracked or untracked file, no link, and none that the worktree tracks."""
    before = paths_below(filled.worktree)

    note = await copy(filled)

    assert paths_below(filled.worktree) - before == IGNORED.keys() - {"ignored/big.bin"}
    assert (filled.worktree / ".env").read_text() == "KEY=project\n"
    assert (filled.worktree / ".env").stat().st_mode & 0o777 == 0o600
    assert (filled.worktree / "ignored" / "deep").stat().st_mode & 0o777 == 0o700
    assert note is not None
    assert note.startswith("5 files copied") and "not ignored/link, late.cfg" in note
    assert filled.git(filled.worktree, "status", "--porcelain") == ""


async def test_a_project_without_the_file_has_no_copies(pair: Pair) -> None:
    """Nothing is copied, and the report has no note."""
    (pair.project / "ignored").mkdir()
    (pair.project / "ignored" / "one.txt").write_text("one")

    assert await copy(pair) is None
    assert not (pair.worktree / "ignored").exists()


async def test_a_file_of_the_worktree_is_not_replaced(filled: Pair) -> None:
    """Neither a file, nor what a link leads to."""
    outside = filled.project.parent / "outside"
    outside.mkdir()
    (filled.worktree / ".env").write_text("KEY=worktree\n")
    (filled.worktree / "ignored").symlink_to(outside)

    await copy(filled)

    assert (filled.worktree / ".env").read_text() == "KEY=worktree\n"
    assert not [*outside.iterdir()]


@pytest.mark.parametrize(("limit", "most"), [("MAX_FILES", 4), ("MAX_BYTES", 20)])
async def test_too_many_files_are_an_error(
    filled: Pair, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    """None is copied."""
    monkeypatch.setattr(copies, limit, most)

    with pytest.raises(WorkflowError, match=r"\.worktreeinclude names 5 files with .* at most"):
        await copy(filled)
    assert not (filled.worktree / ".env").exists()


async def test_copies_are_no_changes(catalog: Catalog, filled: Pair) -> None:
    """Also when the task stops to ignore them, adds or commits them: a secret does not come back."""
    await copy(filled)
    found, _ = await read_changes(catalog, filled)
    assert (found.tree_snapshot.changes, found.missing, found.unmergeable) == ([], [], [])

    (filled.worktree / ".gitignore").write_text("")
    filled.git(filled.worktree, "add", "-f", "ignored/one.txt", "deep/app.log")
    filled.git(filled.worktree, "commit", "-qm", "all", "ignored/one.txt")
    found, patch = await read_changes(catalog, filled)

    assert [change.path for change in found.tree_snapshot.changes] == [b".gitignore"]
    assert "KEY" not in patch
    await found.project.run("status")


async def test_a_changed_copy_is_not_lost(catalog: Catalog, filled: Pair) -> None:
    """It is named, and keeps the worktree from being discarded, until the project has its content."""
    await copy(filled)
    (filled.worktree / ".env").write_text("KEY=changed\n")
    os.utime(filled.worktree / "deep" / "app.log")  # the same content, written again
    (filled.worktree / "ignored" / "one.txt").unlink()

    found, patch = await read_changes(catalog, filled)
    assert found.missing == found.unmergeable == [".env (ignored by git, changed since it was copied)"]
    assert found.note is not None and "not included: .env" in found.note
    assert "KEY" not in patch

    (filled.project / ".env").write_text("KEY=changed\n")
    found, _ = await read_changes(catalog, filled)
    assert found.missing == []


async def test_a_changed_copy_is_not_said_to_be_applied(catalog: Catalog, filled: Pair) -> None:
    """Where nothing else has changed, the project has nothing of the task's."""
    await copy(filled)
    (filled.worktree / ".env").write_text("KEY=changed\n")
    task = make_task(filled, base=filled.git(filled.project, "rev-parse", "HEAD").strip())
    facts = {
        "id": "ses_1",
        "directory": task.worktree,
        "time": {"created": 1},
        "metadata": with_task_metadata({}, task),
    }
    opencode: Any = FakeOpenCode(answers={"session_get": facts, "session_update": facts})
    session, worktree = (
        parse_model("a session", Session, facts),
        Git.for_directory(str(filled.worktree), filled.environ),
    )
    arguments = CollectChanges.model_validate({"session_id": "ses_1", "apply": True})

    async with read_local_changes(client(catalog, filled), task, worktree) as found:
        collected = await collect_from_worktree(opencode, session, task, arguments, found)

    assert collected.applied_to is None
    assert "not included: .env" in str(collected.note)
    assert (filled.project / ".env").read_text() == "KEY=project\n"


async def test_a_record_that_cannot_be_read_is_an_error(catalog: Catalog, filled: Pair) -> None:
    """Nothing is taken for unchanged."""
    await copy(filled)
    worktree = Git.for_directory(str(filled.worktree), filled.environ)
    (await worktree.git_path(copies.RECORD_FILE)).write_text('{"ignored": {}}')

    with pytest.raises(WorkflowError, match="cannot be read"):
        await read_changes(catalog, filled)


@pytest.mark.parametrize(("names", "noted"), [([".worktreeinclude", "a.txt"], True), (["a.txt"], False)])
async def test_files_on_another_machine_are_not_copied(names: list[str], noted: bool) -> None:
    """The report says so, for a project that has the file."""
    opencode: Any = FakeOpenCode(answers={"file_list": [{"name": name} for name in names]})
    project = ProjectPath(directory="/project", worktree="/project")

    note = await not_included_note(opencode, project)

    assert (note is not None and "not copied" in note) == noted
