"""The changes of a worktree on this machine, before they are applied or discarded."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient
from opencode_mcp.tasks.metadata import TaskMetadata
from opencode_mcp.tasks.workspace import left_out_note
from opencode_mcp.tasks.worktree.git import Git
from opencode_mcp.tasks.worktree.local import TOKEN_FILE, open_local_worktree, prepare_start_point, read_local_changes

from .test_merge import LINES, Pair, change_everything, pair, read_tree

pytestmark = pytest.mark.anyio

__all__ = ["pair"]


def client(catalog: Catalog, pair: Pair) -> OpenCodeClient:
    """A client that sends no request in these tests: git reads the files."""
    return OpenCodeClient(AttachedServer(Endpoint(httpx2.URL("http://127.0.0.1:9"))), catalog, environ=pair.environ)


def make_task(pair: Pair, **facts: str) -> TaskMetadata:
    """Return the task metadata of the worktree."""
    known = {"worktree_of": str(pair.project), "worktree": str(pair.worktree), "branch": "task", "base": pair.base}
    return TaskMetadata.model_validate({**known, **facts})


def test_the_imported_fixture_is_used(pair: Pair) -> None:
    """The pair has a worktree."""
    assert (pair.worktree / ".git").is_file()


async def test_files_and_patch_say_what_changed(catalog: Catalog, pair: Pair) -> None:
    """Numbers for text, a binary patch for other files; names that are not UTF-8 are escaped."""
    change_everything(pair.worktree)
    git = Git.for_directory(str(pair.worktree), pair.environ)

    async with read_local_changes(client(catalog, pair), make_task(pair), git) as found:
        files = {one.file: one for one in await found.files()}
        patch = await found.patch()

    assert (files["text.txt"].status, files["text.txt"].additions, files["text.txt"].deletions) == ("modified", 1, 1)
    assert files["gone.txt"].status == "deleted"
    assert files["picture.bin"].additions == 0
    assert files["caf\\xe9.txt"].status == "added"
    assert "GIT binary patch" in patch


async def test_contents_are_the_same_only_for_the_same_content_and_mode(catalog: Catalog, pair: Pair) -> None:
    """A deleted file has none."""
    opencode, git = client(catalog, pair), Git.for_directory(str(pair.worktree), pair.environ)
    (pair.worktree / "gone.txt").unlink()
    found: list[dict[str, str]] = []
    for content, mode in (("one", 0o644), ("two", 0o644), ("one", 0o755), ("one", 0o644)):
        (pair.worktree / "text.txt").write_text(content)
        (pair.worktree / "text.txt").chmod(mode)
        async with read_local_changes(opencode, make_task(pair), git) as changes:
            found.append(changes.contents())

    assert [contents["gone.txt"] for contents in found] == [""] * 4
    assert len({contents["text.txt"] for contents in found}) == 3
    assert found[0] == found[3]


async def test_commits_that_only_the_branch_has_are_named(catalog: Catalog, pair: Pair) -> None:
    """The branch is removed with the worktree, also when the task has switched to another."""
    (pair.worktree / "kept.txt").write_text("kept\n")
    pair.git(pair.worktree, "add", "-A")
    pair.git(pair.worktree, "commit", "-qm", "kept")
    pair.git(pair.worktree, "checkout", "-q", "--detach", pair.base)
    git = Git.for_directory(str(pair.worktree), pair.environ)

    async with read_local_changes(client(catalog, pair), make_task(pair), git) as found:
        assert found.missing == found.unmergeable == ["1 commit that only branch task has"]


async def test_an_open_merge_of_the_user_is_not_touched(catalog: Catalog, pair: Pair) -> None:
    """A file with open conflicts in the project is named, and keeps its markers."""
    for branch, words in (("one", "eins\n"), ("two", "zwei\n")):
        pair.git(pair.project, "checkout", "-qb", branch, pair.base)
        (pair.project / "text.txt").write_text(words)
        pair.git(pair.project, "commit", "-qam", branch)
    with pytest.raises(Exception, match="merge"):
        pair.git(pair.project, "merge", "-q", "one")
    change_everything(pair.worktree)
    before = read_tree(pair.project)
    git = Git.for_directory(str(pair.worktree), pair.environ)

    async with read_local_changes(client(catalog, pair), make_task(pair), git) as found:
        with pytest.raises(WorkflowError, match=r"text\.txt.*unresolved conflicts"):
            await found.apply()

    assert read_tree(pair.project) == before


async def test_a_worktree_whose_changes_were_applied_may_be_removed(catalog: Catalog, pair: Pair) -> None:
    """Also when the user has changed the project since; not when the task has changed the worktree since."""
    (pair.worktree / "text.txt").write_text("by the task\n")
    git = Git.for_directory(str(pair.worktree), pair.environ)
    async with read_local_changes(client(catalog, pair), make_task(pair), git) as found:
        await found.apply()
        state = found.state
    (pair.project / "text.txt").write_text("changed again by the user\n")
    assert state is not None

    async with read_local_changes(client(catalog, pair), make_task(pair, collected=state), git) as found:
        assert found.missing == []
    (pair.worktree / "more.txt").write_text("more\n")
    async with read_local_changes(client(catalog, pair), make_task(pair, collected=state), git) as found:
        assert found.missing == ["more.txt"]
        await found.apply()
    assert (pair.project / "more.txt").read_text() == "more\n"
    assert (pair.project / "text.txt").read_text() == "changed again by the user\n"


async def test_only_the_worktree_with_the_task_s_token_is_used(catalog: Catalog, pair: Pair) -> None:
    """A folder with the same path on another machine is a different one."""
    opencode, task = client(catalog, pair), make_task(pair, token="0123")
    assert await open_local_worktree(opencode, task) is None
    token = await Git.for_directory(str(pair.worktree), pair.environ).git_path(TOKEN_FILE)
    token.write_text("4567")
    assert await open_local_worktree(opencode, task) is None
    token.write_text("0123")
    assert await open_local_worktree(opencode, task) is not None


async def test_a_file_that_opencode_changed_first_gets_the_project_s_version(catalog: Catalog, pair: Pair) -> None:
    """OpenCode adds `$schema` to a config file of a new worktree when it reads that, and in the project as well."""
    (pair.project / "text.txt").write_text("uncommitted\n")
    (pair.worktree / "text.txt").write_text("changed by OpenCode\n")
    (pair.worktree / "gone.txt").write_text("changed by OpenCode\n")

    await prepare_start_point(client(catalog, pair), str(pair.worktree), str(pair.project))

    assert (pair.worktree / "text.txt").read_text() == "uncommitted\n"
    assert (pair.worktree / "gone.txt").read_text() == "changed by OpenCode\n"


async def test_uncommitted_files_are_copied_unchanged(catalog: Catalog, pair: Pair) -> None:
    """They are the worktree's base: they are not the task's changes, and the project is not changed."""
    change_everything(pair.project)
    before, index = read_tree(pair.project), (pair.project / ".git" / "index").read_bytes()

    began = await prepare_start_point(client(catalog, pair), str(pair.worktree), str(pair.project))
    base = began.base
    assert base is not None and began.skipped == []

    assert read_tree(pair.worktree) == read_tree(pair.project) == before
    assert (pair.project / ".git" / "index").read_bytes() == index
    git = Git.for_directory(str(pair.worktree), pair.environ)
    async with read_local_changes(client(catalog, pair), make_task(pair, base=base), git) as found:
        assert found.tree_snapshot.changes == []
    (Path(pair.worktree) / "text.txt").write_text("by the task\n")
    async with read_local_changes(client(catalog, pair), make_task(pair, base=base), git) as found:
        await found.apply()
    assert (pair.project / "text.txt").read_text() == "by the task\n"


async def test_the_copied_uncommitted_files_survive_garbage_collection(catalog: Catalog, pair: Pair) -> None:
    """Their objects are in the worktree's git folder: `git gc` in the project does not reach them, nor a push."""
    (pair.project / "draft.txt").write_text("draft\n")
    before = pair.git(pair.project, "count-objects"), pair.git(pair.project, "for-each-ref")
    began = await prepare_start_point(client(catalog, pair), str(pair.worktree), str(pair.project))
    base = began.base
    assert base is not None and began.skipped == []
    assert (pair.git(pair.project, "count-objects"), pair.git(pair.project, "for-each-ref")) == before
    (pair.worktree / "draft.txt").write_text("draft\nmore\n")

    pair.git(pair.project, "gc", "-q", "--prune=now")

    git = Git.for_directory(str(pair.worktree), pair.environ)
    async with read_local_changes(client(catalog, pair), make_task(pair, base=base), git) as found:
        await found.apply()
    assert (pair.project / "draft.txt").read_text() == "draft\nmore\n"
    assert pair.git(pair.worktree, "fsck", "--no-dangling").strip() == ""


