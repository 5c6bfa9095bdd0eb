"""Work that git alone would delete or miss: the user's in the project, and the task's in its worktree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.tasks.worktree.git import Git, scratch_folder
from opencode_mcp.tasks.worktree.local import read_local_changes
from opencode_mcp.tasks.worktree.snapshot import snapshot_tree

from .test_local import client, make_task
from .test_merge import Pair, pair, read_tree

pytestmark = pytest.mark.anyio

__all__ = ["pair"]


def ignored_folder(pair: Pair) -> None:
    """The task has created a file where the user has a folder of ignored files."""
    (pair.project / "ignored").mkdir()
    (pair.project / "ignored" / "mine").write_text("of the user\n")
    (pair.worktree / "ignored").write_text("a file\n")


def ignored_file_inside(pair: Pair) -> None:
    """The task has replaced a folder by a file; the user has an ignored file in that folder."""
    (pair.project / "deep" / "folder" / "mine.log").write_text("of the user\n")
    (pair.worktree / "deep" / "folder" / "inner.txt").unlink()
    (pair.worktree / "deep" / "folder").rmdir()
    (pair.worktree / "deep" / "folder").write_text("a file now\n")


def ignored_file_above(pair: Pair) -> None:
    """The task has created a folder where the user has an ignored file."""
    (pair.project / "trace.log").write_text("of the user\n")
    (pair.worktree / "trace.log").mkdir()
    (pair.worktree / "trace.log" / "inner").write_text("of the task\n")
    pair.git(pair.worktree, "add", "-f", "trace.log/inner")


def link_above(pair: Pair) -> None:
    """The task has created a folder where the user has a link to a folder outside."""
    (pair.project.parent / "outside").mkdir()
    (pair.project / "way").symlink_to(pair.project.parent / "outside")
    (pair.worktree / "way").mkdir()
    (pair.worktree / "way" / "inner").write_text("of the task\n")


def ignored_link_above(pair: Pair) -> None:
    """The same, with an ignored link."""
    link_above(pair)
    (pair.project / ".git" / "info" / "exclude").write_text("way\n")
    pair.git(pair.worktree, "add", "-f", "way/inner")


@pytest.mark.parametrize(
    "prepared", [ignored_folder, ignored_file_inside, ignored_file_above, link_above, ignored_link_above]
)
async def test_no_user_file_is_removed_for_a_merged_one(pair: Pair, prepared: Callable[[Pair], None]) -> None:
    """git deletes ignored files and links that are in the way; here they are a conflict, and nothing is written."""
    prepared(pair)
    (pair.worktree / "text.txt").write_text("by the task\n")
    before = read_tree(pair.project)

    with pytest.raises(WorkflowError):
        await pair.apply()

    assert read_tree(pair.project) == before
    assert not any((pair.project.parent / "outside").glob("*"))
    assert await pair.missing()


async def test_a_folder_whose_files_are_all_deleted_is_replaced(pair: Pair) -> None:
    """Files that the task itself has deleted are not in the way, in both directions."""
    (pair.worktree / "deep" / "folder" / "inner.txt").unlink()
    (pair.worktree / "deep" / "folder").rmdir()
    (pair.worktree / "deep" / "folder").write_text("a file now\n")
    (pair.worktree / "gone.txt").unlink()
    (pair.worktree / "gone.txt").mkdir()
    (pair.worktree / "gone.txt" / "inner").write_text("a folder now\n")

    await pair.apply()

    assert read_tree(pair.project) == read_tree(pair.worktree)


def configure_filter(pair: Pair, smudge: str) -> None:
    """Configure a smudge filter for one file, and change several files."""
    pair.git(pair.project, "config", "filter.odd.clean", "cat")
    pair.git(pair.project, "config", "filter.odd.smudge", smudge)
    pair.git(pair.project, "config", "filter.odd.required", "true")
    (pair.project / ".git" / "info" / "attributes").write_text("run.sh filter=odd\n")
    (pair.worktree / "picture.bin").write_bytes(b"\0new")
    (pair.worktree / "run.sh").write_text("#!/bin/sh\necho by the task\n")
    (pair.worktree / "deep" / "new.txt").write_text("new\n")
    (pair.worktree / "gone.txt").unlink()
    (pair.project / "latin.txt").write_text("uncommitted\n")


async def test_a_filter_that_fails_leaves_the_project_as_it_was(pair: Pair) -> None:
    """git removes a file before it runs the filter; that file is restored too."""
    configure_filter(pair, "false")
    before = read_tree(pair.project)

    with pytest.raises(WorkflowError, match="nothing was applied"):
        await pair.apply()

    assert read_tree(pair.project) == before


async def test_a_change_spoiled_by_a_filter_is_rolled_back(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has its old contents again; what was written instead is kept in the folder that the error names."""
    monkeypatch.setattr("tempfile.tempdir", str(pair.project.parent))
    configure_filter(pair, "tr a-z A-Z")
    before = read_tree(pair.project)

    with pytest.raises(
        WorkflowError, match=r"run\.sh in .* differed from the worktree.*wrote to run\.sh is in"
    ) as raised:
        await pair.apply()

    assert read_tree(pair.project) == before
    kept = Path(str(raised.value).rpartition(" is in ")[2])
    assert (kept / "run.sh").read_text() == "#!/BIN/SH\nECHO BY THE TASK\n"


