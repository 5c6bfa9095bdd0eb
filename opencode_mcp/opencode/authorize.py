"""Resolves ids in arguments to directories before a call; each directory must be allowed.

session -> its directory and its workspace; workspace, project -> their directories; @path -> the file
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from opencode_mcp.exceptions import APIError, InvalidArguments, UnexpectedResponse, UnsupportedServer
from opencode_mcp.openapi import Operation
from opencode_mcp.openapi.scopes import FILTERED_LISTS, ArgumentKind

from .allowlist import Allowlist
from .models import Model, as_model
from .places import Place, mentioned, places
from .responses import Answer

Ask = Callable[..., Awaitable[Any]]
"""`await call_read(name, **arguments)` returns the value of a read operation, without the checks of this module."""

PREFIXES: Mapping[str, ArgumentKind] = {"ses": "session", "wrk": "workspace"}
"""Prefixes of the ids that belong to a directory."""

NEW_SESSION = "v2.session.create"
"""Its `id` may be that of a session that does not exist yet."""


class Location(Model):
    """A session's location, in the v1 API."""

    directory: str
    workspace_id: str | None = None
    project_id: str | None = None


class Located(Model):
    """A session in the v2 API, which does not load the session's directory."""

    location: Location
    project_id: str | None = None


class Found(Model):
    """The response of v2_session_get."""

    data: Located


class Workspace(Model):
    """A workspace; `directory` is None if it is on another machine."""

    id: str
    directory: str | None = None


class Project(Model):
    """A project: a repository with its worktrees and clones, or all directories without one, as `/`."""

    id: str
    worktree: str
    sandboxes: tuple[str, ...] = ()


class Paths(Model):
    """An instance's directories; `worktree` is `/` outside of a repository."""

    home: str
    worktree: str


@dataclass(frozen=True)
class Authorization:
    """Checks the ids in one call's arguments against an allowlist with roots. `directory` is the default directory."""

    allowlist: Allowlist
    ask: Ask
    directory: str | None

    async def check(self, operation: Operation, arguments: Mapping[str, Any]) -> None:
        """Refuse a call with an id that belongs to a directory outside of the allowlist.

        Raises:
            InvalidArguments: names the argument.
            APIError: a session is unknown.
        """
        named = [by_prefix(place) for place in places(operation.id, arguments)]
        near = [place.value for place in named if place.kind == "directory"]
        for place in dict.fromkeys(named):
            problem = await self._problem(operation, place, named, near)
            if problem is not None:
                raise InvalidArguments(operation.name, [f"{place.where}: {problem}"])

    async def _problem(self, operation: Operation, place: Place, named: list[Place], near: list[str]) -> str | None:
        """Return why a location is refused, or None."""
        match place.kind:
            case "session":
                try:
                    return await self._session(place.value, near)
                except APIError as error:
                    if operation.id == NEW_SESSION and error.status == 404:
                        return None
                    raise
            case "workspace":
                return await self._workspace(place.value, near)
            case "project":
                return await self._project(place.value)
            case "mentions":
                return await self._mentions(place.value, named)
            case _:
                return None

    async def _session(self, session_id: str, near: list[str]) -> str | None:
        location = await locate(self.ask, session_id)
        if not self.allowlist.allows(location.directory) and not await self._was_worktree(location):
            return f"its directory {self.allowlist.outside()}"
        if location.workspace_id is None:
            return None
        return await self._workspace(location.workspace_id, [location.directory, *near])

    async def _was_worktree(self, location: Location) -> bool:
        """Whether a session's directory is a removed worktree that OpenCode created for an allowed project."""
        path, project = location.directory, location.project_id
        # OpenCode 1.18.33 creates them in a folder named after the project's id.
        if project is None or os.path.basename(os.path.dirname(path)) != project or "%" in path or exists(path):
            return False
        return await self._project(project) is None

    async def _workspace(self, workspace_id: str, near: list[str]) -> str | None:
        """A workspace is listed only for its own project, so every known allowed directory is queried."""
        default = [] if self.directory is None else [self.directory]
        for directory in dict.fromkeys([*near, *default, *self.allowlist.roots]):
            value = await self.ask("experimental_workspace_list", directory=directory)
            for workspace in as_model("the response of experimental_workspace_list", list[Workspace], value):
                if workspace.id == workspace_id:
                    allowed = workspace.directory is not None and self.allowlist.allows(workspace.directory)
                    return None if allowed else f"its directory {self.allowlist.outside()}"
        return f"no workspace in an allowed directory has this id; any other {self.allowlist.outside()}"

    async def _project(self, project_id: str) -> str | None:
        for project in await known_projects(self.ask, self.directory):
            if project.id == project_id:
                # The list keeps entries of deleted worktrees.
                there = [project.worktree, *filter(os.path.exists, project.sandboxes)]
                outside = [directory for directory in there if not self.allowlist.allows(directory)]
                return f"its directory {outside[0]!r} {self.allowlist.outside()}" if outside else None
        return f"OpenCode has no project with this id; any other {self.allowlist.outside()}"

    async def _mentions(self, text: str, named: list[Place]) -> str | None:
        """OpenCode attaches the files that a command's arguments mention, relative to the worktree."""
        names = mentioned(text)
        session_id = next((place.value for place in named if place.kind == "session"), None)
        if not names or session_id is None:
            return None
        location = await locate(self.ask, session_id)
        value = await self.ask("path_get", directory=location.directory)
        paths = as_model("the response of path_get", Paths, value)
        for name in names:
            home = name.startswith("~/")
            path = os.path.join(paths.home, name[2:]) if home else os.path.join(paths.worktree, name)
            if not self.allowlist.allows(path):
                return f"@{name} is {path!r}, which {self.allowlist.outside()}"
        return None


