"""Where a session of OpenCode 2 works: folders, branches, changes."""

from __future__ import annotations

import re

from anyio.to_thread import run_sync

from opencode_mcp.exceptions import APIError, WorkflowError
from opencode_mcp.opencode.client import OpenCodeClient
from opencode_mcp.opencode.engine.optional import optional
from opencode_mcp.opencode.engine.protocol import DiffBase
from opencode_mcp.opencode.models import Branch, FileChange, Model, ProjectPath
from opencode_mcp.opencode.process.other_processes import shares_files

from .pages import read_data

CONTEXT_LINES = 3
"""How many unchanged lines a patch has around a change, as git's; without a number OpenCode shows whole files."""

SEPARATOR = re.compile(r"[/\\]")


class FileEntry(Model):
    """An entry of a folder; its path starts from the location."""

    path: str


class ProjectInfo(Model):
    """A project: its id, the top of the working tree that a directory is in, and its main checkout.

    Without git the id is `global`, and the top is "/".
    """

    id: str
    directory: str
    canonical: str


class LocationInfo(Model):
    """A directory, and its project."""

    directory: str
    project: ProjectInfo


class BranchInfo(Model):
    """The branch of a working tree, and the default one of its repository, as far as there are any."""

    current: str | None = None
    default: str | None = None


class VcsInfo(Model):
    """What is known of a directory's version control."""

    branch: BranchInfo = BranchInfo()


def location_argument(directory: str | None) -> dict[str, dict[str, str]]:
    """Return the argument that names a directory; None: OpenCode's default."""
    return {} if directory is None else {"location": {"directory": directory}}


async def read_location(opencode: OpenCodeClient, directory: str | None) -> LocationInfo:
    """Return a directory with its project."""
    return await opencode.call_as(LocationInfo, "location_get", **location_argument(directory))


async def list_files(opencode: OpenCodeClient, directory: str | None, path: str) -> list[str]:
    """Return the names in a folder."""
    folder = {} if path == "." else {"path": path}
    entries = await read_data(opencode, list[FileEntry], "fs_list", **folder, **location_argument(directory))
    return [SEPARATOR.split(entry.path.rstrip("/\\"))[-1] for entry in entries]


async def find_files(opencode: OpenCodeClient, query: str, limit: int) -> list[str]:
    """Return paths of files below OpenCode's default directory that match a text."""
    entries = await read_data(opencode, list[FileEntry], "fs_find", query=query, type="file", limit=limit)
    return [entry.path for entry in entries]


async def read_paths(opencode: OpenCodeClient, directory: str | None) -> ProjectPath:
    """Return where a directory is. OpenCode does not say where the home folder is: if it sees the files of this
    machine, that is the home folder here."""
    location = await read_location(opencode, directory)
    endpoint = opencode.server.current_endpoint()
    is_here = endpoint is not None and await run_sync(shares_files, endpoint)
    home = opencode.environ.get("HOME") if is_here else None
    return ProjectPath(directory=location.directory, worktree=location.project.directory, home=home)


async def read_branch(opencode: OpenCodeClient, directory: str) -> Branch:
    """Return the branches of a working tree."""
    branch = (await read_data(opencode, VcsInfo, "vcs_get", **location_argument(directory))).branch
    return Branch(**optional(branch=branch.current, default_branch=branch.default))


async def list_uncommitted(opencode: OpenCodeClient, directory: str) -> list[FileChange]:
    """Return the files that git calls uncommitted, without patches."""
    return await read_data(opencode, list[FileChange], "vcs_status", **location_argument(directory))


async def diff_files(opencode: OpenCodeClient, directory: str, base: DiffBase) -> list[FileChange]:
    """Return the changes in a working tree; those of a branch are compared with the default branch, not with another
    one that OpenCode takes for its base."""
    facts = {"mode": "working"}
    if base == "branch":
        default = (await read_branch(opencode, directory)).default_branch
        facts = {"mode": "branch", **optional(base=default)}
    location = location_argument(directory)
    return await read_data(opencode, list[FileChange], "vcs_diff", context=CONTEXT_LINES, **facts, **location)


def refuse_patch(directory: str) -> None:
    """Refuse to apply a patch: OpenCode 2 has no operation for it.

    Raises:
        WorkflowError: what to do. A worktree on this machine is merged by git here, and needs no such operation.
    """
    raise WorkflowError(
        "nothing was applied: OpenCode 2 cannot apply a patch, and its worktree is not on this machine, or git is "
        f"missing here. Merge the worktree's branch with git on OpenCode's machine, or apply the patch of "
        f'collect_changes (format "patch") in {directory} there with `git apply`'
    )


async def diff_turn(opencode: OpenCodeClient, session_id: str, message_id: str) -> list[FileChange]:
    """Return what a user's message led to; [] for one that OpenCode has not delivered yet.

    Raises:
        WorkflowError: the session's directory was removed.
    """
    ids = {"sessionID": session_id, "from": message_id, "to": message_id}
    try:
        return await read_data(opencode, list[FileChange], "session_diff", context=CONTEXT_LINES, **ids)
    except APIError as error:
        if error.name == "MessageNotFoundError":
            return []
        if error.name == "LocationNotFoundError":
            raise WorkflowError("the directory was removed, and OpenCode shows no changes without it") from error
        raise
