"""Decides which calls may load a directory: loading one runs its code.

The first request that names a directory makes OpenCode load its configuration, plugins, tools and MCP servers, whose
packages npm installs. Clients run read-only tools without asking, so these may only name directories that OpenCode
already knows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from opencode_mcp.catalog import Operation
from opencode_mcp.exceptions import InvalidArguments

from .allowlist import DirectoryAllowlist, is_below
from .location_arguments import is_absolute, iter_decodings, location_arguments
from .location_reads import LOCATION_READS, CallRead, LocationReads

LoadPolicy = Literal["all", "writes", "none", "none strictly"]
"""Which operations may load a directory. all: any. writes: any that is not read-only. none: none; known directories are
those in the project, in an allowed directory or in a project that OpenCode has opened before. none strictly: none;
known are only the configured directories and those with sessions."""

LOAD_ADVICE: Mapping[LoadPolicy, str] = {
    "writes": "load it with session_create or run_task",
    "none": "--no-destructive allows only paths in --directory, --allow-directory or a known project",
    "none strictly": (
        "--read-only allows only --directory itself, paths in --allow-directory, and directories in "
        "which OpenCode has sessions"
    ),
}


@dataclass(frozen=True)
class LoadGuard:
    """Checks the calls to one server. `loaded` are the directories that calls have loaded."""

    policy: LoadPolicy
    allowlist: DirectoryAllowlist
    call_read: CallRead
    loaded: set[str] = field(default_factory=set[str])

    async def check(self, operation: Operation, arguments: Mapping[str, Any], default: str | None) -> None:
        """Refuse a call that would load a directory and must not; any call may load `default`.

        Raises:
            InvalidArguments: names the directory, and how to load it.
        """
        if not self._restricts(operation):
            return
        reads = LOCATION_READS[operation.generation.number]
        for argument, directory in loaded_directories(operation, arguments):
            if not all([await self._is_known(reads, reading, default) for reading in iter_decodings(directory)]):
                raise InvalidArguments(
                    operation.name,
                    [
                        f"{argument}: OpenCode has not loaded {directory!r}, and this call must not load it, as that "
                        f"runs the plugins and MCP servers configured there ({LOAD_ADVICE[self.policy]})"
                    ],
                )

    def record_loaded(self, operation: Operation, arguments: Mapping[str, Any]) -> None:
        """Record the directories that a successful call has loaded."""
        if operation.id not in operation.generation.scopes.loads_nothing and not operation.hints.read_only:
            self.loaded.update(resolve_path(directory) for _, directory in loaded_directories(operation, arguments))

    def _restricts(self, operation: Operation) -> bool:
        if self.policy == "all" or operation.id in operation.generation.scopes.loads_nothing:
            return False
        return operation.hints.read_only or self.policy != "writes"

    async def _is_known(self, reads: LocationReads, directory: str, default: str | None) -> bool:
        """Whether a directory is known, so that OpenCode may load it; the check loads nothing."""
        resolved_path = resolve_path(directory)
        strictly = self.policy == "none strictly"
        if not is_absolute(directory):
            return False  # OpenCode resolves it against its own directory
        if default is not None and (
            is_same_directory(resolved_path, default) if strictly else is_in_directory(resolved_path, default)
        ):
            return True
        if self.allowlist.roots and self.allowlist.allows(directory):
            return True
        if resolved_path in self.loaded and not strictly:
            return True
        if await reads.has_sessions(self.call_read, directory):
            return True
        return not strictly and await self._in_project(reads, resolved_path, default)

    async def _in_project(self, reads: LocationReads, resolved_path: str, default: str | None) -> bool:
        """Whether a directory is in a project that OpenCode has opened; `/` stands for no repository and does not
        count."""
        project_directories = {
            directory
            for project in await reads.projects(self.call_read, default)
            if os.path.dirname(project.worktree) != project.worktree
            for directory in (project.worktree, *project.sandboxes)
        }
        return any(is_in_directory(resolved_path, directory) for directory in project_directories)


def loaded_directories(operation: Operation, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (argument, directory) for each directory that a call loads; `cwd` is not one, it only applies to a
    process."""
    for location in location_arguments(operation, arguments):
        if location.kind == "directory" and location.name.rpartition(".")[2] == "directory":
            yield location.name, location.value


def resolve_path(directory: str) -> str:
    """Return a path with its symbolic links resolved."""
    return os.path.realpath(directory)


def is_same_directory(resolved_path: str, directory: str) -> bool:
    """Whether a resolved path is that of a directory."""
    return resolved_path == resolve_path(directory)


def is_in_directory(resolved_path: str, directory: str) -> bool:
    """Whether a resolved path is a directory or below it."""
    return is_below(resolved_path, (resolve_path(directory),))
