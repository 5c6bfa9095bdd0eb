"""Worktrees that OpenCode 2 makes; a project is named by its id."""

from __future__ import annotations

from contextlib import suppress

import anyio

from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode.client import OpenCodeClient
from opencode_mcp.opencode.models import Location, Worktree, parse_model

from .directories import read_branch, read_location


async def list_worktrees(opencode: OpenCodeClient, directory: str) -> list[str]:
    """Return the worktrees of a project without its main checkout."""
    project = (await read_location(opencode, directory)).project
    listed = await opencode.call_as(list[Location], "worktree_list", projectID=project.id)
    return [worktree.directory for worktree in listed if worktree.directory != project.canonical]


async def create_worktree(opencode: OpenCodeClient, directory: str | None) -> Worktree:
    """Create a worktree from the last commit of the working tree that a directory is in."""
    project = (await read_location(opencode, directory)).project
    facts = {"projectID": project.id, "from": project.directory}
    worktree, branch = "", None
    with anyio.CancelScope(shield=True):
        created = await opencode.call("worktree_create", **facts)
        worktree = parse_model("the response of worktree_create", Location, created).directory
        with suppress(OpenCodeError):  # it is there without a name, too
            branch = (await read_branch(opencode, worktree)).branch
    return Worktree(directory=worktree, branch=branch)


async def remove_worktree(opencode: OpenCodeClient, directory: str | None, worktree: str) -> None:
    """Remove a worktree, whatever it has."""
    project = (await read_location(opencode, directory)).project
    await opencode.call("worktree_remove", projectID=project.id, directory=worktree, force=True)
