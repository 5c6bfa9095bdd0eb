"""Merge a worktree's changes into its project: what is read, what is written, and what a conflict leaves unchanged."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.tasks.worktree.git import Git, scratch_folder
from opencode_mcp.tasks.worktree.merge import apply_merge, merge_changes
from opencode_mcp.tasks.worktree.snapshot import snapshot_tree

pytestmark = pytest.mark.anyio

LINES = "".join(f"line {number}\n" for number in range(1, 21))


@dataclass(frozen=True)
class Pair:
    """A project and a worktree of it, both at commit `base`."""

    project: Path
    worktree: Path
    base: str
    environ: Mapping[str, str]

    def git(self, where: Path, *arguments: str) -> str:
        """Run git as a user does."""
        return git(where, self.environ, *arguments)

    async def apply(self) -> list[str]:
        """Apply the worktree's changes."""
        worktree_git, project_git = (
            Git.for_directory(str(self.worktree), self.environ),
            Git.for_directory(str(self.project), self.environ),
        )
        async with scratch_folder(worktree_git) as folder:
            found = await snapshot_tree(worktree_git, folder, self.base)
            merged = await merge_changes(project_git, folder, found.changes)
            if merged.conflicts:
                raise WorkflowError("conflicts: " + ", ".join(os.fsdecode(path) for path in merged.conflicts))
            return [os.fsdecode(path) for path in await apply_merge(project_git, folder, merged)]

    async def missing(self) -> list[str]:
        """The paths whose changes the project lacks."""
        worktree_git, project_git = (
            Git.for_directory(str(self.worktree), self.environ),
            Git.for_directory(str(self.project), self.environ),
        )
        async with scratch_folder(worktree_git) as folder:
            found = await snapshot_tree(worktree_git, folder, self.base)
            return [os.fsdecode(path) for path in (await merge_changes(project_git, folder, found.changes)).missing]


def git(where: Path, environ: Mapping[str, str], *arguments: str) -> str:
    """Run git and return what it prints."""
    done = subprocess.run(["git", *arguments], cwd=where, env=dict(environ), check=True, capture_output=True)
    return os.fsdecode(done.stdout)


def read_tree(folder: Path) -> dict[bytes, tuple[int, bytes]]:
    """Return every file below a folder, without git's own: mode bits and bytes; a link's target."""
    found: dict[bytes, tuple[int, bytes]] = {}
    top = os.fsencode(folder)
    for folder_path, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name != b".git"]
        for name in names:
            path = os.path.join(folder_path, name)
            content = os.readlink(path) if os.path.islink(path) else Path(os.fsdecode(path)).read_bytes()
            if name != b".git":
                found[os.path.relpath(path, top)] = (os.lstat(path).st_mode, content)
    return found


def normalize_line_endings(tree: dict[bytes, tuple[int, bytes]]) -> dict[bytes, tuple[int, bytes]]:
    """Return the tree with each line ending as one newline."""
    return {path: (mode, content.replace(b"\r\n", b"\n")) for path, (mode, content) in tree.items()}


@pytest.fixture
def pair(tmp_path: Path, environ: Mapping[str, str]) -> Pair:
    """A project with some files, and a worktree of it."""
    project, worktree = tmp_path / "project", tmp_path / "worktree"
    (project / "deep" / "folder").mkdir(parents=True)
    (project / "text.txt").write_text(LINES)
    (project / "gone.txt").write_text("to be deleted\n")
    (project / "moved.txt").write_text("to be renamed\n")
    (project / "crlf.txt").write_bytes(b"one\r\ntwo\r\n")
    (project / "latin.txt").write_bytes("caf\xe9\n".encode("latin-1"))
    (project / "picture.bin").write_bytes(bytes(range(256)))
    (project / "run.sh").write_text("#!/bin/sh\n")
    (project / "deep" / "folder" / "inner.txt").write_text("inner\n")
    (project / "link").symlink_to("text.txt")
    (project / ".gitignore").write_text("ignored/\n*.log\n")
    git(project, environ, "init", "-q", "-b", "develop")
    git(project, environ, "add", "-A")
    git(project, environ, "commit", "-qm", str(tmp_path))
    git(project, environ, "worktree", "add", "-q", "-b", "task", str(worktree))
    return Pair(project, worktree, git(project, environ, "rev-parse", "HEAD").strip(), environ)


