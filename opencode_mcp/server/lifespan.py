"""What lives as long as the server does, and reaches every handler with its request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anyio.abc import TaskGroup
from mcp.server.context import ServerRequestContext

from opencode_mcp.opencode import OpenCode


@dataclass(frozen=True)
class Lifespan:
    """`tasks` runs what outlives a request, such as a subscription; it is cancelled with the server."""

    opencode: OpenCode
    tasks: TaskGroup


RequestContext = ServerRequestContext[Lifespan, Any]
