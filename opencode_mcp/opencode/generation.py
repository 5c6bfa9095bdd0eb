"""Which OpenCode answers at an address, so that only what it has is sent to it.

GET /global/health -> its version; else GET /path, which every 1.x has; else GET /api/info, which OpenCode 2 has, or
/api/health, which its betas had.
OpenCode 2 gives its web page for every path that it does not have, and 1.0 to 1.3 pass such a request on to a website.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import anyio
import httpx2

from opencode_mcp.exceptions import UnsupportedServer
from opencode_mcp.openapi import SNAPSHOT_VERSION, Operation
from opencode_mcp.openapi.versions import BEFORE_HEALTH, GENERATION, is_older, needed_version, release

from .server import Endpoint

REMEMBERED_SECONDS = 60.0
"""For how long an answer holds: behind the same address there may be another server tomorrow."""

Get = Callable[[str], Awaitable[httpx2.Response]]
"""Reads a path of the server, with its credentials."""

Describe = Callable[[], str]
"""Names the server in a message."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a server is. `version` is None where it does not say: it is no OpenCode, or asks for another password.

    `major` is 2 for an OpenCode 2 that does not say its version either.
    """

    version: str | None = None
    major: int = GENERATION


@dataclass
class Known:
    """What is known of the server of a client: of one address, since when."""

    endpoint: Endpoint | None = None
    identity: Identity = Identity()
    at: float = 0.0
    lock: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def waiting(self) -> int:
        """How many requests wait until another has found out what the server is."""
        return self.lock.statistics().tasks_waiting

    async def identify(self, endpoint: Endpoint, get: Get, fresh: bool = False) -> Identity:
        """Return what the server is, asking it once a minute; `fresh` asks it now.

        Raises:
            What `get` raises.
        """
        if endpoint.version is not None:
            return Identity(endpoint.version, release(endpoint.version)[0])
        asked = time.monotonic()
        async with self.lock:
            age = asked - self.at
            if endpoint != self.endpoint or age >= (0 if fresh else REMEMBERED_SECONDS):
                identity = await identify(get)
                self.endpoint, self.identity, self.at = endpoint, identity, time.monotonic()
            return self.identity

    async def check(
        self, operation: Operation, oldest: str | None, endpoint: Endpoint, get: Get, where: Describe
    ) -> None:
        """See that the server has an operation, and is not older than `oldest`. A refusal rests on a fresh look.

        Raises:
            UnsupportedServer: it is of another generation, or too old.
            What `get` raises.
        """
        identity = await self.identify(endpoint, get)
        if refusal(operation, oldest, identity, where) is None:
            return
        reason = refusal(operation, oldest, await self.identify(endpoint, get, fresh=True), where)
        if reason is not None:
            raise UnsupportedServer(reason)


def refusal(operation: Operation, oldest: str | None, identity: Identity, where: Describe) -> str | None:
    """Return why a request must not be sent, None when it may."""
    if identity.major != GENERATION:
        return f"{where()} is {name(identity)}, {WAY_OUT}"
    if identity.version is None:
        return None
    if oldest is not None and is_older(identity.version, oldest):
        return (
            f"{where()} is OpenCode {identity.version}, and the task tools need {oldest} or later: nothing was sent. "
            f"Update it (`npm install -g opencode-ai@{SNAPSHOT_VERSION}`), or use operations such as session_prompt."
        )
    needed = needed_version(operation.id)
    if needed is not None and is_older(identity.version, needed):
        return (
            f"{operation.name} came with OpenCode {needed}, and {where()} is {identity.version}: nothing was sent. "
            f"Update it (`npm install -g opencode-ai@{SNAPSHOT_VERSION}`)."
        )
    return None


WAY_OUT = (
    "whose API differs from 1.x, which opencode-mcp supports. Nothing was sent. Set --url to an OpenCode 1.x (tested: "
    f"opencode-ai@{SNAPSHOT_VERSION}), or omit it to start one."
)


def name(identity: Identity) -> str:
    """Name an OpenCode of another generation."""
    return f"OpenCode {identity.version or identity.major}"


async def identify(get: Get) -> Identity:
    """Find out what a server is.

    Raises:
        What `get` raises.
    """
    health = await get("/global/health")
    body = json_object(health)
    if isinstance(body.get("version"), str):
        return Identity(body["version"], release(body["version"])[0])
    if str(body.get("code", "")).startswith("service_"):  # OpenCode 2, which starts or stops
        return Identity(None, GENERATION + 1)
    if health.status_code in {401, 403} or (not is_page(health) and health.status_code < 500):
        return Identity()
    path = await get("/path")
    if path.status_code == 200 and isinstance(json_object(path).get("directory"), str):
        return Identity(BEFORE_HEALTH)
    if not is_page(health):
        return Identity()
    found = second_generation(await get("/api/info"))
    return second_generation(await get("/api/health")) if found == Identity() else found


def second_generation(info: httpx2.Response) -> Identity:
    """Read what a server that gives its web page at /global/health, as no OpenCode 1 does, says below /api."""
    body = json_object(info)
    version = body.get("version")
    if isinstance(version, str) and isinstance(body.get("pid"), int):
        return Identity(version, release(version)[0])
    basic = info.status_code == 401 and "basic" in info.headers.get("www-authenticate", "").lower()
    if basic or "_tag" in body or "healthy" in body or str(body.get("code", "")).startswith("service_"):
        return Identity(None, GENERATION + 1)
    return Identity()


def is_page(response: httpx2.Response) -> bool:
    """Whether an answer is a web page."""
    return response.headers.get("content-type", "").startswith("text/html")


def json_object(response: httpx2.Response) -> dict[str, Any]:
    """Return an answer's JSON object, {} when it is none."""
    try:
        value = response.json()
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
