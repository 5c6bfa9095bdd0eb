"""Where OpenCode is: a server that was given by its URL, or one that we start (`process.py`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import anyio
import httpx2

from opencode_mcp.exceptions import ServerStartError

Report = Callable[[str], Awaitable[None]]
"""Tells whoever waits for a call what it is doing, in one line."""


async def silent(message: str) -> None:
    """Report to nobody."""


@dataclass(frozen=True)
class Endpoint:
    """The address of a running OpenCode server. `password` is None when it has none.

    `ca_file` holds certificates (PEM) that are trusted beside the system's.
    `version` is None when only the server itself can say it.
    """

    url: httpx2.URL
    username: str = "opencode"
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    version: str | None = None

    @cached_property
    def base(self) -> str:
        """The address as the beginning of a URL, without the slash at its end."""
        who = f"{self.url.userinfo.decode()}@" if self.url.userinfo else ""
        path = self.url.raw_path.partition(b"?")[0].decode().rstrip("/")
        return f"{self.url.scheme}://{who}{self.url.netloc.decode()}{path}"

    @property
    def address(self) -> str:
        """The address for a person to read: without the user name and the password that may be in it."""
        return str(self.url.copy_with(username=None, password=None)).rstrip("/")

    @property
    def auth(self) -> httpx2.BasicAuth | None:
        """The credentials as httpx2 takes them."""
        return None if self.password is None else httpx2.BasicAuth(self.username, self.password)


class OpenCodeServer(Protocol):
    """Something that can say where OpenCode is."""

    @property
    def name(self) -> str | None:
        """What it is called among several; None when there is no other."""
        ...

    @property
    def password(self) -> str | None:
        """What it asks for; None when it asks for nothing."""
        ...

    async def endpoint(self, report: Report = silent) -> Endpoint:
        """Return the address, after starting the server if that is ours to do.

        Raises:
            ServerStartError: it could not be started.
        """
        ...

    def running(self) -> Endpoint | None:
        """Return the address of a server that is taken to run; nothing is started or sent."""
        ...

    async def until_running(self) -> None:
        """Wait until the server runs, without starting it."""
        ...

    def describe(self) -> str:
        """Name the server for an error message, with what is known of its fate."""
        ...

    def shortage(self) -> str:
        """Name a resource that the server's machine lacks right now, and what to do; "" when none is known."""
        ...

    def take_note(self) -> str:
        """Return what the user must know of the choice of the program: once, then ""."""
        ...

    def expected(self, report: Report) -> AbstractAsyncContextManager[None]:
        """Wait for an answer in the block; a server that we started is watched meanwhile.

        Raises:
            ServerStalled: its process lives and answers nothing.
        """
        ...

    def note_work(self, name: str, works: bool) -> None:
        """Note whether a session or terminal works: a server is never ended while one is known to."""
        ...


class Unwatched:
    """What holds of a server that this process does not run: there is nothing to measure, to say or to end."""

    def shortage(self) -> str:
        """Return nothing: it may run on another machine."""
        return ""

    def take_note(self) -> str:
        """Return nothing: the user has chosen it."""
        return ""

    def expected(self, report: Report) -> AbstractAsyncContextManager[None]:
        """Wait in the block; the server is not watched."""
        return nullcontext()

    def note_work(self, name: str, works: bool) -> None:
        """Note nothing: the server is never ended from here."""


@dataclass(frozen=True)
class AttachedServer(Unwatched):
    """An OpenCode server that somebody else runs."""

    address: Endpoint
    name: str | None = None

    @property
    def password(self) -> str | None:
        """The password that was given."""
        return self.address.password

    async def endpoint(self, report: Report = silent) -> Endpoint:
        """Return the address that was given."""
        return self.address

    def running(self) -> Endpoint:
        """Return the address that was given; only a request can tell more."""
        return self.address

    async def until_running(self) -> None:
        """Return at once."""

    def describe(self) -> str:
        """Name the server and its address."""
        return f"OpenCode{f' server {self.name}' if self.name else ''} at {self.address.address}"


@dataclass(frozen=True)
class RefusedServer(Unwatched):
    """An OpenCode server that this process must not start. `reason` says why, and what to do instead."""

    reason: str
    name: None = None
    password: None = None

    async def endpoint(self, report: Report = silent) -> Endpoint:
        """Raise the reason."""
        raise ServerStartError(self.reason)

    def running(self) -> None:
        """Return no address."""

    async def until_running(self) -> None:
        """Wait until the caller is cancelled."""
        await anyio.sleep_forever()

    def describe(self) -> str:
        """Name the server, and why there is none."""
        return f"the OpenCode that is not started ({self.reason})"
