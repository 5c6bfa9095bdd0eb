"""Ids that arguments name, resolved to directories before a call: each must be one that is allowed.

session -> its directory and its workspace; workspace, project -> their directories; @path -> the file
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from opencode_mcp.exceptions import APIError, InvalidArguments, UnexpectedResponse, UnsupportedServer
from opencode_mcp.openapi import Operation
from opencode_mcp.openapi.scopes import FILTERED, Kind

from .allowlist import Allowlist
from .models import Model, as_model
from .places import Place, mentioned, places
from .responses import Answer

Ask = Callable[..., Awaitable[Any]]
"""`await ask(name, **arguments)` gives the value of a read's answer, without the checks of this module."""

PREFIXES: Mapping[str, Kind] = {"ses": "session", "wrk": "workspace"}
"""How the ids begin of what has a directory."""

NEW_SESSION = "v2.session.create"
"""Its `id` may be that of a session which is yet to be."""


class Location(Model):
    """Where a session is, as v1 has it."""

    directory: str
    workspace_id: str | None = None
    project_id: str | None = None


class Located(Model):
    """A session as v2 has it, which does not load the session's directory to say so."""

    location: Location
    project_id: str | None = None


class Found(Model):
    """The answer of v2_session_get."""

    data: Located


class Workspace(Model):
    """A workspace; one on another machine has no directory here."""

    id: str
    directory: str | None = None


class Project(Model):
    """A project: a repository with its worktrees and clones, or all directories without one, as `/`."""

    id: str
    worktree: str
    sandboxes: tuple[str, ...] = ()


class Paths(Model):
    """Where an instance works; `worktree` is `/` outside of a repository."""

    home: str
    worktree: str


@dataclass(frozen=True)
class Authorization:
    """Checks the ids of one call against an allowlist that has roots. `directory` is the default one."""

    allowlist: Allowlist
    ask: Ask
    directory: str | None

    async def check(self, operation: Operation, arguments: Mapping[str, Any]) -> None:
        """Refuse a call that names what is outside by an id.

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
        """Say why what a place names is refused, or None."""
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
        """Whether a session worked in a worktree of an allowed project that OpenCode made, and that is removed."""
        path, project = location.directory, location.project_id
        # OpenCode 1.18.33 makes them in a folder that is called as the project's id.
        if project is None or os.path.basename(os.path.dirname(path)) != project or "%" in path or exists(path):
            return False
        return await self._project(project) is None

    async def _workspace(self, workspace_id: str, near: list[str]) -> str | None:
        """A workspace is listed for its own project only, so each allowed directory that is known is asked about."""
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
                # What a deleted worktree leaves in the list leads nowhere.
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
    """Return a place with the kind that its id's prefix says, where its name says no more than that."""
    return replace(place, kind=PREFIXES.get(place.value[:3], "id")) if place.kind == "id" else place


async def locate(ask: Ask, session_id: str) -> Location:
    """Return where a session is, without loading its directory where OpenCode can.

    1.15 cannot, and 1.18.33 answers 500 when the directory is not there any more.

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
    """Whether there is anything at a path, be it a link that leads nowhere."""
    return os.path.lexists(path)


async def known_projects(ask: Ask, directory: str | None) -> list[Project]:
    """Return the projects that OpenCode has opened at any time."""
    where = {} if directory is None else {"directory": directory}
    return as_model("the response of project_list", list[Project], await ask("project_list", **where))


def without_outside(allowlist: Allowlist, operation: Operation, answer: Answer) -> Answer:
    """Return an answer that lists sessions without those that are outside, and say how many they were.

    Raises:
        UnexpectedResponse: it is not a list of sessions.
    """
    if not allowlist.roots or operation.id not in FILTERED:
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
    """Return the directory of a session as either engine lists it."""
    return session["location"]["directory"] if "location" in session else session["directory"]