def change_everything(worktree: Path) -> None:
    """Change whatever can be changed."""
    (worktree / "text.txt").write_text(LINES.replace("line 3\n", "LINE 3\n"))
    (worktree / "gone.txt").unlink()
    (worktree / "moved.txt").rename(worktree / "deep" / "renamed.txt")
    (worktree / "crlf.txt").write_bytes(b"one\r\n2\r\nthree\r\n")
    (worktree / "latin.txt").write_bytes("caf\xe9 cr\xe8me\n".encode("latin-1"))
    (worktree / "picture.bin").write_bytes(bytes(reversed(range(256))))
    (worktree / "run.sh").chmod(0o755)
    (worktree / "link").unlink()
    (worktree / "link").symlink_to("deep/renamed.txt")
    (worktree / "new link").symlink_to("nowhere")
    (worktree / "empty.txt").touch()
    (worktree / 'quo"ted\ttab\nline.txt').write_text("odd\n")
    Path(os.fsdecode(os.fsencode(worktree) + b"/caf\xe9.txt")).write_bytes(b"not UTF-8\n")
    (worktree / "deep" / "folder" / "inner.txt").unlink()
    (worktree / "deep" / "folder").rmdir()
    (worktree / "deep" / "folder").write_text("a file now\n")
    (worktree / "no newline").write_bytes(b"\xef\xbb\xbfend")


def leave_uncommitted(pair: Pair) -> None:
    """Leave them uncommitted."""
    change_everything(pair.worktree)


def stage_changes(pair: Pair) -> None:
    """Stage some of them, and change one after that."""
    change_everything(pair.worktree)
    pair.git(pair.worktree, "add", "-A")
    (pair.worktree / "text.txt").write_text(LINES.replace("line 4\n", "LINE 4\n"))


def commit_changes(pair: Pair) -> None:
    """Commit them, and leave one file beside that."""
    change_everything(pair.worktree)
    pair.git(pair.worktree, "add", "-A")
    pair.git(pair.worktree, "commit", "-qm", "work")
    (pair.worktree / "later.txt").write_text("later\n")


def commit_on_detached_head(pair: Pair) -> None:
    """Commit them on no branch."""
    pair.git(pair.worktree, "checkout", "-q", "--detach")
    commit_changes(pair)


@pytest.mark.parametrize("worked", [leave_uncommitted, stage_changes, commit_changes, commit_on_detached_head])
async def test_every_change_is_merged_unchanged(pair: Pair, worked: Callable[[Pair], None]) -> None:
    """Bytes, modes, links, names and deletions; the user's index is unchanged, and a second merge writes nothing."""
    worked(pair)
    index = (pair.project / ".git" / "index").read_bytes()

    await pair.apply()

    assert read_tree(pair.project) == read_tree(pair.worktree)
    assert (pair.project / ".git" / "index").read_bytes() == index
    assert await pair.missing() == []
    assert await pair.apply() == []


@pytest.mark.parametrize("autocrlf", ["true", "input"])
async def test_line_endings_follow_the_user_s_configuration(pair: Pair, autocrlf: str) -> None:
    """With core.autocrlf a file has the line endings that git writes there; the rest is unchanged."""
    pair.git(pair.project, "config", "core.autocrlf", autocrlf)
    change_everything(pair.worktree)

    await pair.apply()

    ours, theirs = read_tree(pair.project), read_tree(pair.worktree)
    assert normalize_line_endings(ours) == normalize_line_endings(theirs)
    assert ours[b"picture.bin"] == theirs[b"picture.bin"]
    assert (b"\r\n" in ours[b"text.txt"][1]) == (autocrlf == "true")
    assert await pair.missing() == []


async def test_the_worktree_and_its_index_are_not_changed(pair: Pair) -> None:
    """Reading a worktree changes nothing there, and leaves no objects in the repository."""
    change_everything(pair.worktree)
    before = read_tree(pair.worktree), pair.git(pair.worktree, "status", "--porcelain")
    objects = pair.git(pair.project, "count-objects")

    await pair.missing()

    assert (read_tree(pair.worktree), pair.git(pair.worktree, "status", "--porcelain")) == before
    assert pair.git(pair.project, "count-objects") == objects


async def test_a_project_that_moved_on_is_merged(pair: Pair) -> None:
    """Other lines of the same file, committed or not, and other files are kept."""
    (pair.worktree / "text.txt").write_text(LINES.replace("line 3\n", "LINE 3\n"))
    (pair.project / "text.txt").write_text(LINES.replace("line 12\n", "twelve\n"))
    pair.git(pair.project, "commit", "-qam", "moved on")
    uncommitted = LINES.replace("line 12\n", "twelve\n").replace("line 19\n", "nineteen\n")
    (pair.project / "text.txt").write_text(uncommitted)
    (pair.project / "latin.txt").write_text("changed here alone\n")

    assert await pair.apply() == ["text.txt"]
    assert (pair.project / "text.txt").read_text() == uncommitted.replace("line 3\n", "LINE 3\n")
    assert (pair.project / "latin.txt").read_text() == "changed here alone\n"
    assert await pair.missing() == []


async def test_changes_that_the_user_has_committed_are_not_missing(pair: Pair) -> None:
    """The same change in both is not a conflict."""
    for side in (pair.worktree, pair.project):
        (side / "text.txt").write_text("the same\n")
    pair.git(pair.project, "commit", "-qam", "by the user")

    assert await pair.missing() == []
    assert await pair.apply() == []


