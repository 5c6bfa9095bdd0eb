"""A task's workspace: an existing directory, or a new git worktree."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from opencode_mcp.exceptions import APIError, NotUndone, OpenCodeError, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import FileChange, ProjectPath, Session, Worktree
from opencode_mcp.tasks.worktree.copies import INCLUDE_FILE, copy_included
from opencode_mcp.tasks.worktree.git import Git
from opencode_mcp.tasks.worktree.local import StartPoint, open_project_git, prepare_start_point, prove_local
from opencode_mcp.tasks.worktree.snapshot import format_paths

from .metadata import TaskMetadata

log = logging.getLogger(__name__)

CHECKOUT_SECONDS = 120.0
MAX_NAMED_FILES = 3

WORKTREE_REFUSALS = {
    "not a valid object name": (
        "the repository has no commit yet, and a worktree starts from one: create one there "
        "(`git add -A && git commit`), or run the task without `worktree`"
    ),
    "only supported for git projects": (
        "it is not in a git repository: run the task without `worktree`, or create one "
        "(project_init_git, then a first commit)"
    ),
}
"""OpenCode's messages when it cannot create a worktree (1.18.33), and the advice for each."""


@dataclass
class Workspace:
    """Where a task works; unless `keep` is set, everything that was created for it is removed.

    `task` has the worktree's metadata; `note` names the project's files that the worktree lacks.
    """

    directory: str | None
    task: TaskMetadata
    note: str | None = None
    session: Session | None = None
    keep: bool = False


@asynccontextmanager
async def prepare_workspace(
    opencode: OpenCodeClient, directory: str | None, worktree: bool, include_uncommitted: bool = False
) -> AsyncGenerator[Workspace]:
    """Provide a workspace for a task; if the block does not keep it, everything created is removed.

    Raises:
        WorkflowError: a worktree cannot be created.
        NotUndone: the block failed, and what it created could not be removed.
    """
    workspace = Workspace(directory, TaskMetadata())
    try:
        if worktree:
            await add_worktree(opencode, workspace, include_uncommitted)
        yield workspace
    except OpenCodeError as error:
        if leftovers := await undo(opencode, workspace):
            raise NotUndone(f"{error}. Cleaning up failed, so these remain: {leftovers}") from error
        raise
    except BaseException:
        if leftovers := await undo(opencode, workspace):
            log.warning("a task was abandoned, and cleaning up failed, so these remain: %s", leftovers)
        raise
    else:
        if leftovers := await undo(opencode, workspace):
            log.warning("another call started the task; cleaning up this call failed, so these remain: %s", leftovers)


async def undo(opencode: OpenCodeClient, workspace: Workspace) -> str:
    """Remove what was created for a task that is not kept, and name what remains; "" for nothing.

    If the session cannot be deleted the worktree stays too: the prompt may have arrived, and the task may be running.
    """
    if workspace.keep:
        return ""
    worktree = workspace.task.worktree
    with anyio.CancelScope(shield=True):
        if workspace.session is not None:
            try:
                await engine_of(opencode).delete_session(workspace.session.id)
            except OpenCodeError as error:
                worktree_text = "" if worktree is None else f" and its worktree {worktree}"
                return f"session {workspace.session.id}{worktree_text}, which may be running (see report_task): {error}"
        if worktree is not None:
            try:
                await engine_of(opencode).remove_worktree(workspace.task.worktree_of, worktree)
            except OpenCodeError as error:
                return f"the worktree {worktree}: {error}"
    return ""


async def add_worktree(opencode: OpenCodeClient, workspace: Workspace, include_uncommitted: bool) -> None:
    """Create a worktree; the task's directory in it is the project's folder within its repository.

    Raises:
        WorkflowError: a worktree cannot be created, or the folder is not in the last commit.
    """
    project = await engine_of(opencode).read_paths(workspace.directory)
    if project.worktree != "/" and not opencode.allowlist.allows(project.worktree):
        raise WorkflowError(
            f"a worktree contains the whole repository {project.worktree}, which {opencode.allowlist.outside_message()}"
        )
    subfolder = project_subfolder(project)
    # Of two concurrent `git worktree add` one may read what the other is writing: "failed to read …/commondir".
    async with opencode.session_lock(f"worktrees of {project.worktree}"):
        created = await create_worktree(opencode, project.directory)
    workspace.task = TaskMetadata(worktree_of=project.directory, worktree=created.directory, branch=created.branch)
    await wait_for_checkout(opencode, created.directory)
    token = await prove_local(opencode, created.directory)
    uncommitted = await engine_of(opencode).list_uncommitted(project.worktree)
    if token is not None:
        start_point = await prepare_start_point(
            opencode, created.directory, project.directory if include_uncommitted else None
        )
        included = await include_ignored(opencode, created.directory, project)
    elif include_uncommitted and uncommitted:
        raise WorkflowError(
            "uncommitted files cannot be copied to the worktree: OpenCode runs on another machine, or git is missing "
            "here. Commit them first, or run the task without `worktree`"
        )
    else:
        start_point, included = StartPoint(None, []), await not_included_note(opencode, project)
    base = start_point.base
    workspace.task = workspace.task.model_copy(update={"base": base, "token": token})
    note = left_out_note(start_point) if include_uncommitted else uncommitted_note(base, uncommitted)
    workspace.note = ". ".join(text for text in (note, included) if text) or None
    workspace.directory = created.directory + subfolder
    if subfolder:
        await check_subfolder(opencode, workspace.directory, project)


