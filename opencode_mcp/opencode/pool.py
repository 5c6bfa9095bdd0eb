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

from .client import CallOptions, OpenCodeClient

T = TypeVar("T")

SERVER_SECONDS = 30.0
"""How long the pool waits for the response of one server: MCP clients allow 60 s or more for a call."""

MAX_REMEMBERED_REPORTS = 200
"""For how many sessions the last report is kept."""

MAX_REMEMBERED_ROWS = 2000
"""For how many sessions the last row is kept."""

SESSION_ARGUMENTS = ("sessionID", "session_id", "parentID")
"""Arguments that name a session, and so choose its server."""


@dataclass(frozen=True)
class ServerPool:
    """The clients of all servers, by name; a single one is named "".

    `session_servers` caches the server of each session; `pending_starts` are tasks that are being started;
    `last_reports` has the time and content of each session's last report, `last_rows` each as a list of tasks showed
    it. `followed` are the sessions whose rules this process enforces, with when it was last asked to
    (anyio.current_time()). `tasks` runs work that outlives a call.
    """

    clients: Mapping[str, OpenCodeClient]
    session_servers: dict[str, str] = field(default_factory=dict[str, str])
    pending_starts: dict[str, Any] = field(default_factory=dict[str, Any])
    last_reports: dict[str, tuple[float, Any]] = field(default_factory=dict[str, "tuple[float, Any]"])
    last_rows: dict[str, Any] = field(default_factory=dict[str, Any])
    followed: dict[str, float] = field(default_factory=dict[str, float])
    tasks: TaskGroup | None = None

    @property
    def default(self) -> OpenCodeClient:
        """The client for calls that do not choose a server."""
        return next(iter(self.clients.values()))

    def select(self, name: str) -> ServerPool:
        """Return a pool with only the named server."""
        return replace(self, clients={name: self.clients[name]})

    def with_options(self, **options: Unpack[CallOptions]) -> ServerPool:
        """Return a pool of the same servers whose clients have other options."""
        return replace(self, clients={name: client.with_options(**options) for name, client in self.clients.items()})

    def remember_report(self, session_id: str, report: Any) -> None:
        """Keep the last report of a session, for the newest `MAX_REMEMBERED_REPORTS` sessions."""
        remember(self.last_reports, session_id, (anyio.current_time(), report), MAX_REMEMBERED_REPORTS)

    def remember_row(self, session_id: str, row: Any) -> None:
        """Keep the row of a session, for the newest `MAX_REMEMBERED_ROWS` sessions."""
        remember(self.last_rows, session_id, row, MAX_REMEMBERED_ROWS)

    @asynccontextmanager
    async def for_session(self, session_id: str) -> AsyncGenerator[ServerPool]:
        """Provide a pool with only the session's server; a single server is not queried.

        Raises:
            APIError: 404, no server has the session.
            TransportError: no reachable server has the session, and some servers are unreachable.
        """
        if len(self.clients) == 1:
            yield self
            return
        server_name = self.session_servers.get(session_id)
        if server_name is None:
            pool, _ = await self.find_first(lambda client: client.call("session_get", sessionID=session_id))
            server_name = self.session_servers[session_id] = next(iter(pool.clients))
        try:
            yield self.select(server_name)
        except APIError as error:
            if error.status == 404:
                self.session_servers.pop(session_id, None)
            raise

    @asynccontextmanager
    async def for_arguments(self, arguments: Mapping[str, Any]) -> AsyncGenerator[ServerPool]:
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

    async def find_first(self, call: Callable[[OpenCodeClient], Awaitable[T]]) -> tuple[ServerPool, T]:
        """Query all servers concurrently until one succeeds; return a pool with only that server, and its result.

        Raises:
            OpenCodeError: that of a server without it, if no server has it; InvalidArguments takes precedence.
            TransportError: no reachable server has it, and some servers are unreachable.
        """
        if len(self.clients) == 1:
            return self, await call(self.default)
        answers, failures = await self._call_all(call, first_only=True)
        for name, answer in answers.items():
            return self.select(name), answer
        raise not_found_error(failures)

    async def gather(self, call: Callable[[OpenCodeClient], Awaitable[T]]) -> tuple[dict[str, T], dict[str, Exception]]:
        """Query all servers concurrently; return the results and the failures, by server.

        Raises:
            OpenCodeError: that of the first server, if all fail.
        """
        if len(self.clients) == 1:
            return {name: await call(client) for name, client in self.clients.items()}, {}
        answers, failures = await self._call_all(call)
        if not answers:
            raise next(iter(failures.values()))
        return answers, failures

    async def _call_all(
        self, call: Callable[[OpenCodeClient], Awaitable[T]], first_only: bool = False
    ) -> tuple[dict[str, T], dict[str, Exception]]:
        """Query all servers concurrently, with `first_only` until one succeeds; results and failures are in server
        order."""
        answers: dict[str, T] = {}
        failures: dict[str, Exception] = {}

        async def call_server(name: str) -> None:
            opencode = self.clients[name]
            try:
                with anyio.fail_after(SERVER_SECONDS):
                    answers[name] = await call(opencode)
            except TimeoutError:
                failures[name] = RequestTimeout(
                    f"{opencode.server.describe()} did not respond within {SERVER_SECONDS:g} s"
                )
            except OpenCodeError as error:
                failures[name] = error
            else:
                if first_only:
                    tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for name in self.clients:
                tasks.start_soon(call_server, name)
        return in_server_order(self.clients, answers), in_server_order(self.clients, failures)


def remember(values: dict[str, T], key: str, value: T, most: int) -> None:
    """Put a value last into a dict that forgets its first beyond a number of keys."""
    values.pop(key, None)
    values[key] = value
    if len(values) > most:
        del values[next(iter(values))]


def in_server_order(names: Mapping[str, Any], values: Mapping[str, T]) -> dict[str, T]:
    """Return values in the order of names."""
    return {name: values[name] for name in names if name in values}


def not_found_error(failures: Mapping[str, Exception]) -> Exception:
    """Return the error of a search without a result: "not found" only if every server responded."""
    not_found = {name: error for name, error in failures.items() if is_not_found(error)}
    other_failures = {name: error for name, error in failures.items() if name not in not_found}
    for error in other_failures.values():
        if isinstance(error, InvalidArguments):
            return error
    if not other_failures:
        return next(iter(not_found.values()))
    answered = f"{', '.join(not_found)} responded and does not have it" if not_found else "no server responded"
    return TransportError(f"Cannot determine the server: {answered}; {describe_failures(other_failures)}")


def is_not_found(error: Exception) -> bool:
    """Whether an error means "not found on this server"."""
    return isinstance(error, WorkflowError) or (isinstance(error, APIError) and error.status == 404)


def describe_failures(failures: Mapping[str, Exception]) -> str:
    """Describe which servers failed, and why."""
    return "; ".join(f"server {name} failed: {error}" for name, error in failures.items())


def merge_newest_first(lists: Mapping[str, Sequence[T]], key: Callable[[T], float]) -> list[tuple[str, T]]:
    """Merge the lists of several servers, newest first; each entry is (server name, item)."""
    entries = [(name, entry) for name, listed in lists.items() for entry in listed]
    return sorted(entries, key=lambda entry: key(entry[1]), reverse=True)
