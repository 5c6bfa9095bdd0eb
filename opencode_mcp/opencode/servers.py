"""A pool of OpenCode servers: finds the server of a session, and merges lists of all servers.

A session belongs to one server. All servers are queried concurrently for it and the result is cached: ids are unique,
and a session does not move.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, Unpack

import anyio
from anyio.abc import TaskGroup

from opencode_mcp.exceptions import (
    APIError,
    InvalidArguments,
    OpenCodeError,
    RequestTimeout,
    TransportError,
    WorkflowError,
)

from .client import CallOptions, OpenCode

T = TypeVar("T")

ASK_SECONDS = 30.0
"""How long the pool waits for one server: clients allow 60 s or more for a call."""

SEEN_SESSIONS = 200
"""For how many sessions the last report is kept."""

LISTED_SESSIONS = 100
"""How many sessions OpenCode lists without a `limit` (1.18.33)."""

SESSION_ARGUMENTS = ("sessionID", "session_id", "parentID")
"""Arguments that name a session, and so choose its server."""


@dataclass(frozen=True)
class Servers:
    """The clients of all servers, by name; a single one is named "".

    `session_servers` caches the server of each session; `pending_starts` are tasks that are being started;
    `last_reports` has the time and content of each session's last report. `tasks` runs work that outlives a call.
    """

    clients: Mapping[str, OpenCode]
    homes: dict[str, str] = field(default_factory=dict[str, str])
    starts: dict[str, Any] = field(default_factory=dict[str, Any])
    seen: dict[str, tuple[float, Any]] = field(default_factory=dict[str, "tuple[float, Any]"])
    tasks: TaskGroup | None = None

    @property
    def default(self) -> OpenCode:
        """The client for calls that do not choose a server."""
        return next(iter(self.clients.values()))

    def select(self, name: str) -> Servers:
        """Return a pool with only the named server."""
        return replace(self, clients={name: self.clients[name]})

    def with_options(self, **options: Unpack[CallOptions]) -> Servers:
        """Return the servers with other options of their clients."""
        return replace(self, clients={name: one.with_options(**options) for name, one in self.clients.items()})

    def remember(self, session_id: str, report: Any) -> None:
        """Keep the last report of a session, for the newest `MAX_REMEMBERED_REPORTS` sessions."""
        self.seen.pop(session_id, None)
        self.seen[session_id] = (anyio.current_time(), report)
        if len(self.seen) > SEEN_SESSIONS:
            del self.seen[next(iter(self.seen))]

    @asynccontextmanager
    async def for_session(self, session_id: str) -> AsyncGenerator[Servers]:
        """Provide a pool with only the session's server; a single server is not queried.

        Raises:
            APIError: 404, no server has the session.
            TransportError: no reachable server has the session, and some servers are unreachable.
        """
        if len(self.clients) == 1:
            yield self
            return
        home = self.homes.get(session_id)
        if home is None:
            found, _ = await self.find_first(lambda one: one.call("session_get", sessionID=session_id))
            home = self.homes[session_id] = next(iter(found.clients))
        try:
            yield self.select(home)
        except APIError as error:
            if error.status == 404:
                self.homes.pop(session_id, None)
            raise

    @asynccontextmanager
    async def for_arguments(self, arguments: Mapping[str, Any]) -> AsyncGenerator[Servers]:
        """Provide a pool with the server that valid arguments choose, by `server` or by a session id; else all servers.

        Raises:
            What `for_session` raises.
        """
        session_id = next((arguments[name] for name in SESSION_ARGUMENTS if arguments.get(name)), None)
        if server := arguments.get("server"):
            yield self.select(server)
        elif session_id is not None:
            async with self.for_session(session_id) as chosen:
                yield chosen
        else:
            yield self

    async def find_first(self, ask: Callable[[OpenCode], Awaitable[T]]) -> tuple[Servers, T]:
        """Query all servers concurrently until one succeeds; return a pool with only that server, and its result.

        Raises:
            OpenCodeError: that of a server without it, if no server has it; InvalidArguments takes precedence.
            TransportError: no reachable server has it, and some servers are unreachable.
        """
        if len(self.clients) == 1:
            return self, await ask(self.default)
        answers, failures = await self._ask(ask, enough=True)
        for name, answer in answers.items():
            return self.select(name), answer
        raise nowhere(failures)

    async def gather(self, ask: Callable[[OpenCode], Awaitable[T]]) -> tuple[dict[str, T], dict[str, Exception]]:
        """Query all servers concurrently; return the results and the failures, by server.

        Raises:
            OpenCodeError: that of the first server, if all fail.
        """
        if len(self.clients) == 1:
            return {name: await ask(one) for name, one in self.clients.items()}, {}
        answers, failures = await self._ask(ask)
        if not answers:
            raise next(iter(failures.values()))
        return answers, failures

    async def _ask(
        self, ask: Callable[[OpenCode], Awaitable[T]], enough: bool = False
    ) -> tuple[dict[str, T], dict[str, Exception]]:
        """Query all servers concurrently, with `first_only` until one succeeds; results and failures are in server
        order."""
        answers: dict[str, T] = {}
        failures: dict[str, Exception] = {}

        async def one(name: str) -> None:
            opencode = self.clients[name]
            try:
                with anyio.fail_after(ASK_SECONDS):
                    answers[name] = await ask(opencode)
            except TimeoutError:
                failures[name] = RequestTimeout(
                    f"{opencode.server.describe()} did not respond within {ASK_SECONDS:g} s"
                )
            except OpenCodeError as error:
                failures[name] = error
            else:
                if enough:
                    tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for name in self.clients:
                tasks.start_soon(one, name)
        return in_order(self.clients, answers), in_order(self.clients, failures)


def in_order(names: Mapping[str, Any], values: Mapping[str, T]) -> dict[str, T]:
    """Return values in the order of names."""
    return {name: values[name] for name in names if name in values}


def nowhere(failures: Mapping[str, Exception]) -> Exception:
    """Return the error of a search without a result: "not found" only if every server responded."""
    missing = {name: error for name, error in failures.items() if says_missing(error)}
    lost = {name: error for name, error in failures.items() if name not in missing}
    for error in lost.values():
        if isinstance(error, InvalidArguments):
            return error
    if not lost:
        return next(iter(missing.values()))
    answered = f"{', '.join(missing)} responded and does not have it" if missing else "no server responded"
    return TransportError(f"Cannot determine the server: {answered}; {told(lost)}")


def says_missing(error: Exception) -> bool:
    """Whether an error means "not found on this server"."""
    return isinstance(error, WorkflowError) or (isinstance(error, APIError) and error.status == 404)


def told(failures: Mapping[str, Exception]) -> str:
    """Describe which servers failed, and why."""
    return "; ".join(f"server {name} failed: {error}" for name, error in failures.items())


def newest_first(lists: Mapping[str, Sequence[T]], updated: Callable[[T], float]) -> list[tuple[str, T]]:
    """Merge the lists of several servers, newest first; each entry is (server name, item)."""
    entries = [(name, entry) for name, listed in lists.items() for entry in listed]
    return sorted(entries, key=lambda entry: updated(entry[1]), reverse=True)
