"""Checks of the allowlist that read from OpenCode: of the ids in arguments, and of the sessions in a response.

session -> its directory and its workspace; workspace, project -> their directories; @path -> the file

Each must be allowed. A list of sessions is returned without those of other directories.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from opencode_mcp.catalog import Operation
from opencode_mcp.catalog.scopes import ArgumentKind
from opencode_mcp.exceptions import APIError, InvalidArguments, UnexpectedResponse

from .allowlist import DirectoryAllowlist
from .forms import NO_SESSION
from .location_arguments import LocationArgument, location_arguments, mentioned_paths
from .location_reads import LOCATION_READS, CallRead, LocationReads, SessionLocation
from .models import Model, parse_model
from .responses import Answer

FORM_OPERATIONS = frozenset({"session.form.get", "session.form.reply", "session.form.cancel"})
"""Of a form without a session, the session is NO_SESSION, and the call names the directory."""

KIND_BY_ID_PREFIX: Mapping[str, ArgumentKind] = {"ses": "session", "wrk": "workspace"}
"""Prefixes of the ids that belong to a directory."""


class Workspace(Model):
    """A workspace; `directory` is None if it is on another machine."""

    id: str
    directory: str | None = None


@dataclass(frozen=True)
class IdAuthorizer:
    """Checks the ids in one call's arguments against an allowlist with roots. `directory` is the default directory."""

    allowlist: DirectoryAllowlist
    call_read: CallRead
    directory: str | None

    async def check(self, operation: Operation, arguments: Mapping[str, Any]) -> None:
        """Refuse a call with an id that belongs to a directory outside of the allowlist.

        Raises:
            InvalidArguments: names the argument.
            APIError: a session is unknown.
        """
        locations = [with_kind_of_id(location) for location in location_arguments(operation, arguments)]
        directories = [location.value for location in locations if location.kind == "directory"]
        for location in dict.fromkeys(locations):
            problem = await self._location_problem(operation, location, locations, directories)
            if problem is not None:
                raise InvalidArguments(operation.name, [f"{location.name}: {problem}"])

    async def _location_problem(
        self,
        operation: Operation,
        location: LocationArgument,
        locations: list[LocationArgument],
        directories: list[str],
    ) -> str | None:
        """Return why a location is refused, or None."""
        reads = LOCATION_READS[operation.generation.number]
        match location.kind:
            case "session" if operation.id in FORM_OPERATIONS and location.value == NO_SESSION and directories:
                return None
            case "session":
                try:
                    return await self._session_problem(reads, location.value, directories)
                except APIError as error:
                    if operation.id in operation.generation.scopes.new_sessions and error.status == 404:
                        return None
                    raise
            case "workspace":
                return await self._workspace_problem(location.value, directories)
            case "project":
                return await self._project_problem(reads, location.value)
            case "mentions":
                return await self._mention_problem(reads, location.value, locations)
            case _:
                return None

    async def _session_problem(self, reads: LocationReads, session_id: str, directories: list[str]) -> str | None:
        location = await reads.session(self.call_read, session_id)
        if not self.allowlist.allows(location.directory) and not await self._is_removed_worktree(reads, location):
            return f"its directory {self.allowlist.outside_message()}"
        if location.workspace_id is None:
            return None
        return await self._workspace_problem(location.workspace_id, [location.directory, *directories])

    async def _is_removed_worktree(self, reads: LocationReads, location: SessionLocation) -> bool:
        """Whether a session's directory is a removed worktree that OpenCode created for an allowed project."""
        path, project = location.directory, location.project_id
        # OpenCode 1.18.33 creates them in a folder named after the project's id.
        if project is None or os.path.basename(os.path.dirname(path)) != project or "%" in path or path_exists(path):
            return False
        return await self._project_problem(reads, project) is None

    async def _workspace_problem(self, workspace_id: str, directories: list[str]) -> str | None:
        """Return why a workspace is refused, or None.

        A workspace is listed only for its own project, so every known allowed directory is queried.
        """
        default = [] if self.directory is None else [self.directory]
        for directory in dict.fromkeys([*directories, *default, *self.allowlist.roots]):
            value = await self.call_read("experimental_workspace_list", directory=directory)
            for workspace in parse_model("the response of experimental_workspace_list", list[Workspace], value):
                if workspace.id == workspace_id:
                    allowed = workspace.directory is not None and self.allowlist.allows(workspace.directory)
                    return None if allowed else f"its directory {self.allowlist.outside_message()}"
        return f"no workspace in an allowed directory has this id; any other {self.allowlist.outside_message()}"

    async def _project_problem(self, reads: LocationReads, project_id: str) -> str | None:
        for project in await reads.projects(self.call_read, self.directory):
            if project.id == project_id:
                # The list keeps entries of deleted worktrees.
                directories = [project.worktree, *filter(os.path.exists, project.sandboxes)]
                outside = [directory for directory in directories if not self.allowlist.allows(directory)]
                return f"its directory {outside[0]!r} {self.allowlist.outside_message()}" if outside else None
        return f"OpenCode has no project with this id; any other {self.allowlist.outside_message()}"

    async def _mention_problem(self, reads: LocationReads, text: str, locations: list[LocationArgument]) -> str | None:
        """Return why a text with file mentions is refused, or None.

        OpenCode attaches the files that a command's arguments mention, relative to the worktree.
        """
        names = mentioned_paths(text)
        session_id = next((argument.value for argument in locations if argument.kind == "session"), None)
        if not names or session_id is None:
            return None
        location = await reads.session(self.call_read, session_id)
        paths = await reads.paths(self.call_read, location.directory)
        for name in names:
            home = name.startswith("~/")
            path = os.path.join(paths.home, name[2:]) if home else os.path.join(paths.worktree, name)
            if not self.allowlist.allows(path):
                return f"@{name} is {path!r}, which {self.allowlist.outside_message()}"
        return None


def with_kind_of_id(location: LocationArgument) -> LocationArgument:
    """Return an argument of kind `id` with the kind that the id's prefix gives; others unchanged."""
    return (
        replace(location, kind=KIND_BY_ID_PREFIX.get(location.value[:3], "id")) if location.kind == "id" else location
    )


def path_exists(path: str) -> bool:
    """Whether a path exists, even as a broken symbolic link."""
    return os.path.lexists(path)


def filter_sessions(allowlist: DirectoryAllowlist, operation: Operation, answer: Answer) -> Answer:
    """Remove sessions outside of the allowlist from a response that lists sessions, and add a note with their number.

    Raises:
        UnexpectedResponse: it is not a list of sessions.
    """
    if not allowlist.roots or operation.id not in operation.generation.scopes.filtered_lists:
        return answer
    is_page = isinstance(answer.value, dict)
    body: dict[str, Any] = answer.value if is_page else {"data": answer.value}
    try:
        sessions: list[dict[str, Any]] = body["data"]
        directories = {directory: allowlist.allows(directory) for directory in map(session_directory, sessions)}
        allowed = [session for session in sessions if directories[session_directory(session)]]
    except (KeyError, TypeError) as error:
        raise UnexpectedResponse(f"{operation.name}: the response is not a list of sessions: {error!r}") from error
    if len(allowed) == len(sessions):
        return answer
    note = f"{len(sessions) - len(allowed)} sessions were omitted: outside of --allow-directory."
    value = {**body, "data": allowed} if is_page else allowed
    return replace(answer, value=value, fields={**answer.fields, "note": note})


def session_directory(session: Mapping[str, Any]) -> str:
    """Return the directory of a session listed by the v1 or the v2 API."""
    return session["location"]["directory"] if "location" in session else session["directory"]
