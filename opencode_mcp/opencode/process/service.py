"""The background service of OpenCode 2 that its terminal, desktop and web clients share. It is discovered only: never
started, stopped or replaced, as other people's work runs in it.

Its registration is believed if the server at its address has the process id and the version in it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import anyio
import httpx2

from opencode_mcp.openapi.snapshots import SNAPSHOTS
from opencode_mcp.opencode.endpoint import Endpoint
from opencode_mcp.opencode.expected_generation import version_major
from opencode_mcp.opencode.version_check import asks_to_wait

from .private_file import read_private_file
from .supervisor import process_start

SERVICE_SECONDS = 2.0
"""How long a registered service may take to say that it runs."""
CHECK_SECONDS = 15.0
"""How often one that is used is looked for."""
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """A running service."""

    endpoint: Endpoint
    pid: int
    version: str

    @property
    def generation(self) -> int:
        """Its major version."""
        return version_major(self.version)

    def describe(self) -> str:
        """Describe it for an error message."""
        return f"OpenCode's background service at {self.endpoint.display_url} (process {self.pid})"


def registration_file(environ: Mapping[str, str]) -> Path:
    """Return where the service of a user with this environment is registered, on every platform."""
    state = environ.get("XDG_STATE_HOME")
    home = environ.get("HOME") or environ.get("USERPROFILE") or os.path.expanduser("~")
    return Path(state or Path(home, ".local", "state"), "opencode", "service.json")


async def find_service(environ: Mapping[str, str]) -> Service | None:
    """Return the user's service that runs or starts, within two seconds; None if there is none."""
    registered = read_service(registration_file(environ))
    if registered is None:
        return None
    endpoint = registered.endpoint
    info: Any = None
    try:
        # Not through a proxy: the password is only for this machine.
        async with httpx2.AsyncClient(auth=endpoint.auth, timeout=SERVICE_SECONDS, trust_env=False) as http:
            with anyio.move_on_after(SERVICE_SECONDS):
                response = await http.get(endpoint.base_url + SNAPSHOTS[2].version_path)
                if asks_to_wait(response):
                    return registered
                info = response.json()
    except (httpx2.HTTPError, ValueError) as error:
        log.info("%s is registered, and does not answer: %r", registered.describe(), error)
        return None
    fields = cast("dict[str, Any]", info if isinstance(info, dict) else {})
    if (fields.get("pid"), fields.get("version")) != (registered.pid, registered.version):
        log.info("%s is registered, and another server answers there", registered.describe())
        return None
    return registered


async def wait_until_gone(service: Service, environ: Mapping[str, str]) -> None:
    """Wait until a service that was found has ended, or another one is registered."""
    while await is_in_use(service, environ):
        await anyio.sleep(CHECK_SECONDS)


async def is_in_use(service: Service, environ: Mapping[str, str]) -> bool:
    """Whether a service that was found is still registered and runs; a busy one may not answer for a while."""
    if read_service(registration_file(environ)) != service:
        return False
    return bool(process_start(service.pid)) or await find_service(environ) == service


def read_service(file: Path) -> Service | None:
    """Return the service that a registration names; None if there is none, or the file is not to be trusted."""
    try:
        record: dict[str, Any] = json.loads(read_private_file(file))
        url = httpx2.URL(str(record["url"]))
        endpoint = Endpoint(url, password=str(record["password"]), version=str(record["version"]))
        service = Service(endpoint, int(record["pid"]), str(record["version"]))
    except PermissionError as error:
        log.warning("%s", error)
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError, httpx2.InvalidURL):
        return None
    return service if url.scheme == "http" and url.host in LOOPBACK_HOSTS else None
