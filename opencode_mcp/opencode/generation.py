"""Detects the OpenCode version at an address, so that only operations that it has are sent.

GET /global/health -> its version; else GET /path, which every 1.x has; else GET /api/info, which OpenCode 2 has, or
/api/health, which its betas had.
OpenCode 2 returns its web page for every unknown path, and 1.0 to 1.3 forward such a request to a website.
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
from opencode_mcp.openapi.versions import BEFORE_HEALTH, GENERATION, introduced_in, is_older, parse_release

from .server import Endpoint

REMEMBERED_SECONDS = 60.0
"""How long a detected version is cached: the server at an address may be replaced."""

Get = Callable[[str], Awaitable[httpx2.Response]]
"""Reads a path of the server, with its credentials."""

Describe = Callable[[], str]
"""Names the server in a message."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The version of a server. `version` is None if the server does not report it: it is not an OpenCode, or requires
    another password.

    `major` is 2 for an OpenCode 2 that does not report its version.
    """

    version: str | None = None
    major: int = GENERATION


@dataclass
class Known:
    """Checks and caches the version of a client's server."""

    endpoint: Endpoint | None = None
    identity: Identity = Identity()
    at: float = 0.0
    lock: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def waiting(self) -> int:
        """The number of requests that wait for another one to detect the version."""
        return self.lock.statistics().tasks_waiting

    async def identify(self, endpoint: Endpoint, get: Get, fresh: bool = False) -> Identity:
        """Return the server's version, reading it at most once a minute; `refresh` reads it now.

        Raises:
            What `get` raises.
        """
        if endpoint.version is not None:
            return Identity(endpoint.version, parse_release(endpoint.version)[0])
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
        """Check that the server has an operation and is not older than `min_version`; reads the version again before it
        fails.

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
    """Return why a request must not be sent, or None."""
    if identity.major != GENERATION:
        return f"{where()} is {name(identity)}, {WAY_OUT}"
    if identity.version is None:
        return None
    if oldest is not None and is_older(identity.version, oldest):
        return (
            f"{where()} is OpenCode {identity.version}, and the task tools need {oldest} or later: nothing was sent. "
            f"Update it (`npm install -g opencode-ai@{SNAPSHOT_VERSION}`), or use operations such as session_prompt."
        )
    needed = introduced_in(operation.id)
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
    """Return the name and version of an OpenCode of another major version."""
    return f"OpenCode {identity.version or identity.major}"


async def identify(get: Get) -> Identity:
    """Detect a server's version.

    Raises:
        What `get` raises.
    """
    health = await get("/global/health")
    body = json_object(health)
    if isinstance(body.get("version"), str):
        return Identity(body["version"], parse_release(body["version"])[0])
    if str(body.get("code", "")).startswith("service_"):  # OpenCode 2 while it starts or stops
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
    """Read the version below /api of a server that returns a web page at /global/health, which OpenCode 1 does not."""
    body = json_object(info)
    version = body.get("version")
    if isinstance(version, str) and isinstance(body.get("pid"), int):
        return Identity(version, parse_release(version)[0])
    basic = info.status_code == 401 and "basic" in info.headers.get("www-authenticate", "").lower()
    if basic or "_tag" in body or "healthy" in body or str(body.get("code", "")).startswith("service_"):
        return Identity(None, GENERATION + 1)
    return Identity()


def is_page(response: httpx2.Response) -> bool:
    """Whether a response is a web page."""
    return response.headers.get("content-type", "").startswith("text/html")


def json_object(response: httpx2.Response) -> dict[str, Any]:
    """Return a response's JSON object, {} for anything else."""
    try:
        value = response.json()
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
