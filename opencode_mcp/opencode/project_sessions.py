"""The sessions of a project, those in its worktrees too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from .client import OpenCodeClient
from .models import ProjectPath, parse_model


async def include_worktrees(opencode: OpenCodeClient, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Extend a session list to the project's worktrees: the same folder in every working tree of the repository.

    `scope` "directory" is sent as no scope, which means the same to OpenCode.
    """
    if arguments.keys() & {"scope", "path", "workspace"}:
        return {name: value for name, value in arguments.items() if (name, value) != ("scope", "directory")}
    directory_arguments = {"directory": arguments["directory"]} if "directory" in arguments else {}
    project: Any = await opencode.call("path_get", **directory_arguments)
    if not isinstance(project, dict) or "worktree" not in project:
        return arguments  # a server that does not report the project's path
    paths = parse_model("the response of path_get", ProjectPath, cast("object", project))
    top = paths.worktree.rstrip("/\\")
    subfolder = paths.directory.removeprefix(top).replace("\\", "/").strip("/")
    if not top or (subfolder and paths.directory == subfolder):
        return arguments
    return {**arguments, "scope": "project", **({"path": subfolder} if subfolder else {})}
