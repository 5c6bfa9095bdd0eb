"""File attachments: path or URL as given -> existing file -> `file` part of the prompt.

OpenCode takes any path, and puts "File not found" into the prompt for the model alone to read (1.18.33). So what does
not exist is refused here, before anything is sent. `~`, a leading `@` and line numbers are understood as people write
them, unless a file has just that name.

OpenCode lists the project's folders. To list another it would open it, which runs what is in it; so this process looks
itself where it sees the same files, and otherwise takes such a path as it was given.
"""

from __future__ import annotations

import mimetypes
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Literal
from urllib.parse import quote, unquote

from anyio.to_thread import run_sync

from opencode_mcp.exceptions import APIError, InvalidArguments, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import FileNode, HomePath
from opencode_mcp.opencode.process.other_processes import shares_files
from opencode_mcp.suggestions import suggest

from .workspace import directory_argument

LINE_RANGE = re.compile(r"^(?P<path>.+?)(?::|#L?)(?P<first>\d+)(?:(?:-L?)(?P<last>\d+)|:\d+)?$")
"""`file:12`, `file:12-20`, `file:12:5`, `file#L12-L20`."""

WEB_OR_DATA = ("http://", "https://", "data:")
FILE_SCHEME = "file://"
NO_DIRECTORY_STATUSES = frozenset({400, 404, 500})
"""How file_list answers for what is no directory (1.18.33: an opaque 500)."""


PLAIN_TEXT = "text/plain"
MEDIA_PREFIXES = ("image/", "audio/", "video/", "application/pdf")
TEXT_DESPITE_NAME = frozenset({"image/svg+xml", "video/mp2t"})
"""Drawings that are XML, and TypeScript, which shares its ending with a video format."""

FolderNames = list[str] | Literal["unknown"] | None
"""The names in a folder; None when there is no such folder, "unknown" when OpenCode would have to open it."""


@dataclass
class Folders:
    """The folders of OpenCode's machine, each read once. `project` is where relative paths begin.

    `shared` says that this process sees the same files.
    """

    opencode: OpenCodeClient
    project: PurePath
    shared: bool
    names_by_folder: dict[PurePath, FolderNames] = field(default_factory=dict["PurePath", "FolderNames"])

    async def resolve(self, path: PurePath) -> tuple[PurePath | None, bool]:
        """Return a path as it is on the disk, and whether it is known to be there.

        It is found as given, or as the only one that differs in case or in accents' form.

        Raises:
            InvalidArguments: it is in a folder that --allow-directory does not allow.
        """
        self._check_allowed(path)
        if path.parent == path or path == self.project:
            return path, True
        names = await self.read(path.parent)
        if names == "unknown":
            return path, False
        if path.name in (names or []):
            return path, True
        matches = [name for name in names or [] if fold_name(name) == fold_name(path.name)]
        if len(matches) != 1:
            return None, True
        self._check_allowed(path.with_name(matches[0]))
        return path.with_name(matches[0]), True

    def _check_allowed(self, path: PurePath) -> None:
        allowlist = self.opencode.allowlist
        if not allowlist.allows(str(path)):
            raise InvalidArguments("session_prompt_async", [f"files: {str(path)!r} {allowlist.outside_message()}"])

    async def read(self, folder: PurePath) -> FolderNames:
        """Return the names in a folder; None when there is no such folder."""
        if folder not in self.names_by_folder:
            names: FolderNames = "unknown"
            if folder.is_relative_to(self.project):
                names = await self._list(folder)
            if names == "unknown" and self.shared:
                names = await run_sync(list_names, folder)
            self.names_by_folder[folder] = names
        return self.names_by_folder[folder]

    async def _list(self, folder: PurePath) -> FolderNames:
        """List a folder of the project: unknown for what a link leads to, which OpenCode does not list."""
        path = folder.relative_to(self.project).as_posix()
        try:
            nodes = await self.opencode.call_as(list[FileNode], "file_list", directory=str(self.project), path=path)
        except APIError as error:
            if error.status not in NO_DIRECTORY_STATUSES:
                raise
            if folder == self.project:
                return None
            siblings = await self.read(folder.parent)
            return "unknown" if siblings == "unknown" or folder.name in (siblings or []) else None
        return [node.name for node in nodes]


