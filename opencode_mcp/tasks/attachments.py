"""File attachments: path or URL as given -> existing file -> `file` part of the prompt.

OpenCode accepts any path, and only the model reads "File not found" in the prompt (1.18.33). So a file that does not
exist is refused here, before anything is sent. `~`, a leading `@` and line numbers mean what they do in a shell or an
editor, unless a file has exactly that name.

OpenCode lists the project's folders. To list another folder it would open it as a project, which may run code in it; so
this process lists it where it shares the files, and elsewhere sends the path unchecked.
"""

from __future__ import annotations

import mimetypes
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath, PureWindowsPath
from typing import Any, Literal
from urllib.parse import quote, unquote

from anyio.to_thread import run_sync

from opencode_mcp.exceptions import APIError, InvalidArguments, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.process.other_processes import shares_files
from opencode_mcp.opencode.remote_path import to_pure_path
from opencode_mcp.suggestions import suggest

LINE_RANGE = re.compile(r"^(?P<path>.+?)(?::|#L?)(?P<first>\d+)(?:(?:-L?)(?P<last>\d+)|:\d+)?$")
"""`file:12`, `file:12-20`, `file:12:5`, `file#L12-L20`."""

WEB_OR_DATA = ("http://", "https://", "data:")
FILE_SCHEME = "file://"
NO_DIRECTORY_STATUSES = frozenset({400, 404, 500})
"""Responses of file_list for a path that is not a directory (1.18.33: an opaque 500)."""

PLAIN_TEXT = "text/plain"
MEDIA_PREFIXES = ("image/", "audio/", "video/", "application/pdf")
TEXT_DESPITE_NAME = frozenset({"image/svg+xml", "video/mp2t"})
"""SVG, which is XML, and TypeScript, whose suffix is also that of a video format."""

FolderNames = list[str] | Literal["unknown"] | None
"""The names in a folder; None when it does not exist, "unknown" when only OpenCode could list it, by opening it."""


@dataclass
class Folders:
    """The folders on OpenCode's machine, each read once. Relative paths start from `project`.

    `shared`: this process and OpenCode see the same files.
    """

    opencode: OpenCodeClient
    project: PurePath
    shared: bool
    names_by_folder: dict[PurePath, FolderNames] = field(default_factory=dict["PurePath", "FolderNames"])

    async def resolve(self, path: PurePath) -> tuple[PurePath | None, bool]:
        """Return a path as it is on the disk (None if it is not there), and whether that is known.

        It matches literally, or is the only name that differs just in case or in Unicode form.

        Raises:
            InvalidArguments: --allow-directory does not allow it.
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
        """List a folder of the project; "unknown" for the target of a symbolic link, which OpenCode does not list."""
        path = folder.relative_to(self.project).as_posix()
        try:
            return await engine_of(self.opencode).list_files(str(self.project), path)
        except APIError as error:
            if error.status not in NO_DIRECTORY_STATUSES:
                raise
            if folder == self.project:
                return None
            siblings = await self.read(folder.parent)
            return "unknown" if siblings == "unknown" or folder.name in (siblings or []) else None


def list_names(folder: PurePath) -> FolderNames:
    """Return the names in a folder that this process sees."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:  # no permission to list it; its files may still be readable
        return "unknown"


async def file_parts(opencode: OpenCodeClient, directory: str | None, files: Sequence[str]) -> list[dict[str, Any]]:
    """Return the parts that attach files; relative paths start from `directory`, or OpenCode's own.

    Raises:
        WorkflowError: a file does not exist on OpenCode's machine; nothing was sent.
        InvalidArguments: --allow-directory does not allow a file.
    """
    if not files:
        return []
    paths = await engine_of(opencode).read_paths(directory)
    root = to_pure_path(directory or paths.directory)
    endpoint = opencode.server.current_endpoint()
    folders = Folders(opencode, root, endpoint is not None and await run_sync(shares_files, endpoint))
    home = None if paths.home is None else to_pure_path(paths.home)
    return [await make_file_part_for(folders, file, home) for file in files]


async def make_file_part_for(folders: Folders, file: str, home: PurePath | None) -> dict[str, Any]:
    """Return the part that attaches one file."""
    if file.startswith(WEB_OR_DATA):
        return make_file_part(file, file.partition("?")[0].rpartition("/")[2][:100])
    fallback: dict[str, Any] | None = None
    for path, query in candidate_paths(file, folders.project, home):
        resolved, is_known = await folders.resolve(path)
        if resolved is not None and is_known:
            return make_file_part(url_of(resolved) + query, resolved.name)
        if resolved is not None:  # unchecked; a later candidate, with line numbers, is more likely
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


def candidate_paths(file: str, project: PurePath, home: PurePath | None) -> Iterator[tuple[PurePath, str]]:
    """Yield the paths that an argument may mean, each with a `?start=&end=` query for lines; the literal one first."""
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


def resolve_path(path: str, project: PurePath, home: PurePath | None) -> PurePath:
    """Return an absolute path, with `~` and `..` resolved as OpenCode does: lexically, not through links.

    Raises:
        WorkflowError: it begins with `~`, and OpenCode does not say where the home folder is.
    """
    path_type = type(project)
    if path == "~" or path.startswith(("~/", "~\\")):
        if home is None:
            raise WorkflowError(f"cannot attach {path!r}, so nothing was sent: pass an absolute path instead of `~`")
        path = f"{home}/{path[2:]}"
    resolved: list[str] = []
    joined = project / path_type(path or ".")
    for name in joined.parts[1:]:
        if name == "..":
            resolved = resolved[:-1]
        else:
            resolved.append(name)
    return path_type(joined.anchor, *resolved)


def is_windows(path: PurePath) -> bool:
    """Whether a path is a Windows path."""
    return isinstance(path, PureWindowsPath)


def url_of(path: PurePath) -> str:
    """Return a path as a file URL."""
    return FILE_SCHEME + ("/" if is_windows(path) else "") + quote(path.as_posix(), safe="/:")


def make_file_part(url: str, name: str) -> dict[str, Any]:
    """Return the part that attaches what is at a URL."""
    return {"type": "file", "mime": media_type(name), "url": url, "filename": name}


def media_type(name: str) -> str:
    """Return the media type to send for a file name.

    OpenCode reads text/plain into the prompt, and passes all other types to the model as bytes, which few models
    accept unless they are media or PDF (1.18.33). So any other type is sent as text/plain.
    """
    guess = mimetypes.guess_type(name)[0] or PLAIN_TEXT
    return guess if guess.startswith(MEDIA_PREFIXES) and guess not in TEXT_DESPITE_NAME else PLAIN_TEXT


def fold_name(name: str) -> str:
    """Return a name for comparison regardless of case and of Unicode form."""
    return unicodedata.normalize("NFC", name).casefold()
