"""Decides which calls may load a directory: loading one runs its code.

The first request that names a directory makes OpenCode load its configuration, plugins, tools and MCP servers, whose
packages npm installs. Clients run read-only tools without asking, so these may only name directories that OpenCode
already knows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.openapi import Operation
from opencode_mcp.openapi.scopes import LOADS_NOTHING

from .allowlist import Allowlist, is_below
from .authorize import Ask, known_projects
from .places import decodings, is_absolute, places

Openers = Literal["all", "writes", "none", "none strictly"]
"""Which operations may load a directory. all: any. writes: any that is not read-only. none: none; known directories are
those in the project, in an allowed directory or in a project that OpenCode has opened before. none strictly: none;
known are only the configured directories and those with sessions."""

REMEDIES: Mapping[Openers, str] = {
    "writes": "load it with session_create or run_task",
    "none": "--no-destructive allows only paths in --directory, --allow-directory or a known project",
    "none strictly": (
        "--read-only allows only --directory itself, paths in --allow-directory, and directories in "
        "which OpenCode has sessions"
    ),
}


@dataclass(frozen=True)
class Opening:
    """Checks the calls to one server. `loaded` are the directories that calls have loaded."""

    openers: Openers
    allowlist: Allowlist
    ask: Ask
    opened: set[str] = field(default_factory=set[str])

    async def check(self, operation: Operation, arguments: Mapping[str, Any], default: str | None) -> None:
        """Refuse a call that would load a directory and must not; any call may load `default`.

        Raises:
            InvalidArguments: names the directory, and how to load it.
        """
        if not self._restricts(operation):
            return
        for where, directory in directories(operation, arguments):
            if not all([await self._is_known(meant, default) for meant in decodings(directory)]):
                raise InvalidArguments(
                    operation.name,
                    [
                        f"{where}: OpenCode has not loaded {directory!r}, and this call must not load it, as that runs "
                        f"the plugins and MCP servers configured there ({REMEDIES[self.openers]})"
                    ],
                )

    def note(self, operation: Operation, arguments: Mapping[str, Any]) -> None:
        """Record the directories that a successful call has loaded."""
        if operation.id not in LOADS_NOTHING and not operation.hints.read_only:
            self.opened.update(resolved(directory) for _, directory in directories(operation, arguments))

    def _restricts(self, operation: Operation) -> bool:
        if self.openers == "all" or operation.id in LOADS_NOTHING:
            return False
        return operation.hints.read_only or self.openers != "writes"

    async def _is_known(self, directory: str, default: str | None) -> bool:
        """Whether a directory is known, so that OpenCode may load it; the check loads nothing."""
        real = resolved(directory)
        strictly = self.openers == "none strictly"
        if not is_absolute(directory):
            return False  # OpenCode resolves it against a directory of its own
        if default is not None and (same(real, default) if strictly else lies_in(real, default)):
            return True
        if self.allowlist.roots and self.allowlist.allows(directory):
            return True
        if real in self.opened and not strictly:
            return True
        return await self._has_sessions(directory) or (not strictly and await self._in_project(real, default))

    async def _has_sessions(self, directory: str) -> bool:
        """Whether OpenCode has a session in a directory; this request does not load it."""
        answer = cast("dict[str, Any]", await self.ask("v2_session_list", directory=directory, limit=1))
        return bool(answer["data"])

    async def _in_project(self, real: str, default: str | None) -> bool:
        """Whether a directory is in a project that OpenCode has opened; `/` stands for no repository and does not
        count."""
        known = {
            directory
            for project in await known_projects(self.ask, default)
            if os.path.dirname(project.worktree) != project.worktree
            for directory in (project.worktree, *project.sandboxes)
        }
        return any(lies_in(real, directory) for directory in known)


def directories(operation: Operation, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (argument, directory) for each directory that a call loads; `cwd` is not one, it only applies to a
    process."""
    for place in places(operation.id, arguments):
        if place.kind == "directory" and place.where.rpartition(".")[2] == "directory":
            yield place.where, place.value


def resolved(directory: str) -> str:
    """Return a path with its symbolic links resolved."""
    return os.path.realpath(directory)


def same(real: str, directory: str) -> bool:
    """Whether a resolved path is that of a directory."""
    return real == resolved(directory)


def lies_in(real: str, directory: str) -> bool:
    """Whether a resolved path is a directory or below it."""
    return is_below(real, (resolved(directory),))
