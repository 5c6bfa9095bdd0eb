"""Where a task works: a directory that is there, or a git worktree of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio

from opencode_mcp.exceptions import APIError, OpenCodeError, WorkflowError
from opencode_mcp.opencode import OpenCode
from opencode_mcp.opencode.models import FileChange, Location, Session, as_model

CHECKOUT_SECONDS = 120.0


@dataclass
class Workplace:
    """Where a task is to work. `project` is set for a worktree; what is not `kept` is removed again."""

    directory: str | None
    project: str | None = None
    session: Session | None = None
    kept: bool = False


@asynccontextmanager
async def workplace(opencode: OpenCode, directory: str | None, worktree: bool) -> AsyncGenerator[Workplace]:
    """Provide a place for a task; where none was started, for whatever reason, nothing is left behind.

    Raises:
        WorkflowError: there can be no worktree.
    """
    place = Workplace(directory)
    try:
        if worktree:
            project = (await opencode.call_as(Location, "path_get", **located(directory))).directory
            place.directory, place.project = await make_worktree(opencode, project), project
            await checked_out(opencode, place.directory)
        yield place
    finally:
        if not place.kept:
            with anyio.CancelScope(shield=True):
                if place.session is not None:
                    with suppress(OpenCodeError):
                        await opencode.call("session_delete", sessionID=place.session.id)
                if place.project is not None:
                    with suppress(OpenCodeError):
                        body = {"directory": place.directory}
                        await opencode.call("worktree_remove", directory=place.project, body=body)


async def make_worktree(opencode: OpenCode, directory: str) -> str:
    """Create a git worktree. Cut off, it would be made all the same, and nobody would know where.

    Raises:
        WorkflowError: the directory is not in a git repository.
    """
    created = dict[str, str]()
    try:
        with anyio.CancelScope(shield=True):
            created = await opencode.call("worktree_create", directory=directory)
    except APIError as error:
        raise WorkflowError(f"no worktree could be made of {directory}: {error.message or error}") from error
    return as_model("the answer of worktree_create", Location, created).directory


async def checked_out(opencode: OpenCode, worktree: str) -> None:
    """Wait until the files of a worktree are there: OpenCode answers before they are.

    Raises:
        WorkflowError: the checkout does not end.
    """
    with anyio.move_on_after(CHECKOUT_SECONDS):
        while any(
            one.status == "deleted"
            for one in await opencode.call_as(list[FileChange], "vcs_status", directory=worktree)
        ):
            await anyio.sleep(0.1)
        return
    raise WorkflowError(f"the files of the worktree {worktree} are not there after {CHECKOUT_SECONDS:g} s")


async def check_directory(opencode: OpenCode, directory: str) -> None:
    """Refuse a directory that is not there: OpenCode would work in it all the same.

    Raises:
        WorkflowError: it is not a directory on OpenCode's machine.
    """
    try:
        await opencode.call("file_list", directory=directory, path=".")
    except APIError as error:
        raise WorkflowError(f"{directory} is no directory on OpenCode's machine") from error


def located(directory: str | None) -> dict[str, str]:
    """Return the argument that says where; None leaves the choice to OpenCode."""
    return {} if directory is None else {"directory": directory}