async def test_changes_after_an_apply_are_applied_too(catalog: Catalog, pair: Pair) -> None:
    """A follow-up edits the same lines again, reverts another change, and deletes a file that it had added."""
    git, opencode = Git.for_directory(str(pair.worktree), pair.environ), client(catalog, pair)
    (pair.worktree / "text.txt").write_text(LINES.replace("line 3\n", "first\n"))
    (pair.worktree / "run.sh").write_text("#!/bin/sh\necho first\n")
    (pair.worktree / "added.txt").write_text("first\n")
    async with read_local_changes(opencode, make_task(pair), git) as found:
        await found.apply()
        state = found.state
    assert state is not None
    (pair.project / "text.txt").write_text(LINES.replace("line 3\n", "first\n").replace("line 19\n", "by the user\n"))
    (pair.worktree / "text.txt").write_text(LINES.replace("line 3\n", "second\n"))
    (pair.worktree / "run.sh").write_text("#!/bin/sh\n")
    (pair.worktree / "added.txt").unlink()

    async with read_local_changes(opencode, make_task(pair, collected=state), git) as found:
        assert found.missing == ["added.txt", "run.sh", "text.txt"]
        assert {one.file for one in await found.files()} == {"text.txt"}
        await found.apply()

    both = LINES.replace("line 3\n", "second\n").replace("line 19\n", "by the user\n")
    assert (pair.project / "text.txt").read_text() == both
    assert (pair.project / "run.sh").read_text() == "#!/bin/sh\n"
    assert not (pair.project / "added.txt").exists()


async def test_applied_changes_that_were_undone_can_be_applied_again(catalog: Catalog, pair: Pair) -> None:
    """The user has reverted the project; applying writes the changes again."""
    git, opencode = Git.for_directory(str(pair.worktree), pair.environ), client(catalog, pair)
    (pair.worktree / "text.txt").write_text("by the task\n")
    async with read_local_changes(opencode, make_task(pair), git) as found:
        await found.apply()
        state = found.state
    assert state is not None
    pair.git(pair.project, "checkout", "-q", "text.txt")

    async with read_local_changes(opencode, make_task(pair, collected=state), git) as found:
        await found.apply()

    assert (pair.project / "text.txt").read_text() == "by the task\n"


async def test_a_nested_repository_is_named_and_not_copied(catalog: Catalog, pair: Pair) -> None:
    """git does not track its files; the note names it."""
    (pair.project / "nested").mkdir()
    pair.git(pair.project / "nested", "init", "-q")
    (pair.project / "nested" / "file").write_text("file\n")

    began = await prepare_start_point(client(catalog, pair), str(pair.worktree), str(pair.project))

    assert began.skipped == [b"nested"]
    assert "nested" in (left_out_note(began) or "")
