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

from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.openapi import Operation
from opencode_mcp.openapi.scopes import REQUIRED_ARGUMENT, is_known_argument

from .places import Place, decodings, is_absolute, leads_up, names_in, path_of, places


@dataclass(frozen=True)
class Allowlist:
    """`roots` are absolute, their symbolic links resolved. Without any, everything is allowed."""

    roots: tuple[str, ...] = ()

    @classmethod
    def of(cls, directories: tuple[str, ...]) -> Allowlist:
        """Return the allowlist of directories."""
        return cls(tuple(os.path.realpath(directory) for directory in directories))

    def allows(self, path: str) -> bool:
        """Whether a directory or file is in a root, or in a git worktree of a repository in a root."""
        return not self.roots or all(map(self._contains, decodings(path)))

    def _contains(self, path: str) -> bool:
        if not os.path.isabs(path):
            return False  # OpenCode resolves it against its own directory
        real = os.path.realpath(path)
        return is_below(real, self.roots) or any(
            is_below(repository, self.roots) for repository in repositories_of(real)
        )

    def check(self, operation: Operation, arguments: Mapping[str, Any]) -> None:
        """Refuse arguments that name a location outside of the roots by a path or URL; `IdAuthorizer` checks ids.

        Raises:
            InvalidArguments: names the argument and the roots; or a path is invalid, whatever the roots.
        """
        named = list(places(operation.id, arguments))
        problems = [f"{one.where}: must not contain a NUL character" for one in named if "\0" in one.value]
        if self.roots and not problems:
            problems = [*self._undecided(operation, arguments), *self._unplaced(operation, arguments)]
            problems += [problem for one in named if (problem := self._problem(one))]
        if problems:
            raise InvalidArguments(operation.name, problems)

    def refuse_everywhere(self, operation: Operation) -> None:
        """Refuse an operation that affects every directory.

        Raises:
            InvalidArguments: says so.
        """
        if self.roots and operation.scope == "everywhere":
            raise InvalidArguments(
                operation.name, ["it affects every directory of the server, which --allow-directory forbids"]
            )

    def outside(self) -> str:
        """Return the end of a sentence: that its subject is outside of the roots."""
        return f"is outside of the directories that --allow-directory allows: {', '.join(self.roots)}"

    def _problem(self, place: Place) -> str | None:
        """Return why a location is refused, or None."""
        if place.kind == "directory":
            return None if self.allows(place.value) else f"{place.where}: {place.value!r} {self.outside()}"
        if place.kind not in {"path", "url", "source"}:
            return None
        try:
            path = path_of(place)
        except ValueError as error:
            return f"{place.where}: {error} (required by --allow-directory)"
        if path is None:
            return None
        inside = self.allows(path) if is_absolute(path) else not leads_up(path)
        return None if inside else f"{place.where}: {place.value!r} {self.outside()}"

    def _undecided(self, operation: Operation, arguments: Mapping[str, Any]) -> Iterator[str]:
        """Yield a problem for each operation or argument that is not in the tables, and so may name any location."""
        if operation.scope is None:
            yield "the directories that it affects are unknown, so --allow-directory forbids it"
        new = {name for name in operation.argument_names if not is_known_argument(name)}
        if new:
            for name in new.intersection(names_in(arguments)):
                yield f"{name}: it may name a directory (unknown argument), so --allow-directory forbids it"

    def _unplaced(self, operation: Operation, arguments: Mapping[str, Any]) -> Iterator[str]:
        """Yield a problem for each missing directory: without it OpenCode uses its own, or all."""
        if "workspace" in arguments and operation.has_query_parameter("directory") and "directory" not in arguments:
            yield "workspace: --allow-directory requires its `directory` as well"
        location = arguments.get("location")
        if location and "directory" not in location:
            yield "location: --allow-directory requires its `directory` as well"
        needed = REQUIRED_ARGUMENT.get(operation.id)
        if needed is not None and needed not in arguments:
            yield f"{needed}: --allow-directory requires this argument"


def is_below(real: str, roots: tuple[str, ...]) -> bool:
    """Whether an absolute path is one of the directories, or below one."""
    return any(os.path.commonpath((root, real)) == root for root in roots if same_drive(root, real))


def same_drive(one: str, other: str) -> bool:
    """Whether two absolute paths can have a common prefix; on Windows they must be on the same drive."""
    return os.path.splitdrive(one)[0].lower() == os.path.splitdrive(other)[0].lower()


def repositories_of(real: str) -> Iterator[str]:
    """Yield the main repository of the git worktree that contains a path, if there is one.

    The worktree's `.git` names a folder in the repository, which names the worktree's `.git` in turn: a
    forged `.git` has no counterpart there.
    """
    link = next((one for folder in (Path(real), *Path(real).parents) if (one := folder / ".git").exists()), None)
    if link is None or not link.is_file():
        return
    with suppress(OSError, UnicodeDecodeError, IndexError):  # what cannot be read proves nothing
        entry = Path(link.read_text(encoding="utf-8").removeprefix("gitdir:").strip())
        if os.path.realpath((entry / "gitdir").read_text(encoding="utf-8").strip()) == str(link):
            yield os.path.realpath(entry.parents[2])  # REPOSITORY/.git/worktrees/NAME