async def test_an_untracked_file_is_not_deleted(pair: Pair) -> None:
    """`git rm --cached` and a line in .gitignore: the task still has the file, so the user keeps it too."""
    (pair.worktree / ".gitignore").write_text("ignored/\n*.log\nlatin.txt\n")
    pair.git(pair.worktree, "rm", "-q", "--cached", "latin.txt")

    assert await pair.apply() == [".gitignore"]
    assert (pair.project / "latin.txt").exists()


@pytest.mark.parametrize("mark", ["--assume-unchanged", "--skip-worktree"])
async def test_index_flags_do_not_hide_changes(pair: Pair, mark: str) -> None:
    """git does not compare such files; a task may have changed them anyway."""
    pair.git(pair.worktree, "update-index", mark, "text.txt", "run.sh")
    (pair.worktree / "text.txt").write_text("changed\n")

    assert await pair.missing() == ["text.txt"]


async def test_a_sparse_checkout_reports_changes_only_in_its_files(pair: Pair) -> None:
    """Files that are not checked out are not deletions; a file that the task wrote there is a change."""
    pair.git(pair.worktree, "sparse-checkout", "set", "nothing")
    assert not (pair.worktree / "deep").exists()
    assert await pair.missing() == []
    (pair.worktree / "deep" / "folder").mkdir(parents=True)
    (pair.worktree / "deep" / "folder" / "inner.txt").write_text("changed\n")

    assert await pair.missing() == ["deep/folder/inner.txt"]


async def create_nested_repositories(pair: Pair, base: str) -> list[bytes]:
    """Return the nested repositories and submodules with changes."""
    held = Git.for_directory(str(pair.worktree), pair.environ)
    async with scratch_folder(held) as folder:
        return (await snapshot_tree(held, folder, base)).repositories


def add_submodule(pair: Pair) -> str:
    """Add a submodule to the project and its worktree, where it is not checked out; return the commit."""
    module = pair.project.parent / "module"
    module.mkdir()
    (module / "file").write_text("file\n")
    pair.git(module, "init", "-q")
    pair.git(module, "add", "-A")
    pair.git(module, "commit", "-qm", "module")
    pair.git(pair.project, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(module), "sub")
    pair.git(pair.project, "commit", "-qm", "sub")
    pair.git(pair.worktree, "reset", "-q", "--hard", "develop")
    return pair.git(pair.project, "rev-parse", "HEAD").strip()


async def test_files_in_a_submodule_that_is_not_checked_out_are_named(pair: Pair) -> None:
    """A new worktree has an empty folder there, which git does not read."""
    base = add_submodule(pair)
    assert await create_nested_repositories(pair, base) == []
    (pair.worktree / "sub" / "work").write_text("of the task\n")

    assert await create_nested_repositories(pair, base) == [b"sub"]


async def test_commits_in_a_submodule_are_named_also_when_they_are_not_checked_out(pair: Pair) -> None:
    """The submodule's repository is in the worktree's git folder, and would be removed with it."""
    base = add_submodule(pair)
    pair.git(pair.worktree, "-c", "protocol.file.allow=always", "submodule", "update", "-q", "--init")
    assert await create_nested_repositories(pair, base) == []
    module = pair.worktree / "sub"
    pair.git(module, "checkout", "-qb", "work")
    pair.git(module, "commit", "--allow-empty", "-qm", "work")
    pair.git(module, "checkout", "-q", "--detach", "HEAD~1")

    assert await create_nested_repositories(pair, base) == [b"sub"]


async def test_concurrent_merges_do_not_roll_each_other_back(pair: Pair) -> None:
    """Several processes apply the same changes: one writes them, the others report a change or find them applied."""
    (pair.worktree / "text.txt").write_text("by the task\n" * 10_000)
    for number in range(100):
        (pair.worktree / f"new{number}").write_text(f"{number}\n")
    done: list[int] = []

    async def apply() -> None:
        try:
            done.append(len(await pair.apply()))
        except WorkflowError as error:
            assert "changed during the merge; nothing was applied" in str(error)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(apply)

    assert 101 in done
    assert read_tree(pair.project) == read_tree(pair.worktree)


async def test_a_worktree_on_a_branch_without_commits_is_read(catalog: Catalog, pair: Pair) -> None:
    """`git checkout --orphan`: there is no HEAD, and the files are compared all the same."""
    pair.git(pair.worktree, "checkout", "-q", "--orphan", "orphan")
    pair.git(pair.worktree, "rm", "-rfq", "--cached", ".")
    (pair.worktree / "text.txt").write_text("by the task\n")
    worktree = Git.for_directory(str(pair.worktree), pair.environ)

    async with read_local_changes(client(catalog, pair), make_task(pair), worktree) as found:
        assert found.missing == ["text.txt"]
        await found.apply()
        async with found.prepare_removal(force=False) as branch:
            assert branch == "orphan"