def list_names(folder: PurePath) -> FolderNames:
    """Return the names in a folder that this process sees."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:  # it may not be listed, and a file in it may be read all the same
        return "unknown"


async def file_parts(opencode: OpenCodeClient, directory: str | None, files: Sequence[str]) -> list[dict[str, Any]]:
    """Return the parts that attach files; a relative path is the project's.

    Raises:
        WorkflowError: one is not on OpenCode's machine; nothing was sent.
        InvalidArguments: one is in a folder that --allow-directory does not allow.
    """
    if not files:
        return []
    home = await opencode.call_as(HomePath, "path_get", **directory_argument(directory))
    root = to_pure_path(directory or home.directory)
    endpoint = opencode.server.current_endpoint()
    folders = Folders(opencode, root, endpoint is not None and await run_sync(shares_files, endpoint))
    return [await make_file_part_for(folders, file, to_pure_path(home.home)) for file in files]


async def make_file_part_for(folders: Folders, file: str, home: PurePath) -> dict[str, Any]:
    """Return the part that attaches one file."""
    if file.startswith(WEB_OR_DATA):
        return make_file_part(file, file.partition("?")[0].rpartition("/")[2][:100])
    fallback: dict[str, Any] | None = None
    for path, query in candidate_paths(file, folders.project, home):
        resolved, is_known = await folders.resolve(path)
        if resolved is not None and is_known:
            return make_file_part(url_of(resolved) + query, resolved.name)
        if resolved is not None:  # lines are more likely than a name that ends like them
            fallback = make_file_part(url_of(resolved) + query, resolved.name)
    if fallback is not None:
        return fallback
    path, _ = next(candidate_paths(file, folders.project, home))
    names = await folders.read(path.parent)
    if not isinstance(names, list):
        reason = f"the folder {path.parent} does not exist"
    else:
        nearest = suggest(path.name, names)
        reason = f"{path.parent} has no {path.name!r}" + (f"; nearest: {nearest}" if nearest else "")
    raise WorkflowError(f"cannot attach {file!r}, so nothing was sent: {reason} on OpenCode's machine")


def candidate_paths(file: str, project: PurePath, home: PurePath) -> Iterator[tuple[PurePath, str]]:
    """Yield what a path may mean, each with the query that chooses lines: literally first."""
    if file.startswith(FILE_SCHEME):
        address, separator, query = file.removeprefix(FILE_SCHEME).partition("?")
        path = unquote(address)
        yield resolve_path(path.removeprefix("/") if is_windows(project) else path, project, home), separator + query
        return
    for path in dict.fromkeys((file, file.removeprefix("@"))):
        yield resolve_path(path, project, home), ""
    for path in dict.fromkeys((file, file.removeprefix("@"))):
        if (lines := LINE_RANGE.match(path)) is not None:
            last = lines["last"] or lines["first"]
            yield resolve_path(lines["path"], project, home), f"?start={lines['first']}&end={last}"


def resolve_path(path: str, project: PurePath, home: PurePath) -> PurePath:
    """Return a path from the root on, `~` and `..` resolved as OpenCode does: without regard to links."""
    path_type = type(project)
    if path == "~" or path.startswith(("~/", "~\\")):
        path = f"{home}/{path[2:]}"
    resolved: list[str] = []
    joined = project / path_type(path or ".")
    for name in joined.parts[1:]:
        if name == "..":
            resolved = resolved[:-1]
        else:
            resolved.append(name)
    return path_type(joined.anchor, *resolved)


def to_pure_path(path: str) -> PurePath:
    """Return a path of OpenCode's machine, which may run Windows."""
    return PureWindowsPath(path) if PureWindowsPath(path).drive else PurePosixPath(path)


def is_windows(path: PurePath) -> bool:
    """Whether a path is one of Windows."""
    return isinstance(path, PureWindowsPath)


def url_of(path: PurePath) -> str:
    """Return a path as a URL."""
    return FILE_SCHEME + ("/" if is_windows(path) else "") + quote(path.as_posix(), safe="/:")


def make_file_part(url: str, name: str) -> dict[str, Any]:
    """Return the part that attaches what is at a URL."""
    return {"type": "file", "mime": media_type(name), "url": url, "filename": name}


def media_type(name: str) -> str:
    """Return the type of a file: OpenCode reads a text/plain into the prompt, and gives all else to the model as bytes.

    Few models take bytes that are no media (1.18.33), so what is no medium by its name is text to OpenCode.
    """
    guess = mimetypes.guess_type(name)[0] or PLAIN_TEXT
    return guess if guess.startswith(MEDIA_PREFIXES) and guess not in TEXT_DESPITE_NAME else PLAIN_TEXT


def fold_name(name: str) -> str:
    """Return a name as file systems compare it that look neither at case nor at how accents are written."""
    return unicodedata.normalize("NFC", name).casefold()