def edit_the_same_line(project: Path) -> None:
    """Change the line that the task has changed."""
    (project / "text.txt").write_text(LINES.replace("line 3\n", "drei\n"))


def change_the_picture(project: Path) -> None:
    """Change a binary file."""
    (project / "picture.bin").write_bytes(b"\0other")


def delete_the_text(project: Path) -> None:
    """Delete what the task has changed."""
    (project / "text.txt").unlink()


def change_the_deleted(project: Path) -> None:
    """Change what the task has deleted."""
    (project / "gone.txt").write_text("still needed\n")


def create_the_same_file(project: Path) -> None:
    """Create what the task has created, with other contents."""
    (project / "empty.txt").write_text("not empty\n")


def create_folder_in_place(project: Path) -> None:
    """Create a folder of files where the task has created a file."""
    (project / "empty.txt").mkdir()
    (project / "empty.txt" / "inside").write_text("inside\n")


def replace_folder_with_link(project: Path) -> None:
    """Create a link to a folder outside where the task has created a file."""
    outside = project.parent / "outside"
    outside.mkdir()
    (outside / "inner.txt").write_text("outside\n")
    (project / "deep" / "folder" / "inner.txt").unlink()
    (project / "deep" / "folder").rmdir()
    (project / "deep" / "folder").symlink_to(outside)


@pytest.mark.parametrize(
    "moved_on",
    [
        edit_the_same_line,
        change_the_picture,
        delete_the_text,
        change_the_deleted,
        create_the_same_file,
        create_folder_in_place,
        replace_folder_with_link,
    ],
)
async def test_a_conflict_changes_nothing(pair: Pair, moved_on: Callable[[Path], None]) -> None:
    """All or nothing: no file, no conflict marker, no index entry; and the changes are still missing."""
    change_everything(pair.worktree)
    moved_on(pair.project)
    before, index = read_tree(pair.project), (pair.project / ".git" / "index").read_bytes()

    with pytest.raises(WorkflowError):
        await pair.apply()

    assert read_tree(pair.project) == before
    assert (pair.project / ".git" / "index").read_bytes() == index
    assert await pair.missing()


async def test_an_ignored_file_of_the_user_is_not_overwritten(pair: Pair) -> None:
    """The task has added a file that the project ignores, and the user has another there."""
    (pair.worktree / "trace.log").write_text("of the task\n")
    pair.git(pair.worktree, "add", "-f", "trace.log")
    (pair.project / "trace.log").write_text("of the user\n")

    with pytest.raises(WorkflowError, match=r"trace\.log"):
        await pair.apply()

    assert (pair.project / "trace.log").read_text() == "of the user\n"


async def test_nested_repositories_are_named_and_not_touched(pair: Pair) -> None:
    """A nested repository, one without a commit, and one that is committed as such: all other files are applied."""
    (pair.worktree / "text.txt").write_text("changed\n")
    for name in ("empty", "untracked", "committed"):
        (pair.worktree / name).mkdir()
        pair.git(pair.worktree / name, "init", "-q")
        (pair.worktree / name / "file").write_text(name)
    for name in ("untracked", "committed"):
        pair.git(pair.worktree / name, "add", "-A")
        pair.git(pair.worktree / name, "commit", "-qm", name)
    pair.git(pair.worktree, "-c", "advice.addEmbeddedRepo=false", "add", "committed")
    pair.git(pair.worktree, "commit", "-qm", "nested")
    held = Git.for_directory(str(pair.worktree), pair.environ)

    async with scratch_folder(held) as folder:
        found = await snapshot_tree(held, folder, pair.base)

    assert found.repositories == [b"committed", b"empty", b"untracked"]
    assert await pair.apply() == ["text.txt"]
    assert not (pair.project / "committed").exists()


async def test_the_users_hooks_and_variables_have_no_effect(pair: Pair, tmp_path: Path) -> None:
    """A hook does not run; variables that select another repository are not passed on."""
    hooks = pair.project / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "post-index-change", "pre-commit", "reference-transaction"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (hooks / name).chmod(0o755)
    change_everything(pair.worktree)
    misled = {name: str(tmp_path / "nowhere") for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE")}
    odd = Pair(pair.project, pair.worktree, pair.base, {**pair.environ, **misled})

    await odd.apply()

    assert read_tree(pair.project) == read_tree(pair.worktree)
    assert not (tmp_path / "ran").exists()


async def test_gitattributes_line_endings_apply_on_both_sides(pair: Pair) -> None:
    """A file with `eol=crlf` arrives with the bytes that it has in the worktree, and is not changed twice."""
    (pair.worktree / ".gitattributes").write_text("*.cmd text eol=crlf\n")
    (pair.worktree / "go.cmd").write_bytes(b"echo\r\n")

    await pair.apply()

    assert (pair.project / "go.cmd").read_bytes() == b"echo\r\n"
    assert await pair.missing() == []
