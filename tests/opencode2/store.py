"""What OpenCode 2 keeps in its database: it outlives the process."""

from __future__ import annotations

import itertools
import random
import string
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Snapshot = dict[str, str]
"""The texts of a folder's files, by path."""

ALPHABET = string.digits + string.ascii_letters
NO_TOKENS: Json = {"input": 0, "output": 0, "reasoning": 0, "cache": {"read": 0, "write": 0}}
_counter = itertools.count()
_last_milliseconds = 0


def now() -> int:
    """Milliseconds since the epoch."""
    return int(time.time() * 1000)


def new_id(prefix: str) -> str:
    """Return an id that sorts after all earlier ones: 12 hexadecimal digits of time and counter, 14 of base 62."""
    global _last_milliseconds
    _last_milliseconds = max(_last_milliseconds, now())
    ordinal = _last_milliseconds * 4096 + next(_counter) % 4096
    if ordinal % 4096 == 4095:
        _last_milliseconds += 1
    return f"{prefix}_{ordinal % 16**12:012x}{''.join(random.choices(ALPHABET, k=14))}"


@dataclass(eq=False)
class Session:
    """A session: `info` is what `session.get` returns, `messages` are oldest first.

    `inbox` holds what was admitted and is not delivered.
    `admissions` are all that ever were, by id. `log` are the durable events.
    """

    info: Json
    messages: list[Json] = field(default_factory=list[Json])
    inbox: list[Json] = field(default_factory=list[Json])
    admissions: dict[str, Json] = field(default_factory=dict[str, Json])
    log: list[Json] = field(default_factory=list[Json])
    sequence: int = 0
    instructions: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def id(self) -> str:
        """The session's id."""
        return self.info["id"]

    @property
    def directory(self) -> str:
        """Where the session works."""
        return self.info["location"]["directory"]

    @property
    def parent_id(self) -> str | None:
        """The id of the session that this one is a subagent of."""
        return self.info.get("parentID")

    def find_message(self, message_id: str) -> Json | None:
        """Return a message."""
        return next((message for message in self.messages if message["id"] == message_id), None)

    def add_usage(self, cost: float, tokens: Json) -> None:
        """Add to the totals, which are of all calls of the model, also of those for a title or a summary."""
        total: Json = self.info["tokens"]
        self.info["cost"] += cost
        self.info["tokens"] = {
            **{name: total[name] + tokens[name] for name in ("input", "output", "reasoning")},
            "cache": {name: total["cache"][name] + tokens["cache"][name] for name in ("read", "write")},
        }


@dataclass(eq=False)
class Store:
    """The database: `saved` are permissions for always, `snapshots` are the states of folders."""

    sessions: dict[str, Session] = field(default_factory=dict[str, Session])
    saved: list[Json] = field(default_factory=list[Json])
    snapshots: dict[str, Snapshot] = field(default_factory=dict[str, Snapshot])
    worktrees: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def children(self, session_id: str) -> list[Session]:
        """Return the subagents of a session."""
        return [session for session in self.sessions.values() if session.parent_id == session_id]

    def family(self, session_id: str) -> Iterator[Session]:
        """Yield a session and its descendants."""
        yield self.sessions[session_id]
        for child in self.children(session_id):
            yield from self.family(child.id)
