"""`--allow-directory`: the directories in which OpenCode may work. Arguments outside of them are refused.

It restricts where OpenCode works, not what it can reach: OpenCode's permissions are not a sandbox.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opencode_mcp.catalog import Operation
from opencode_mcp.exceptions import InvalidArguments

from .location_arguments import (
    LocationArgument,
    is_absolute,
    iter_decodings,
    iter_names,
    leads_up,
    location_arguments,
    location_path,
)


@dataclass(frozen=True)
class DirectoryAllowlist:
    """`roots` are absolute, their symbolic links resolved. Without any, everything is allowed."""

    roots: tuple[str, ...] = ()

    @classmethod
    def from_directories(cls, directories: tuple[str, ...]) -> DirectoryAllowlist:
        """Return the allowlist of directories."""
        return cls(tuple(os.path.realpath(directory) for directory in directories))

    def allows(self, path: str) -> bool:
        """Whether a directory or file is in a root, or in a git worktree of a repository in a root."""
        return not self.roots or all(map(self._contains, iter_decodings(path)))

    def _contains(self, path: str) -> bool:
        if not os.path.isabs(path):
            return False  # OpenCode resolves it against its own directory
        real = os.path.realpath(path)
        return is_below(real, self.roots) or any(
            is_below(repository, self.roots) for repository in main_repositories(real)
        )

    def check_arguments(self, operation: Operation, arguments: Mapping[str, Any]) -> None:
        """Refuse arguments that name a location outside of the roots by a path or URL; `IdAuthorizer` checks ids.

        Raises:
            InvalidArguments: names the argument and the roots; or a path is invalid, whatever the roots.
        """
        locations = list(location_arguments(operation, arguments))
        problems = [
            f"{location.name}: must not contain a NUL character" for location in locations if "\0" in location.value
        ]
        if self.roots and not problems:
            problems = [
                *self._unknown_argument_problems(operation, arguments),
                *self._missing_directory_problems(operation, arguments),
            ]
            problems += [problem for location in locations if (problem := self._location_problem(location))]
        if problems:
            raise InvalidArguments(operation.name, problems)

    def check_scope(self, operation: Operation) -> None:
        """Refuse an operation that affects every directory.

        Raises:
            InvalidArguments: says so.
        """
        if self.roots and operation.scope == "everywhere":
            raise InvalidArguments(
                operation.name, ["it affects every directory of the server, which --allow-directory forbids"]
            )

    def outside_message(self) -> str:
        """Return the end of a sentence: that its subject is outside of the roots."""
        return f"is outside of the directories that --allow-directory allows: {', '.join(self.roots)}"

    def _location_problem(self, location: LocationArgument) -> str | None:
        """Return why a location is refused, or None."""
        if location.kind == "directory":
            return (
                None if self.allows(location.value) else f"{location.name}: {location.value!r} {self.outside_message()}"
            )
        if location.kind not in {"path", "url", "source"}:
            return None
        try:
            path = location_path(location)
        except ValueError as error:
            return f"{location.name}: {error} (required by --allow-directory)"
        if path is None:
            return None
        inside = self.allows(path) if is_absolute(path) else not leads_up(path)
        return None if inside else f"{location.name}: {location.value!r} {self.outside_message()}"

    def _unknown_argument_problems(self, operation: Operation, arguments: Mapping[str, Any]) -> Iterator[str]:
        """Yield a problem for each operation or argument that is not in the tables, and so may name any location."""
        if operation.scope is None:
            yield "the directories that it affects are unknown, so --allow-directory forbids it"
        is_known = operation.generation.scopes.is_known_argument
        unknown = {name for name in operation.argument_names if not is_known(name)}
        if unknown:
            for name in unknown.intersection(iter_names(arguments)):
                yield f"{name}: it may name a directory (unknown argument), so --allow-directory forbids it"

    def _missing_directory_problems(self, operation: Operation, arguments: Mapping[str, Any]) -> Iterator[str]:
        """Yield a problem for each missing directory: without it OpenCode uses its own, or all."""
        if "workspace" in arguments and operation.has_query_parameter("directory") and "directory" not in arguments:
            yield "workspace: --allow-directory requires its `directory` as well"
        location = arguments.get("location")
        if location and "directory" not in location:
            yield "location: --allow-directory requires its `directory` as well"
        required = operation.generation.scopes.required_argument.get(operation.id)
        if required is not None and required not in arguments:
            yield f"{required}: --allow-directory requires this argument"


def is_below(resolved_path: str, roots: tuple[str, ...]) -> bool:
    """Whether an absolute path is one of the directories, or below one."""
    return any(os.path.commonpath((root, resolved_path)) == root for root in roots if same_drive(root, resolved_path))


def same_drive(first: str, second: str) -> bool:
    """Whether two absolute paths can have a common prefix; on Windows they must be on the same drive."""
    return os.path.splitdrive(first)[0].lower() == os.path.splitdrive(second)[0].lower()


def main_repositories(resolved_path: str) -> Iterator[str]:
    """Yield the main repository of the git worktree that contains a path, if there is one.

    The worktree's `.git` names a folder in the repository, which names the worktree's `.git` in turn: a
    forged `.git` has no counterpart there.
    """
    git_file = next(
        (
            dot_git
            for folder in (Path(resolved_path), *Path(resolved_path).parents)
            if (dot_git := folder / ".git").exists()
        ),
        None,
    )
    if git_file is None or not git_file.is_file():
        return
    with suppress(OSError, UnicodeDecodeError, IndexError):  # what cannot be read proves nothing
        worktree_folder = Path(git_file.read_text(encoding="utf-8").removeprefix("gitdir:").strip())
        if os.path.realpath((worktree_folder / "gitdir").read_text(encoding="utf-8").strip()) == str(git_file):
            yield os.path.realpath(worktree_folder.parents[2])  # REPOSITORY/.git/worktrees/NAME