def by_prefix(place: Place) -> Place:
    """Return an argument of kind `id` with the kind that the id's prefix gives; others unchanged."""
    return replace(place, kind=PREFIXES.get(place.value[:3], "id")) if place.kind == "id" else place


async def locate(ask: Ask, session_id: str) -> Location:
    """Return a session's location, without loading its directory where OpenCode supports that.

    1.15 does not, and 1.18.33 responds with 500 if the directory no longer exists.

    Raises:
        APIError: there is no such session.
    """
    try:
        value = await ask("v2_session_get", sessionID=session_id)
    except (KeyError, UnexpectedResponse, UnsupportedServer):
        pass
    except APIError as error:
        if error.status != 500:
            raise
    else:
        found = as_model("the response of v2_session_get", Found, value).data
        return found.location.model_copy(update={"project_id": found.project_id})
    return as_model("the response of session_get", Location, await ask("session_get", sessionID=session_id))


def exists(path: str) -> bool:
    """Whether a path exists, even as a broken symbolic link."""
    return os.path.lexists(path)


async def known_projects(ask: Ask, directory: str | None) -> list[Project]:
    """Return all projects that OpenCode has ever opened."""
    where = {} if directory is None else {"directory": directory}
    return as_model("the response of project_list", list[Project], await ask("project_list", **where))


def without_outside(allowlist: Allowlist, operation: Operation, answer: Answer) -> Answer:
    """Remove sessions outside of the allowlist from a response that lists sessions, and add a note with their number.

    Raises:
        UnexpectedResponse: it is not a list of sessions.
    """
    if not allowlist.roots or operation.id not in FILTERED_LISTS:
        return answer
    whole: dict[str, Any] = answer.value if operation.id.startswith("v2.") else {"data": answer.value}
    try:
        sessions: list[dict[str, Any]] = whole["data"]
        directories = {directory: allowlist.allows(directory) for directory in map(directory_of, sessions)}
        kept = [session for session in sessions if directories[directory_of(session)]]
    except (KeyError, TypeError) as error:
        raise UnexpectedResponse(f"{operation.name}: the response is not a list of sessions: {error!r}") from error
    if len(kept) == len(sessions):
        return answer
    note = f"{len(sessions) - len(kept)} sessions were omitted: outside of --allow-directory."
    value = {**whole, "data": kept} if operation.id.startswith("v2.") else kept
    return replace(answer, value=value, fields={**answer.fields, "note": note})


def directory_of(session: Mapping[str, Any]) -> str:
    """Return the directory of a session listed by the v1 or the v2 API."""
    return session["location"]["directory"] if "location" in session else session["directory"]
