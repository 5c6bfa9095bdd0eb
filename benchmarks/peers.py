"""Other bridges to OpenCode, which do the same call over stdio."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from anyio import to_thread

from tests.npm import install_packages

from .setup import FROM_OPENAPI, BenchmarkSetup

NODE_PACKAGE = "opencode-mcp@1.11.0"
"""The bridge that npm has under this name is not this package."""


@dataclass(frozen=True)
class Peer:
    """How a bridge is started, and its tool that reads OpenCode's health."""

    command: Sequence[str]
    tool: str
    environ: Mapping[str, str] = field(default_factory=dict[str, str])


async def find_peers(setup: BenchmarkSetup) -> dict[str, Peer]:
    """Return the bridges that can be had; print why one cannot."""
    peers = {"from_openapi": Peer(FROM_OPENAPI, "global_health", setup.attached_environ)}
    try:
        modules = await to_thread.run_sync(install_packages, "peer", (NODE_PACKAGE,))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"skipped {NODE_PACKAGE}, as npm cannot install it: {error}", flush=True)
        return peers
    environ = {
        **setup.environ,
        "OPENCODE_BASE_URL": str(setup.endpoint.url),
        "OPENCODE_SERVER_USERNAME": setup.endpoint.username,
        "OPENCODE_SERVER_PASSWORD": setup.endpoint.password or "",
        "OPENCODE_AUTO_SERVE": "false",
    }
    return {**peers, "opencode-mcp of npm": Peer((str(modules / ".bin/opencode-mcp"),), "opencode_health", environ)}
