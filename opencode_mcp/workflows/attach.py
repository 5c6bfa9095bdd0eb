"""Files to attach to a prompt: what was given -> a file that is there -> the part that OpenCode reads.

OpenCode takes any path, and puts "File not found" into the prompt for the model alone to read (1.18.33). So what does
not exist is refused here, before anything is sent. `~`, a leading `@` and line numbers are understood as people write
them, unless a file has just that name.
"""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import quote, unquote

from opencode_mcp.exceptions import APIError, WorkflowError
from opencode_mcp.opencode import OpenCode
from opencode_mcp.opencode.models import FileNode, Home

from .place import located

LINES = re.compile(r"^(?P<path>.+?)(?::|#L?)(?P<first>\d+)(?:(?:-L?)(?P<last>\d+)|:\d+)?$")
"""`file:12`, `file:12-20`, `file:12:5`, `file#L12-L20`."""

WEB_OR_DATA = ("http://", "https://", "data:")
FILE = "file://"
NOT_THERE = frozenset({400, 404, 500})
"""How file_list answers for what is no directory (1.18.33: an opaque 500)."""


TEXT = "text/plain"
MEDIA = ("image/", "audio/", "video/", "application/pdf")
TEXTS = frozenset({"image/svg+xml", "video/mp2t"})
"""Drawings that are XML, and TypeScript, which shares its ending with a video format."""


@dataclass
class Folders:
    """The folders of OpenCode's machine, each read once. `project` is where relative paths begin."""

    opencode: OpenCode
    project: PurePath
    names: dict[PurePath, list[str] | None] = field(default_factory=dict[PurePath, list[str] | None])

    async def find(self, path: PurePath) -> PurePath | None:
        """Return a path as it is on the disk: as given, or the only one that differs in case or in accents' form."""
        if path.parent == path or path == self.project:
            return path
        names = await self.read(path.parent) or []
        if path.name in names:
            return path
        same = [name for name in names if folded(name) == folded(path.name)]
        return path.with_name(same[0]) if len(same) == 1 else None

    async def read(self, folder: PurePath) -> list[str] | None:
        """Return the names in a folder; None when there is no such folder."""
        if folder not in self.names:
            inside = folder.is_relative_to(self.project)
            names = await self._list(self.project, folder.relative_to(self.project).as_posix()) if inside else None
            # OpenCode lists nothing that a link in the project leads to; as a directory of its own it does.
            self.names[folder] = names if names is not None else await self._list(folder, ".")
        return self.names[folder]

    async def _list(self, directory: PurePath, path: str) -> list[str] | None:
        try:
            listed = await self.opencode.call_as(list[FileNode], "file_list", directory=str(directory), path=path)
        except APIError as error:
            if error.status not in NOT_THERE:
                raise
            return None
        return [one.name for one in listed]


async def file_parts(opencode: OpenCode, directory: str | None, files: Sequence[str]) -> list[dict[str, Any]]:
    """Return the parts that attach files; a relative path is the project's.

    Raises:
        WorkflowError: one is not on OpenCode's machine; nothing was sent.
        InvalidArguments: one is in a folder that --allow-directory does not allow.
    """
    if not files:
        return []
    home = await opencode.call_as(Home, "path_get", **located(directory))
    root = pure(directory or home.directory)
    folders = Folders(opencode, root)
    return [await file_part(folders, given, pure(home.home)) for given in files]


async def file_part(folders: Folders, given: str, home: PurePath) -> dict[str, Any]:
    """Return the part that attaches one file."""
    if given.startswith(WEB_OR_DATA):
        return part(given, given.partition("?")[0].rpartition("/")[2][:100])
    for path, query in readings(given, folders.project, home):
        if (found := await folders.find(path)) is not None:
            return part(url_of(found) + query, found.name)
    path, _ = next(readings(given, folders.project, home))
    names = await folders.read(path.parent)
    if names is None:
        why = f"there is no folder {path.parent}"
    else:
        near = get_close_matches(path.name, names, n=3, cutoff=0.4)
        why = f"there is no {path.name!r} in {path.parent}" + (f"; nearest: {', '.join(near)}" if near else "")
    raise WorkflowError(f"the file {given!r} cannot be attached, so nothing was sent: {why} on OpenCode's machine")


def readings(given: str, project: PurePath, home: PurePath) -> Iterator[tuple[PurePath, str]]:
    """Yield what a path may mean, each with the query that chooses lines: literally first."""
    if given.startswith(FILE):
        address, mark, query = given.removeprefix(FILE).partition("?")
        path = unquote(address)
        yield absolute(path.removeprefix("/") if is_windows(project) else path, project, home), mark + query
        return
    for path in dict.fromkeys((given, given.removeprefix("@"))):
        yield absolute(path, project, home), ""
    for path in dict.fromkeys((given, given.removeprefix("@"))):
        if (lines := LINES.match(path)) is not None:
            last = lines["last"] or lines["first"]
            yield absolute(lines["path"], project, home), f"?start={lines['first']}&end={last}"


def absolute(path: str, project: PurePath, home: PurePath) -> PurePath:
    """Return a path from the root on, `~` and `..` resolved as OpenCode does: without regard to links."""
    kind = type(project)
    if path == "~" or path.startswith(("~/", "~\\")):
        path = f"{home}/{path[2:]}"
    resolved: list[str] = []
    whole = project / kind(path or ".")
    for name in whole.parts[1:]:
        if name == "..":
            resolved = resolved[:-1]
        else:
            resolved.append(name)
    return kind(whole.anchor, *resolved)


def pure(path: str) -> PurePath:
    """Return a path of OpenCode's machine, which may be a Windows."""
    return PureWindowsPath(path) if PureWindowsPath(path).drive else PurePosixPath(path)


def is_windows(path: PurePath) -> bool:
    """Whether a path is one of Windows."""
    return isinstance(path, PureWindowsPath)


def url_of(path: PurePath) -> str:
    """Return a path as a URL."""
    return FILE + ("/" if is_windows(path) else "") + quote(path.as_posix(), safe="/:")


def part(url: str, name: str) -> dict[str, Any]:
    """Return the part that attaches what is at a URL."""
    return {"type": "file", "mime": media_type(name), "url": url, "filename": name}


def media_type(name: str) -> str:
    """Return the type of a file: OpenCode reads a text/plain into the prompt, and gives all else to the model as bytes.

    Few models take bytes that are no media (1.18.33), so what is no medium by its name is text to OpenCode.
    """
    guess = mimetypes.guess_type(name)[0] or TEXT
    return guess if guess.startswith(MEDIA) and guess not in TEXTS else TEXT


def folded(name: str) -> str:
    """Return a name as file systems compare it that look neither at case nor at how accents are written."""
    return unicodedata.normalize("NFC", name).casefold()
