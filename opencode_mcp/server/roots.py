"""The project when this server was started outside of one: the directory that a call names, or the client's root."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

import anyio
import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from opencode_mcp.opencode import ServerPool

from .lifespan import RequestContext
from .server_info import SANDBOX_STATE

ROOTS_SECONDS = 3.0
"""Limit for roots/list, which clients answer without asking the user."""

log = logging.getLogger(__name__)


async def apply_client_root(context: RequestContext) -> ServerPool:
    """Return the servers, bound to the project of the call or to the client's only root if no other is configured."""
    lifespan = context.lifespan_context
    if not lifespan.servers.default.lacks_project:
        return lifespan.servers
    root = call_directory(context.meta) or await client_root(context)
    return (
        lifespan.servers
        if root is None or not lifespan.is_project(root)
        else lifespan.servers.with_options(directory=root, lacks_project=False)
    )


async def client_root(context: RequestContext) -> str | None:
    """Return the path of the client's root; None if it has none or several, or does not answer.

    From 2026-07-28 on a server cannot send requests to a client, so the client must name its project itself.
    """
    capabilities = context.session.client_capabilities
    if capabilities is None or capabilities.roots is None or context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return None
    if not context.session.can_send_request:
        return None
    result: types.ListRootsResult | None = None
    with anyio.move_on_after(ROOTS_SECONDS):
        try:
            result = await context.session.send_request(types.ListRootsRequest(), types.ListRootsResult)
        except (MCPError, ValidationError) as error:
            log.warning("roots/list failed: %s", error)
    if result is None or len(result.roots) != 1:
        return None
    return file_path(str(result.roots[0].uri))


def call_directory(meta: Mapping[str, Any] | None) -> str | None:
    """Return the working directory of the client's session, from the `_meta` of a call of Codex."""
    state = (meta or {}).get(SANDBOX_STATE)
    directory = cast("Mapping[str, Any]", state).get("sandboxCwd") if isinstance(state, Mapping) else None
    return file_path(directory) if isinstance(directory, str) else None


def file_path(uri: str) -> str | None:
    """Return the path of a file URL; None for another URL."""
    parts = urlsplit(uri)
    return url2pathname(parts.path) if parts.scheme == "file" else None
