"""The work of other bridges that share the server, which some operations would abort."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import PurePath
from typing import Any

from opencode_mcp.catalog import Operation
from opencode_mcp.exceptions import APIError, InvalidArguments, UnsupportedServer

from .client import OpenCodeClient
from .endpoint import OtherBridge
from .engine import engine_of
from .models import Session

SECOND_API = "v2_session_active"
"""Lists the sessions that run in OpenCode 1's second API, beside those of which its sessions' statuses know."""


async def check_no_other_work(opencode: OpenCodeClient, operation: Operation, arguments: Mapping[str, Any]) -> None:
    """Refuse an operation that would abort the work of other bridges or change its files, unless it has `force`.

    Raises:
        InvalidArguments: names the sessions, and whose they are.
        ServerStartError: the server cannot be started.
    """
    if arguments.get("force"):
        return
    await opencode.server.endpoint(opencode.report_progress)  # a bridge that is not connected knows of no other
    is_affected = affected_sessions(opencode, operation, arguments)
    work = [
        f"{name} of {describe_bridge(bridge)}"
        for bridge in opencode.server.others
        for name in bridge.active
        if await is_running(opencode, name, is_affected)
    ]
    if work:
        raise InvalidArguments(
            operation.name,
            [f"this would abort or undo the work of other assistants: {', '.join(work)}. To do so, pass force: true"],
        )


def is_below(session: Session, directory: str) -> bool:
    """Whether a session works in a directory or below it."""
    return PurePath(session.directory).is_relative_to(directory)


def named_directory(arguments: Mapping[str, Any]) -> str:
    """Return the directory that a call names, of which OpenCode 1 takes one more in the query."""
    return arguments.get("body", arguments)["directory"]


AFFECTED: Mapping[str, Callable[[Mapping[str, Any], Session], bool]] = {
    "worktree.remove": lambda arguments, session: is_below(session, named_directory(arguments)),
    "worktree.reset": lambda arguments, session: is_below(session, named_directory(arguments)),
    "v2.projectCopy.remove": lambda arguments, session: is_below(session, arguments["directory"]),
    "experimental.workspace.remove": lambda arguments, session: session.workspace_id == arguments["id"],
}
"""Whether an operation with these arguments affects a session, where not the directory of the call decides."""


def affected_sessions(
    opencode: OpenCodeClient, operation: Operation, arguments: Mapping[str, Any]
) -> Callable[[Session], bool]:
    """Return whether a session is affected; all are if the operation concerns all directories, or another workspace."""
    if operation.id in AFFECTED:
        return partial(AFFECTED[operation.id], arguments)
    takes_directory = any(parameter.name in {"directory", "location"} for parameter in operation.parameters)
    location: Mapping[str, str] = arguments.get("location") or {}
    directory = arguments.get("directory") or location.get("directory") or opencode.directory
    if not takes_directory or directory is None or "workspace" in arguments:
        return lambda session: True
    return lambda session: PurePath(session.directory) == PurePath(directory)


def describe_bridge(bridge: OtherBridge) -> str:
    """Name a bridge by its client and process."""
    if bridge.is_gone:
        return "a client that has disconnected"
    return f"{bridge.client or 'an assistant'} (process {bridge.pid})"


async def is_running(
    opencode: OpenCodeClient, name: str, is_affected: Callable[[Session], bool] = lambda session: True
) -> bool:
    """Whether a session is affected, and runs or may run. A terminal counts as running, wherever it is."""
    if not name.startswith("ses"):
        return True
    try:
        session = await engine_of(opencode).read_session(name)
        if not is_affected(session):
            return False
        if name in await engine_of(opencode).read_statuses(session.directory):
            return True
        return SECOND_API in opencode.catalog and name in (await opencode.call(SECOND_API))["data"]
    except UnsupportedServer:
        return False  # it has no v2 API
    except InvalidArguments:
        return False  # --allow-directory forbids its directory, and so to affect it
    except APIError as error:
        return error.status != 404  # it has been deleted; 400 means that a directory's configuration is wrong
