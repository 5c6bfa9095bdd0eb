"""`--allow-directory`: the directories in which OpenCode may be set to work. What lies outside is refused here.

A fence around where work is done, not around what work can reach: OpenCode's permissions are no sandbox.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from opencode_mcp.exceptions import InvalidArguments

DIRECTORY_KEYS = frozenset({"directory", "cwd"})
"""What an argument is called that says where to work, at any depth: in `location`, in a body."""


@dataclass(frozen=True)
class Fence:
    """`roots` are absolute, their symbolic links resolved. Without any, everything is allowed."""

    roots: tuple[str, ...] = ()

    @classmethod
    def around(cls, directories: tuple[str, ...]) -> Fence:
        """Return the fence around directories."""
        return cls(tuple(os.path.realpath(directory) for directory in directories))

    def allows(self, directory: str) -> bool:
        """Whether a directory, or a file, is in a root, or in a git worktree of a repository that is in one."""
        if not self.roots:
            return True
        if not os.path.isabs(directory):
            return False  # OpenCode resolves it against a directory of its own
        real = os.path.realpath(directory)
        return self._contains(real) or any(self._contains(repository) for repository in repositories_of(real))

    def check(self, operation: str, arguments: Mapping[str, Any]) -> None:
        """Refuse arguments that name a place outside.

        Raises:
            InvalidArguments: names it, and the roots.
        """
        if not self.roots:
            return
        for where, place in places(arguments):
            if place is None:
                raise InvalidArguments(operation, [f"{where}: a workspace is not accepted with --allow-directory"])
            if not self.allows(place):
                raise InvalidArguments(operation, [f"{where}: {place!r} {self.outside()}"])

    def outside(self) -> str:
        """Say of something that it is outside."""
        return f"is outside of what --allow-directory allows: {', '.join(self.roots)}"

    def _contains(self, real: str) -> bool:
        return any(os.path.commonpath((root, real)) == root for root in self.roots if same_drive(root, real))


def same_drive(one: str, other: str) -> bool:
    """Whether two absolute paths can have a common one; on Windows each drive is a tree of its own."""
    return os.path.splitdrive(one)[0].lower() == os.path.splitdrive(other)[0].lower()


def places(value: Any, where: str = "") -> Iterator[tuple[str, str | None]]:
    """Yield every place that arguments name, with where they name it; None stands for a workspace's, unknown here."""
    if isinstance(value, list):
        for number, inner in enumerate(cast("list[Any]", value)):
            yield from places(inner, f"{where}.{number}")
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[str, Any]", value).items():
            named = f"{where}.{key}".lstrip(".")
            if key in DIRECTORY_KEYS and isinstance(inner, str):
                yield named, inner
            elif key == "workspace" and isinstance(inner, str):
                yield named, None
            elif key == "url" and isinstance(inner, str) and inner.lower().startswith("file:"):
                yield named, file_of(inner)
            else:
                yield from places(inner, named)


def file_of(url: str) -> str:
    """Return the path of a file: URL."""
    parts = urlsplit(url)
    return url2pathname(parts.path) if parts.netloc in {"", "localhost"} else url


def repositories_of(real: str) -> Iterator[str]:
    """Yield the main repository of the git worktree that a path is in, if it is in one.

    The worktree's `.git` names a folder in the repository, which names the worktree's `.git` in turn: a
    `.git` that somebody made up has no counterpart there.
    """
    link = next((one for folder in (Path(real), *Path(real).parents) if (one := folder / ".git").exists()), None)
    if link is None or not link.is_file():
        return
    with suppress(OSError, UnicodeDecodeError, IndexError):  # what cannot be read proves nothing
        entry = Path(link.read_text(encoding="utf-8").removeprefix("gitdir:").strip())
        if os.path.realpath((entry / "gitdir").read_text(encoding="utf-8").strip()) == str(link):
            yield os.path.realpath(entry.parents[2])  # REPOSITORY/.git/worktrees/NAME
