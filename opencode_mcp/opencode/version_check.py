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

from opencode_mcp.catalog import Operation
from opencode_mcp.catalog.versions import (
    BEFORE_HEALTH,
    is_older,
    parse_release,
)
from opencode_mcp.exceptions import UnsupportedServer
from opencode_mcp.openapi import SNAPSHOT_VERSION

from .endpoint import Endpoint

UPDATE_ADVICE = f"Update it (`npm install -g opencode-ai@{SNAPSHOT_VERSION}`)"

CACHE_SECONDS = 60.0
"""How long a detected version is cached: the server at an address may be replaced."""

FetchPath = Callable[[str], Awaitable[httpx2.Response]]
"""Sends GET for a path of the server, with its credentials, and returns the response."""

Describe = Callable[[], str]
"""Returns the name of the server in a message."""


@dataclass(frozen=True, slots=True)
class ServerVersion:
    """The version of a server. `version` is None if the server does not report it: it is not an OpenCode, or requires
    another password.

    `major` is 2 for an OpenCode 2 that does not report its version, and None if nothing is known.
    """

    version: str | None = None
    major: int | None = None


@dataclass
class VersionCheck:
    """Checks and caches the version of a client's server."""

    endpoint: Endpoint | None = None
    server_version: ServerVersion = ServerVersion()
    read_at: float = 0.0
    lock: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def waiting_count(self) -> int:
        """The number of requests that wait for another one to detect the version."""
        return self.lock.statistics().tasks_waiting

    async def detect(self, endpoint: Endpoint, fetch_path: FetchPath, refresh: bool = False) -> ServerVersion:
        """Return the server's version, reading it at most once a minute; `refresh` reads it now.

        Raises:
            What `fetch_path` raises.
        """
        if endpoint.version is not None:
            return ServerVersion(endpoint.version, parse_release(endpoint.version)[0])
        started_at = time.monotonic()
        async with self.lock:
            age = started_at - self.read_at
            if endpoint != self.endpoint or age >= (0 if refresh else CACHE_SECONDS):
                server_version = await detect_version(fetch_path)
                self.endpoint, self.server_version, self.read_at = endpoint, server_version, time.monotonic()
            return self.server_version

    async def check(
        self,
        operation: Operation,
        min_version: str | None,
        endpoint: Endpoint,
        fetch_path: FetchPath,
        describe: Describe,
    ) -> None:
        """Check that the server has an operation and is not older than `min_version`; reads the version again before it
        fails.

        Raises:
            UnsupportedServer: it is of another generation, or too old.
            What `fetch_path` raises.
        """
        server_version = await self.detect(endpoint, fetch_path)
        if unsupported_reason(operation, min_version, server_version, describe) is None:
            return
        reason = unsupported_reason(
            operation, min_version, await self.detect(endpoint, fetch_path, refresh=True), describe
        )
        if reason is not None:
            raise UnsupportedServer(reason)


def unsupported_reason(
    operation: Operation, min_version: str | None, server_version: ServerVersion, describe: Describe
) -> str | None:
    """Return why a request must not be sent, or None."""
    generation = operation.generation
    if server_version.major not in (generation.number, None):
        return f"{describe()} is {product_name(server_version)}, {generation.mismatch}"
    if server_version.version is None:
        return None
    if min_version is not None and is_older(server_version.version, min_version):
        return (
            f"{describe()} is OpenCode {server_version.version}, and the task tools need {min_version} or later: "
            f"nothing was sent. {UPDATE_ADVICE}, or use operations such as session_prompt."
        )
    introduced = generation.version_by_operation.get(operation.id)
    if introduced is not None and is_older(server_version.version, introduced):
        return (
            f"{operation.name} came with OpenCode {introduced}, and {describe()} is {server_version.version}: "
            f"nothing was sent. {UPDATE_ADVICE}."
        )
    return None


def product_name(server_version: ServerVersion) -> str:
    """Return the name and version of an OpenCode of another major version."""
    return f"OpenCode {server_version.version or server_version.major}"


async def detect_version(fetch_path: FetchPath) -> ServerVersion:
    """Detect a server's version.

    Raises:
        What `fetch_path` raises.
    """
    health = await fetch_path("/global/health")
    body = json_object(health)
    if isinstance(body.get("version"), str):
        return ServerVersion(body["version"], parse_release(body["version"])[0])
    if str(body.get("code", "")).startswith("service_"):  # OpenCode 2 while it starts or stops
        return ServerVersion(None, 2)
    if health.status_code in {401, 403} or (not is_web_page(health) and health.status_code < 500):
        return ServerVersion()
    path = await fetch_path("/path")
    if path.status_code == 200 and isinstance(json_object(path).get("directory"), str):
        return ServerVersion(BEFORE_HEALTH, 1)
    if not is_web_page(health):
        return ServerVersion()
    detected = read_v2_info(await fetch_path("/api/info"))
    return read_v2_info(await fetch_path("/api/health")) if detected == ServerVersion() else detected


def read_v2_info(info: httpx2.Response) -> ServerVersion:
    """Read the version below /api of a server that returns a web page at /global/health, which OpenCode 1 does not."""
    body = json_object(info)
    version = body.get("version")
    if isinstance(version, str) and isinstance(body.get("pid"), int):
        return ServerVersion(version, parse_release(version)[0])
    asks_for_password = info.status_code == 401 and "basic" in info.headers.get("www-authenticate", "").lower()
    if asks_for_password or "_tag" in body or "healthy" in body or str(body.get("code", "")).startswith("service_"):
        return ServerVersion(None, 2)
    return ServerVersion()


def is_web_page(response: httpx2.Response) -> bool:
    """Whether a response is a web page."""
    return response.headers.get("content-type", "").startswith("text/html")


def json_object(response: httpx2.Response) -> dict[str, Any]:
    """Return a response's JSON object, {} for anything else."""
    try:
        value = response.json()
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
