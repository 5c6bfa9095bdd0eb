"""Run git in a working tree that this process shares with OpenCode.

A `Git` uses the index of the working tree unless `with_index` gives it another, runs no hook, and can write its objects
to a temporary folder (`with_objects_folder`). Paths are bytes, relative to the top of the working tree.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from opencode_mcp.exceptions import GitFailed, WorkflowError
from opencode_mcp.opencode.process.cache import try_lock

CONFIG_VARIABLES = ("GIT_CONFIG", "GIT_EXEC_PATH")
"""Prefixes of git's variables that are kept: configuration. Others would select another repository or index."""

GIT_ENVIRON = {
    "LC_ALL": "C",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    **{f"GIT_{role}_NAME": "opencode-mcp" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_EMAIL": "opencode-mcp@localhost" for role in ("AUTHOR", "COMMITTER")},
}
GIT_CONFIG = (
    f"core.hooksPath={os.devnull}",
    "core.fsmonitor=false",
    "core.safecrlf=false",  # files that line ending conversion alters are found by comparing, and named
    "core.sparseCheckout=false",
    "core.splitIndex=false",
    "commit.gpgSign=false",
    "submodule.recurse=false",
    "gc.auto=0",
)

LOCK_POLL_SECONDS = 0.05
"""How often to try a lock that another process holds."""

OBJECTS_FOLDER = "opencode-mcp-objects"
"""A folder in the worktree's own git folder, removed with it: objects that `git gc` of the repository cannot delete."""

GITLINK = "160000"
"""The mode of an entry that is a repository of its own: a submodule, or a nested repository."""
REGULAR_MODES = frozenset({"100644", "100755"})


@dataclass(frozen=True)
class TreeEntry:
    """A path in a tree: its mode (octal, as git writes it) and the id of its object."""

    mode: str
    object_id: str


@dataclass(frozen=True)
class TreeChange:
    """A path that differs between two trees; None on the side that lacks it."""

    path: bytes
    before: TreeEntry | None
    after: TreeEntry | None

    @property
    def is_repository(self) -> bool:
        """Whether a nested repository or submodule is on either side."""
        return any(entry is not None and entry.mode == GITLINK for entry in (self.before, self.after))

    @property
    def status(self) -> str:
        """The change in OpenCode's words."""
        return "added" if self.before is None else "deleted" if self.after is None else "modified"


@dataclass(frozen=True)
class Git:
    """git in a working tree. `root` is its top; `environ` has variables added to `base_environ`."""

    root: str
    base_environ: Mapping[str, str] = field(repr=False)
    environ: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def for_directory(cls, root: str, environ: Mapping[str, str]) -> Git:
        """Return git for a working tree, with the user's configuration from `environ`."""
        inherited = {
            name: value
            for name, value in environ.items()
            if not name.startswith("GIT_") or name.startswith(CONFIG_VARIABLES)
        }
        return cls(root, {**inherited, **GIT_ENVIRON})

    async def run(self, *arguments: str, stdin: bytes = b"", accept: Sequence[int] = (0,)) -> bytes:
        """Run a git command at the top of the working tree and return its output.

        Raises:
            WorkflowError: it failed, with the first line of its output; or git is not installed.
        """
        options = [word for setting in GIT_CONFIG for word in ("-c", setting)]
        try:
            completed = await anyio.run_process(
                ["git", *options, *arguments],
                input=stdin,
                cwd=self.root,
                env={**self.base_environ, **self.environ},
                check=False,
            )
        except OSError as error:
            raise WorkflowError(f"cannot run git in {self.root}: {error.strerror or error}") from error
        if completed.returncode not in accept:
            lines = decode_text(completed.stderr or completed.stdout).strip().splitlines() or [
                f"exit code {completed.returncode}"
            ]
            raise GitFailed(f"git {arguments[0]} failed in {self.root}: {lines[0]}", lines)
        return completed.stdout

    async def run_line(self, *arguments: str) -> str:
        """Run a git command whose output is one line."""
        return os.fsdecode(await self.run(*arguments)).removesuffix("\n")

    async def git_path(self, name: str) -> Path:
        """Return the path of a file in this working tree's git folder."""
        return Path(self.root) / await self.run_line("rev-parse", "--git-path", name)

    async def diff_trees(self, before: str, after: str) -> list[TreeChange]:
        """Return what differs between two trees, files only, a renamed one twice."""
        return parse_raw_diff(await self.run("diff-tree", "-r", "-z", "--no-renames", "--raw", before, after))

    async def remove_from_index(self, paths: Iterable[bytes]) -> None:
        """Remove paths from the index."""
        if stdin := join_nul(paths):
            await self.run("update-index", "-z", "--force-remove", "--stdin", stdin=stdin)

    async def add_to_index(self, paths: Iterable[bytes]) -> None:
        """Put files as they are in the working tree into the index."""
        if stdin := join_nul(paths):
            await self.run("update-index", "-z", "--add", "--replace", "--stdin", stdin=stdin)

    async def set_entries(self, entries: Mapping[bytes, TreeEntry | None]) -> None:
        """Set entries of the index; None removes one. Removals go first: a file may make room for a folder."""
        await self.remove_from_index(path for path, entry in entries.items() if entry is None)
        lines = [
            f"{entry.mode} {entry.object_id}\t".encode() + path for path, entry in entries.items() if entry is not None
        ]
        if lines:
            await self.run("update-index", "-z", "--add", "--replace", "--index-info", stdin=join_nul(lines))

    async def write_tree(self) -> str:
        """Write the index as a tree and return its id."""
        return await self.run_line("write-tree", "--missing-ok")


@asynccontextmanager
async def scratch_folder(git: Git) -> AsyncGenerator[Path]:
    """Provide a temporary folder for indexes and new objects; the repository's objects are its alternates."""
    folder = Path(await anyio.to_thread.run_sync(partial(tempfile.mkdtemp, prefix="opencode-mcp-")))
    try:
        worktree_objects = await git.git_path(OBJECTS_FOLDER)
        make_objects_folder(
            folder / "objects",
            [await git.git_path("objects"), *([worktree_objects] if worktree_objects.is_dir() else [])],
        )
        yield folder
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(partial(shutil.rmtree, folder, ignore_errors=True))


@asynccontextmanager
async def lock_worktree(git: Git) -> AsyncGenerator[None]:
    """Wait for the lock of a working tree and hold it, so that a rollback does not undo another process's merge.

    The operating system releases it when the process that holds it ends.

    Raises:
        WorkflowError: the lock file cannot be opened.
    """
    name = await git.git_path("opencode-mcp-lock")
    try:
        file = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise WorkflowError(f"cannot write {name}, so nothing was applied: {error.strerror}") from error
    try:
        while not try_lock(file):
            await anyio.sleep(LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(file)


def make_objects_folder(folder: Path, others: Iterable[Path]) -> None:
    """Create an object folder with others as its alternates."""
    (folder / "info").mkdir(parents=True, exist_ok=True)
    lines = (
        os.fsencode(other.resolve()).replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
        for other in others
    )
    (folder / "info" / "alternates").write_bytes(b"".join(b'"' + line + b'"\n' for line in lines))


async def copy_objects(git: Git, folder: Path) -> None:
    """Copy the objects of a scratch folder to the worktree's own object folder.

    Raises:
        WorkflowError: they cannot be written.
    """
    destination = await git.git_path(OBJECTS_FOLDER)
    copy = partial(
        shutil.copytree, folder / "objects", destination, ignore=shutil.ignore_patterns("info"), dirs_exist_ok=True
    )
    try:
        make_objects_folder(destination, [await git.git_path("objects")])
        await anyio.to_thread.run_sync(copy)
    except (OSError, shutil.Error) as error:
        raise WorkflowError(f"{destination} cannot be written: {error}") from error


def with_objects_folder(git: Git, folder: Path) -> Git:
    """Return git that writes new objects to a folder."""
    return replace(git, environ={**git.environ, "GIT_OBJECT_DIRECTORY": str(folder)})


def with_index(git: Git, folder: Path, name: str, *, keep_objects: bool = False) -> Git:
    """Return git with its own index in a scratch folder, and its new objects too unless `keep_objects`."""
    stored = git if keep_objects else with_objects_folder(git, folder / "objects")
    return replace(stored, environ={**stored.environ, "GIT_INDEX_FILE": str(folder / name)})


def parse_raw_diff(output: bytes) -> list[TreeChange]:
    """Read `diff --raw -z`: `:mode mode object_id object_id status`, then the path."""
    fields = output.split(b"\0")
    changes: list[TreeChange] = []
    for index in range(0, len(fields) - 1, 2):
        old_mode, new_mode, old_id, new_id, _ = fields[index].decode().lstrip(":").split(" ")
        before = None if old_mode == "000000" else TreeEntry(old_mode, old_id)
        after = None if new_mode == "000000" else TreeEntry(new_mode, new_id)
        changes.append(TreeChange(fields[index + 1], before, after))
    return changes


def join_nul(parts: Iterable[bytes]) -> bytes:
    """Return paths or lines, each ended by NUL, as git reads them with -z."""
    return b"".join(part + b"\0" for part in parts)


def decode_text(path: bytes) -> str:
    """Return a path or git's output as text; bytes that are not UTF-8 are escaped as \\xNN."""
    return path.decode("utf-8", "backslashreplace")
