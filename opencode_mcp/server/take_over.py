"""Enforce the rules of tasks whose bridge has ended: those that share its OpenCode take them over.

bridges changed -> the sessions that a bridge that is gone had active -> those whose prompt has rules are followed
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode import OpenCodeClient, ServerPool
from opencode_mcp.opencode.endpoint import OtherBridge, ignore_progress

log = logging.getLogger(__name__)


@dataclass
class TakeOver:
    """Takes over the tasks of one server's other bridges, where `may_enforce` says that this one runs tasks.

    `active` are the sessions that each of the others had active, by its process and when it connected; `promised` are
    those of disconnected bridges that were taken over.
    """

    pool: ServerPool
    may_enforce: Callable[[], bool]
    active: dict[tuple[int, float], tuple[str, ...]] = field(default_factory=dict[tuple[int, float], tuple[str, ...]])
    promised: set[str] = field(default_factory=set[str])

    @property
    def opencode(self) -> OpenCodeClient:
        """The server's client."""
        return self.pool.default

    def on_bridges_changed(self) -> None:
        """Take over what the bridges that have gone since the last change had active."""
        self.take(self.find_left(self.opencode.server.others))

    def take(self, sessions: Iterable[str]) -> None:
        """Enforce the rules of sessions, if this bridge runs tasks; an OpenCode that has ended stays ended."""
        is_running = self.opencode.server.current_endpoint() is not None
        for session_id in sessions:
            if is_running and self.pool.tasks is not None and self.may_enforce():
                self.pool.tasks.start_soon(self.follow_if_ruled, session_id)

    def find_left(self, others: Sequence[OtherBridge]) -> list[str]:
        """Return the sessions that were active in bridges that have gone since the last call."""
        active = {(other.pid, other.since): other.active for other in others if not other.is_gone}
        left = {name for key, names in self.active.items() if key not in active for name in names}
        promised = {name for other in others if other.is_gone for name in other.active}
        left |= promised - self.promised
        self.active, self.promised = active, promised
        return sorted(name for name in left if name.startswith("ses"))

    async def follow_if_ruled(self, session_id: str) -> None:
        """Follow a session whose newest prompt has rules, within this bridge's bounds, or that has queued prompts.

        A rule may send a further prompt, which this bridge could not send for a task beyond its bounds. A session that
        it cannot read is left.
        """
        from opencode_mcp.tasks import Context  # a bridge that takes over nothing starts faster without it
        from opencode_mcp.tasks.follower import follow
        from opencode_mcp.tasks.metadata import task_metadata
        from opencode_mcp.tasks.rules import keeps_bounds
        from opencode_mcp.tasks.session_state import read_queued, read_session

        try:
            session = await read_session(self.opencode, session_id)
            has_queue = bool(await read_queued(self.opencode, session_id))
        except OpenCodeError as error:
            log.info("%s is not taken over: %s", session_id, error)
            return
        rules = task_metadata(session).rules
        if has_queue or (rules is not None and keeps_bounds(self.opencode.prompt_policy, rules)):
            log.info("%s is followed, as its bridge has gone", session_id)
            follow(Context(self.pool, ignore_progress), session_id)