async def include_ignored(opencode: OpenCodeClient, worktree: str, project: ProjectPath) -> str | None:
    """Copy the ignored files that the project's `.worktreeinclude` names to a worktree, and say how many."""
    source = await open_project_git(opencode, project.directory)
    return await copy_included(source, Git.for_directory(worktree, opencode.environ))


async def not_included_note(opencode: OpenCodeClient, project: ProjectPath) -> str | None:
    """Say that files which `.worktreeinclude` names were not copied; None for a project without it."""
    if INCLUDE_FILE not in await engine_of(opencode).list_files(project.worktree, "."):
        return None
    return (
        f"The files that {INCLUDE_FILE} names were not copied: OpenCode runs on another machine, or git is missing "
        "here. A `setup` command can copy them"
    )


def project_subfolder(project: ProjectPath) -> str:
    """Return the project's path below the top of its repository, with a leading separator; "" for the top.

    Raises:
        WorkflowError: OpenCode reports the project outside its repository.
    """
    top = project.worktree.rstrip("/\\")
    subfolder = project.directory.removeprefix(top)
    if subfolder and (subfolder == project.directory or subfolder[0] not in "/\\"):
        raise WorkflowError(
            f"OpenCode reports {project.directory} outside its repository {top}: cannot create a worktree"
        )
    return subfolder


def uncommitted_note(base: str | None, uncommitted: list[FileChange]) -> str | None:
    """Name the uncommitted files of the project, which a new worktree lacks; None if there are none."""
    if not uncommitted:
        return None
    first = ", ".join(change.file for change in uncommitted[:MAX_NAMED_FILES])
    more = f" and {len(uncommitted) - MAX_NAMED_FILES} more" if len(uncommitted) > MAX_NAMED_FILES else ""
    commit = f"commit {base[:10]}" if base is not None else "the last commit"
    return (
        f"The worktree starts from {commit}, without the uncommitted changes in {first}{more}; include_uncommitted "
        "copies them"
    )


def left_out_note(start_point: StartPoint) -> str | None:
    """Name the uncommitted changes that could not be copied; None if there are none."""
    if not start_point.skipped:
        return None
    return (
        f"Not copied: {format_paths(start_point.skipped)}, a nested repository or submodule with uncommitted changes. "
        "The worktree has its state at the last commit"
    )


async def create_worktree(opencode: OpenCodeClient, directory: str) -> Worktree:
    """Create a git worktree.

    Raises:
        WorkflowError: the directory is not in a git repository, or that has no commit.
    """
    try:
        return await engine_of(opencode).create_worktree(directory)
    except APIError as error:
        reason = next(
            (advice for text, advice in WORKTREE_REFUSALS.items() if text in error.message), error.message or str(error)
        )
        raise WorkflowError(f"cannot create a worktree of {directory}: {reason}") from error


async def wait_for_checkout(opencode: OpenCodeClient, worktree: str) -> None:
    """Wait until a worktree has its files: OpenCode responds before it does (1.18.33).

    Raises:
        WorkflowError: it has not after CHECKOUT_SECONDS.
    """
    with anyio.move_on_after(CHECKOUT_SECONDS):
        while any(change.status == "deleted" for change in await engine_of(opencode).list_uncommitted(worktree)):
            await anyio.sleep(0.1)
        return
    raise WorkflowError(f"the checkout of the worktree {worktree} did not finish within {CHECKOUT_SECONDS:g} s")


async def describe_removal(opencode: OpenCodeClient, session: Session, task: TaskMetadata) -> str | None:
    """Say that a task's worktree was removed, and how; None when it exists, or the task has none."""
    worktree = task.worktree or session.directory
    if task.worktree_of is None:
        return None
    listed = await engine_of(opencode).list_worktrees(task.worktree_of)
    if worktree in listed or await worktree_exists(opencode, worktree):
        return None
    cause = f" ({task.removed})" if task.removed else ", not by collect_changes"
    return f"the worktree {worktree} of {session.id} was removed{cause}"


async def worktree_exists(opencode: OpenCodeClient, worktree: str) -> bool:
    """Whether a worktree that its repository does not list exists; a removed one is not an allowed directory."""
    if not opencode.allowlist.allows(worktree):
        return False
    try:
        await check_directory(opencode, worktree)
    except WorkflowError:
        return False
    return True


async def check_directory(opencode: OpenCodeClient, directory: str) -> None:
    """Refuse a directory that does not exist: OpenCode would work in it anyway (1.18.33).

    Raises:
        WorkflowError: it is not a directory on OpenCode's machine.
    """
    try:
        await engine_of(opencode).list_files(directory, ".")
    except APIError as error:
        raise WorkflowError(f"{directory} is not a directory on OpenCode's machine") from error


async def check_subfolder(opencode: OpenCodeClient, directory: str, project: ProjectPath) -> None:
    """Refuse to work in a folder that the worktree does not have.

    Raises:
        WorkflowError: the project is a folder that is in no commit.
    """
    try:
        await check_directory(opencode, directory)
    except WorkflowError as error:
        raise WorkflowError(
            f"{project.directory} is not in the last commit of {project.worktree}: commit something in it first, use "
            "include_uncommitted, or run the task without `worktree`"
        ) from error


def directory_argument(directory: str | None) -> dict[str, str]:
    """Return the `directory` argument; None: OpenCode's default."""
    return {} if directory is None else {"directory": directory}
