"""The work of other bridges that share the server, which some operations would abort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opencode_mcp.catalog import Operation
from opencode_mcp.exceptions import APIError, InvalidArguments

from .client import OpenCodeClient
from .endpoint import OtherBridge


async def check_no_other_work(opencode: OpenCodeClient, operation: Operation, arguments: Mapping[str, Any]) -> None:
    """Refuse an operation that would abort the work of other bridges, unless the caller says `force`.

    Raises:
        InvalidArguments: names the sessions, and whose they are.
    """
    if arguments.get("force"):
        return
    directory = arguments.get("directory") or opencode.directory if takes_directory(operation) else None
    work = [
        f"{session} of {describe_bridge(bridge)}"
        for bridge in opencode.server.others
        for session in bridge.active
        if await is_running(opencode, session, directory)
    ]
    if work:
        raise InvalidArguments(
            operation.name,
            [f"it would abort the work of other assistants: {', '.join(work)}. To do so, pass force: true"],
        )


def takes_directory(operation: Operation) -> bool:
    """Whether an operation concerns one directory; otherwise it concerns all."""
    return any(parameter.name == "directory" for parameter in operation.parameters)


def describe_bridge(bridge: OtherBridge) -> str:
    """Name a bridge by its client and process."""
    return f"{bridge.client or 'an assistant'} (process {bridge.pid})"


async def is_running(opencode: OpenCodeClient, name: str, directory: str | None) -> bool:
    """Whether a session runs, in a directory if one is given. A terminal counts as running."""
    if not name.startswith("ses"):
        return True
    try:
        session: dict[str, Any] = await opencode.call("session_get", sessionID=name)
    except APIError:
        return False  # it has been deleted
    if directory is not None and session["directory"] != directory:
        return False
    statuses: dict[str, Any] = await opencode.call("session_status", directory=session["directory"])
    return name in statuses
