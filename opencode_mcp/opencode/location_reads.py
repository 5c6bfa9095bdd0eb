"""Where sessions and projects are: reads for the checks of the allowlist, by generation of OpenCode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from opencode_mcp.exceptions import APIError, UnexpectedResponse, UnsupportedServer

from .models import Model, parse_model

CallRead = Callable[..., Awaitable[Any]]
"""`await call_read(name, **arguments)` returns the value of a read operation, without the checks of this module."""


class SessionLocation(Model):
    """A session's location, in the v1 API."""

    directory: str
    workspace_id: str | None = None
    project_id: str | None = None


class V2Session(Model):
    """A session in the v2 API, which does not load the session's directory."""

    location: SessionLocation
    project_id: str | None = None


class V2SessionAnswer(Model):
    """The response of v2_session_get, and of session_get in OpenCode 2."""

    data: V2Session


class Project(Model):
    """A project: a repository with its worktrees and clones, or all directories without one, as `/`."""

    id: str
    worktree: str
    sandboxes: tuple[str, ...] = ()


class Project2(Model):
    """A project of OpenCode 2."""

    id: str
    canonical: str
    sandboxes: tuple[str, ...] = ()


class LocationProject2(Model):
    """The project of a location of OpenCode 2, and its root."""

    directory: str


class Location2(Model):
    """A location of OpenCode 2."""

    project: LocationProject2


class InstancePaths(Model):
    """An instance's directories; `worktree` is `/` outside of a repository."""

    home: str
    worktree: str


async def read_session_location(call_read: CallRead, session_id: str) -> SessionLocation:
    """Return a session's location, without loading its directory where OpenCode supports that.

    1.15 does not, and 1.18.33 responds with 500 if the directory no longer exists.

    Raises:
        APIError: 404, the session does not exist.
    """
    try:
        value = await call_read("v2_session_get", sessionID=session_id)
    except (KeyError, UnexpectedResponse, UnsupportedServer):
        pass
    except APIError as error:
        if error.status != 500:
            raise
    else:
        session = parse_model("the response of v2_session_get", V2SessionAnswer, value).data
        return session.location.model_copy(update={"project_id": session.project_id})
    return parse_model(
        "the response of session_get", SessionLocation, await call_read("session_get", sessionID=session_id)
    )


async def read_projects(call_read: CallRead, directory: str | None) -> list[Project]:
    """Return all projects that OpenCode has ever opened."""
    arguments = {} if directory is None else {"directory": directory}
    return parse_model("the response of project_list", list[Project], await call_read("project_list", **arguments))


async def read_paths(call_read: CallRead, directory: str) -> InstancePaths:
    """Return the paths that mentions in a directory refer to."""
    value = await call_read("path_get", directory=directory)
    return parse_model("the response of path_get", InstancePaths, value)


async def has_sessions(call_read: CallRead, directory: str) -> bool:
    """Whether OpenCode has a session in a directory; this request does not load it."""
    return bool((await call_read("v2_session_list", directory=directory, limit=1))["data"])


async def read_session_location_2(call_read: CallRead, session_id: str) -> SessionLocation:
    """Return a session's location.

    Raises:
        APIError: 404, the session does not exist.
    """
    value = await call_read("session_get", sessionID=session_id)
    session = parse_model("the response of session_get", V2SessionAnswer, value).data
    return session.location.model_copy(update={"project_id": session.project_id})


async def read_projects_2(call_read: CallRead, directory: str | None) -> list[Project]:
    """Return all projects that OpenCode knows; they do not depend on a directory."""
    projects = parse_model("the response of project_list", list[Project2], await call_read("project_list"))
    return [Project(id=found.id, worktree=found.canonical, sandboxes=found.sandboxes) for found in projects]


async def read_paths_2(call_read: CallRead, directory: str) -> InstancePaths:
    """Return the paths that mentions in a directory refer to; the user's home is unknown, and no path is below `~`."""
    value = await call_read("location_get", location={"directory": directory})
    location = parse_model("the response of location_get", Location2, value)
    return InstancePaths(home="~", worktree=location.project.directory)


async def has_sessions_2(call_read: CallRead, directory: str) -> bool:
    """Whether OpenCode has a session in a directory."""
    return bool((await call_read("session_list", directory=directory, limit=1))["data"])


@dataclass(frozen=True, slots=True)
class LocationReads:
    """The reads of one generation, each with the function that calls an operation first.

    Raises:
        APIError: 404, the session does not exist.
        UnexpectedResponse: a response of an unknown shape.
    """

    session: Callable[[CallRead, str], Awaitable[SessionLocation]]
    projects: Callable[[CallRead, str | None], Awaitable[list[Project]]]
    paths: Callable[[CallRead, str], Awaitable[InstancePaths]]
    has_sessions: Callable[[CallRead, str], Awaitable[bool]]


LOCATION_READS: Mapping[int, LocationReads] = {
    1: LocationReads(read_session_location, read_projects, read_paths, has_sessions),
    2: LocationReads(read_session_location_2, read_projects_2, read_paths_2, has_sessions_2),
}
"""By generation; what is of OpenCode 2 has a 2 in its name."""
