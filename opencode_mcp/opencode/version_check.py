"""Detects the OpenCode version at an address, so that only operations that it has are sent.

Of an expected OpenCode 2, GET /api/info -> its version; else, and of an expected OpenCode 1, GET /global/health -> its
version; else GET /path, which every 1.x has; else GET /api/info, or /api/health, which the betas of OpenCode 2 had.
Once the server has answered, the rest takes DECISION_SECONDS at most.
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
from opencode_mcp.catalog.versions import BEFORE_HEALTH, is_older
from opencode_mcp.exceptions import UnsupportedServer
from opencode_mcp.openapi.snapshots import SNAPSHOTS

from .endpoint import Endpoint
from .expected_generation import ExpectedGeneration, version_major

CACHE_SECONDS = 60.0
"""How long a detected version is cached: the server at an address may be replaced."""

DECISION_SECONDS = 2.0
"""How long a server that has answered may take for the requests that tell which OpenCode it is."""

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
    """Checks and caches the version of a client's server, and notes its generation."""

    expected: ExpectedGeneration
    endpoint: Endpoint | None = None
    server_version: ServerVersion = ServerVersion()
    read_at: float = 0.0
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    noted: int | None = None

    @property
    def waiting_count(self) -> int:
        """The number of requests that wait for another one to detect the version."""
        return self.lock.statistics().tasks_waiting

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
        reason: str | None = None
        for refresh in (False, True):
            found = await self.find(endpoint, fetch_path, refresh)
            if self.expected.accepts(found.major):
                reason = unsupported_reason(operation, min_version, found, describe)
            else:
                reason = self.expected.describe_mismatch(describe(), found.version, found.major)
            if reason is None:
                return
        assert reason is not None
        raise UnsupportedServer(reason)

    async def find(self, endpoint: Endpoint, fetch_path: FetchPath, refresh: bool = False) -> ServerVersion:
        """Return the server's version, and note its generation.

        It is read at most once a minute; `refresh` reads it now.

        Raises:
            What `fetch_path` raises.
        """
        started_at, max_age = time.monotonic(), 0 if refresh else CACHE_SECONDS
        if endpoint.version is not None:
            found = ServerVersion(endpoint.version, version_major(endpoint.version))
        elif endpoint == self.endpoint and started_at - self.read_at < max_age:
            found = self.server_version
        else:
            async with self.lock:
                if endpoint != self.endpoint or started_at - self.read_at >= max_age:
                    found = await detect_version(fetch_path, self.expected.generation.number)
                    self.endpoint, self.server_version, self.read_at = endpoint, found, time.monotonic()
                found = self.server_version
        if found.major != self.noted:
            self.noted = found.major
            self.expected.note(found.major)
        return found


def unsupported_reason(
    operation: Operation, min_version: str | None, server_version: ServerVersion, describe: Describe
) -> str | None:
    """Return why a request must not be sent to a server of its generation, or None."""
    generation = operation.generation
    advice = f"Update it (`{generation.update}`)"
    if server_version.version is None:
        return None
    if min_version is not None and is_older(server_version.version, min_version):
        return (
            f"{describe()} is OpenCode {server_version.version}, and the task tools need {min_version} or later: "
            f"nothing was sent. {advice}, or use operations such as session_prompt."
        )
    introduced = generation.version_by_operation.get(operation.id)
    if introduced is not None and is_older(server_version.version, introduced):
        return (
            f"{operation.name} came with OpenCode {introduced}, and {describe()} is {server_version.version}: "
            f"nothing was sent. {advice}."
        )
    return None


async def detect_version(fetch_path: FetchPath, expected: int) -> ServerVersion:
    """Detect a server's version, beginning with the path at which the expected generation has it.

    Raises:
        What `fetch_path` raises.
    """
    first = await fetch_path(SNAPSHOTS[expected].version_path)
    detected = ServerVersion()
    if expected == 2:
        detected = read_v2_info(first)
        if detected.version is not None or asks_to_wait(first):
            return detected
    with anyio.move_on_after(DECISION_SECONDS):
        health = first if expected == 1 else await fetch_path(SNAPSHOTS[1].version_path)
        detected = await detect_from_health(health, fetch_path)
    return detected


async def detect_from_health(health: httpx2.Response, fetch_path: FetchPath) -> ServerVersion:
    """Detect a server's version from its response at /global/health, and further ones.

    Raises:
        What `fetch_path` raises.
    """
    body = json_object(health)
    if isinstance(body.get("version"), str):
        return ServerVersion(body["version"], version_major(body["version"]))
    if asks_to_wait(health):
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
    """Read the version below /api, where an OpenCode 1 without a password returns a web page."""
    body = json_object(info)
    version = body.get("version")
    if isinstance(version, str) and isinstance(body.get("pid"), int):
        return ServerVersion(version, version_major(version))
    asks_for_password = info.status_code == 401 and "basic" in info.headers.get("www-authenticate", "").lower()
    if asks_for_password or "_tag" in body or "healthy" in body or asks_to_wait(info):
        return ServerVersion(None, 2)
    return ServerVersion()


def asks_to_wait(response: httpx2.Response) -> bool:
    """Whether an OpenCode 2 says that it starts or stops: it then answers nothing else."""
    return str(json_object(response).get("code", "")).startswith("service_")


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
