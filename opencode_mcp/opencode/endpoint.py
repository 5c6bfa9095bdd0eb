"""OpenCode servers and their endpoints: attached by URL, or managed by this package (`process/managed.py`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import anyio
import httpx2

from opencode_mcp.exceptions import ServerStartError

ProgressCallback = Callable[[str], Awaitable[None]]
"""Reports a call's progress to its caller, in one line."""


async def ignore_progress(message: str) -> None:
    """Discard a progress message."""


@dataclass(frozen=True)
class Endpoint:
    """The address and credentials of an OpenCode server. `password` is None if it has none.

    `ca_file` holds certificates (PEM) that are trusted in addition to the system's. `version` is None until the server
    reports it.
    """

    url: httpx2.URL
    username: str = "opencode"
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    version: str | None = None

    @cached_property
    def base_url(self) -> str:
        """The base URL, without a trailing slash."""
        userinfo = f"{self.url.userinfo.decode()}@" if self.url.userinfo else ""
        path = self.url.raw_path.partition(b"?")[0].decode().rstrip("/")
        return f"{self.url.scheme}://{userinfo}{self.url.netloc.decode()}{path}"

    @property
    def display_url(self) -> str:
        """The URL for display, without user name and password."""
        return str(self.url.copy_with(username=None, password=None)).rstrip("/")

    @cached_property
    def auth(self) -> httpx2.BasicAuth | None:
        """The credentials as httpx2 takes them."""
        return None if self.password is None else httpx2.BasicAuth(self.username, self.password)


@dataclass(frozen=True)
class OtherBridge:
    """Another bridge that shares the server.

    `since` is in seconds of the epoch. `active` are sessions and terminals that it has started and that may run.
    `waits`: its requests wait for slots of the limiter. `is_gone`: it stands for bridges that have disconnected, and
    `active` are the sessions whose results they have promised to their clients.
    """

    client: str
    pid: int
    since: float
    directory: str = ""
    active: tuple[str, ...] = ()
    waits: bool = False
    is_gone: bool = False


class OpenCodeServer(Protocol):
    """An OpenCode server: attached, managed or refused."""

    @property
    def name(self) -> str | None:
        """Its name among several servers; None for a single one."""
        ...

    @property
    def password(self) -> str | None:
        """The password that it requires, or None."""
        ...

    async def endpoint(self, report_progress: ProgressCallback = ignore_progress) -> Endpoint:
        """Return the endpoint, after starting a managed server.

        Raises:
            ServerStartError: it could not be started.
        """
        ...

    def current_endpoint(self) -> Endpoint | None:
        """Return the endpoint if the server is assumed to run, without starting it or sending a request."""
        ...

    async def wait_until_started(self) -> None:
        """Wait until another call has started the server, without starting it."""
        ...

    def describe(self) -> str:
        """Describe the server and its state for an error message."""
        ...

    def describe_shortage(self) -> str:
        """Describe an exhausted resource of the server's machine and what to do; "" if none is known."""
        ...

    def pop_note(self) -> str:
        """Return the note about the choice of the program, once; then ""."""
        ...

    def track_request(self, report_progress: ProgressCallback) -> AbstractAsyncContextManager[None]:
        """Track a request that waits for its response in the block; a managed server is watched meanwhile.

        Raises:
            ServerStalled: its process runs but does not respond.
        """
        ...

    def set_active(self, name: str, active: bool) -> None:
        """Record whether a session or terminal is active: a stalled server with active work is not killed."""
        ...

    @property
    def others(self) -> Sequence[OtherBridge]:
        """The other bridges that share a managed server."""
        ...

    def publish(self, **facts: Any) -> None:
        """Publish facts about this bridge to the other bridges."""
        ...

    async def wait_until_published(self) -> None:
        """Wait until everything that was published or promised has been sent, for a few seconds at most."""
        ...

    def promise(self, session_id: str, directory: str | None) -> None:
        """Record a session whose result the client may still ask for, with its directory; None: it has ended.

        A shared server runs for up to an hour without a bridge while such a session runs.
        """
        ...

    def share_of(self, slots: int) -> int:
        """Return how many of the slots for requests this bridge may use now."""
        ...

    def on_bridges_changed(self, callback: Callable[[], None]) -> None:
        """Call a function whenever another bridge has connected, disconnected or published something."""
        ...


class UnmanagedServer:
    """Defaults of a server that this process does not run: there is nothing to measure, report or stop."""

    def describe_shortage(self) -> str:
        """Return nothing: it may run on another machine."""
        return ""

    def pop_note(self) -> str:
        """Return nothing: the user has chosen it."""
        return ""

    def track_request(self, report_progress: ProgressCallback) -> AbstractAsyncContextManager[None]:
        """Do nothing: the server is not watched."""
        return nullcontext()

    def set_active(self, name: str, active: bool) -> None:
        """Do nothing: this process never stops the server."""

    @property
    def others(self) -> Sequence[OtherBridge]:
        """Return none: they are not known."""
        return ()

    def publish(self, **facts: Any) -> None:
        """Do nothing: other bridges are not known."""

    async def wait_until_published(self) -> None:
        """Return immediately."""

    def promise(self, session_id: str, directory: str | None) -> None:
        """Do nothing: this process never stops the server."""

    def share_of(self, slots: int) -> int:
        """Return all."""
        return slots

    def on_bridges_changed(self, callback: Callable[[], None]) -> None:
        """Do nothing: other bridges are not known."""


@dataclass(frozen=True)
class AttachedServer(UnmanagedServer):
    """An OpenCode server that runs independently of this process."""

    fixed_endpoint: Endpoint
    name: str | None = None

    @property
    def password(self) -> str | None:
        """The password that was given."""
        return self.fixed_endpoint.password

    async def endpoint(self, report_progress: ProgressCallback = ignore_progress) -> Endpoint:
        """Return the address that was given."""
        return self.fixed_endpoint

    def current_endpoint(self) -> Endpoint:
        """Return the configured endpoint, without checking it."""
        return self.fixed_endpoint

    async def wait_until_started(self) -> None:
        """Return immediately."""

    def describe(self) -> str:
        """Name the server and its address."""
        return f"OpenCode{f' server {self.name}' if self.name else ''} at {self.fixed_endpoint.display_url}"


@dataclass(frozen=True)
class RefusedServer(UnmanagedServer):
    """An OpenCode server that this process must not start; `reason` explains why, and what to do instead."""

    reason: str
    name: None = None
    password: None = None

    async def endpoint(self, report_progress: ProgressCallback = ignore_progress) -> Endpoint:
        """Raise the reason."""
        raise ServerStartError(self.reason)

    def current_endpoint(self) -> None:
        """Return no address."""

    async def wait_until_started(self) -> None:
        """Wait until the caller is cancelled."""
        await anyio.sleep_forever()

    def describe(self) -> str:
        """Describe the server, and why it is not started."""
        return f"the OpenCode that is not started ({self.reason})"
