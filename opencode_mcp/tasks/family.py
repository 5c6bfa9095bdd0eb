"""A session with those below it, from one list of all sessions, or read level by level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.engine import METADATA_KEY, engine_of
from opencode_mcp.opencode.models import Session

from .metadata import TaskMetadata, readable_metadata
from .session_state import find_members, find_queued, unless_deleted


@dataclass(frozen=True, slots=True)
class Family:
    """A session and all its descendants, without those that hold queued prompts: `queued`, in their order.

    Two are equal if nothing has changed between them. `updated` does not tell: OpenCode changes a title without it, and
    adds up cost and tokens later (1.18.33).
    """

    session: Session
    descendants: tuple[Session, ...] = ()
    queued: tuple[Session, ...] = ()

    @property
    def members(self) -> tuple[Session, ...]:
        """The session, then its descendants."""
        return (self.session, *self.descendants)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the members."""
        return tuple(member.id for member in self.members)

    @property
    def updated(self) -> float:
        """When one of them was last changed (ms)."""
        return max(updated_at(member) for member in (*self.members, *self.queued))

    @property
    def cost(self) -> float:
        """What all of them have spent, in US dollars."""
        return sum(member.cost for member in self.members)

    @property
    def tokens(self) -> int:
        """The tokens that all of them have used, without cached ones."""
        return sum(member.tokens.total for member in self.members)

    @property
    def subagents(self) -> tuple[Session, ...]:
        """The descendants that an agent has started: not those in which a check or setup runs."""
        return tuple(member for member in self.descendants if not runs_commands(member))


def updated_at(session: Session) -> float:
    """Return when a session was last changed (ms)."""
    return session.time.updated or session.time.created


def runs_commands(session: Session) -> bool:
    """Whether a bridge has created a session below a task's for the commands of its check or setup."""
    task = readable_metadata(session)
    is_setup = METADATA_KEY in session.metadata and task.model_copy(update={"stopped": None}) == TaskMetadata()
    return task.check_of is not None or is_setup


def group_families(sessions: Iterable[Session]) -> list[Family]:
    """Return the family of each session that has no parent, in the order of the list."""
    listed = list(sessions)
    children: dict[str | None, list[Session]] = {}
    for session in listed:
        children.setdefault(session.parent_id, []).append(session)
    return [make_family(session, children) for session in children.get(None, ())]


def make_family(session: Session, children: Mapping[str | None, Sequence[Session]]) -> Family:
    """Return the family of a session, given the children of each."""
    descendants: list[Session] = []
    level = find_members(children.get(session.id, ()))
    while level:
        descendants += level
        level = [child for member in level for child in find_members(children.get(member.id, ()))]
    return Family(session, tuple(descendants), find_queued(children.get(session.id, ())))


async def read_whole_family(opencode: OpenCodeClient, session: Session) -> Family:
    """Read the sessions below one.

    Raises:
        APIError: 404, the session was deleted.
        TransportError: OpenCode does not answer.
    """
    children: dict[str | None, Sequence[Session]] = {}

    async def read_below(parent_id: str) -> None:
        found = children[parent_id] = await engine_of(opencode).list_children(parent_id)
        below = [partial(unless_deleted, partial(read_below, child.id), None) for child in find_members(found)]
        await gather(*below)

    await read_below(session.id)
    return make_family(session, children)
