"""What all sessions of a directory do, read once for all tasks there: does one still do what it did when it was read?

statuses + requests of the directory -> the same for the task's family as in its snapshot?
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import AgentRequest, SessionStatus

from .session_state import SessionSnapshot, read_session, unless_deleted

DIRECTORY, PARENT = "directory", "parent"
"""What the shared reads of this module are about."""


@dataclass(frozen=True, slots=True)
class DirectoryState:
    """The sessions of a directory that are not idle, by id, and the requests that wait for an answer there."""

    statuses: Mapping[str, SessionStatus]
    requests: Sequence[AgentRequest]


async def is_unchanged(opencode: OpenCodeClient, snapshot: SessionSnapshot, since: float, pause: float) -> bool:
    """Whether a busy family works and waits as in its snapshot, whose read began at `since` (anyio.current_time()).

    It is compared with the newest state of its directory since then, if there is one. Of all directories that are asked
    for, one is read in `pause` seconds, and each has its turn.

    Raises:
        OpenCodeError: OpenCode does not answer.
    """
    directory = snapshot.session.directory
    read = partial(read_directory, opencode, directory)
    state = await opencode.shared_reads.read_in_turn((DIRECTORY, directory), since, pause, read)
    if state is None:
        return True
    kinds = {member_id: state.statuses[member_id].type for member_id in snapshot.family if member_id in state.statuses}
    if kinds != {member_id: status.type for member_id, status in snapshot.statuses.items()}:
        return False
    known = {request.id for request in snapshot.pending}
    if known - {request.id for request in state.requests}:
        return False
    others = {request.session_id for request in state.requests if request.id not in known}
    for session_id in others & state.statuses.keys():  # OpenCode keeps listing the requests of an aborted session
        if await belongs_to(opencode, session_id, snapshot.family):
            return False
    return True


async def read_directory(opencode: OpenCodeClient, directory: str) -> DirectoryState:
    """Read what the sessions of a directory do."""
    engine = engine_of(opencode)
    statuses: dict[str, SessionStatus]
    requests: list[AgentRequest]
    statuses, requests = await gather(
        partial(engine.read_statuses, directory), partial(engine.list_requests, directory)
    )
    return DirectoryState(statuses, requests)


async def belongs_to(opencode: OpenCodeClient, session_id: str, family: Collection[str]) -> bool:
    """Whether a session is one of a family, or below one: its event may have been lost, so its parents are read."""
    parent_id: str | None = session_id
    while parent_id is not None and parent_id not in family:
        read = partial(unless_deleted, partial(read_parent_id, opencode, parent_id), None)
        parent_id = await opencode.shared_reads.read((PARENT, parent_id), inf, read)
    return parent_id is not None


async def read_parent_id(opencode: OpenCodeClient, session_id: str) -> str | None:
    """Return the session above one, which never changes."""
    return (await read_session(opencode, session_id)).parent_id
