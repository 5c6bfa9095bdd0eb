"""The client's root as the project, when this server was started outside a project."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit
from urllib.request import url2pathname

import anyio
import mcp_types as types
from mcp import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from opencode_mcp.opencode import ServerPool

from .lifespan import RequestContext

ROOTS_SECONDS = 3.0
"""Limit for roots/list, which clients answer without asking the user."""

log = logging.getLogger(__name__)


async def in_project(context: RequestContext) -> ServerPool:
    """Return the servers, bound to the client's only root if no other project is configured."""
    life = context.lifespan_context
    if not life.servers.default.lacks_project:
        return life.servers
    root = await only_root(context)
    return (
        life.servers
        if root is None or not life.is_project(root)
        else life.servers.with_options(directory=root, lacks_project=False)
    )


async def only_root(context: RequestContext) -> str | None:
    """Return the path of the client's root; None where it has none or several, or cannot be asked.

    From 2026-07-28 on a server asks no client; those that have roots then say their project in another way.
    """
    capabilities = context.session.client_capabilities
    if capabilities is None or capabilities.roots is None or context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return None
    if not context.session.can_send_request:
        return None
    listed: types.ListRootsResult | None = None
    with anyio.move_on_after(ROOTS_SECONDS):
        try:
            listed = await context.session.send_request(types.ListRootsRequest(), types.ListRootsResult)
        except (MCPError, ValidationError) as error:
            log.warning("roots/list failed: %s", error)
    if listed is None or len(listed.roots) != 1:
        return None
    uri = urlsplit(str(listed.roots[0].uri))
    return url2pathname(uri.path) if uri.scheme == "file" else None
