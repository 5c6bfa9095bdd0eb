"""From the settings to the client of an OpenCode, for the MCP server and for the library."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2

from opencode_mcp.openapi import Catalog
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCode
from opencode_mcp.settings import Settings


@asynccontextmanager
async def connected(settings: Settings, catalog: Catalog) -> AsyncGenerator[OpenCode]:
    """Provide the client of the OpenCode that the settings choose. Nothing is started or sent yet."""
    directory = settings.project_directory
    if settings.url:
        endpoint = Endpoint(httpx2.URL(settings.url), settings.username, settings.password or None)
        async with OpenCode(AttachedServer(endpoint), catalog, directory) as opencode:
            yield opencode
        return
    from opencode_mcp.opencode.process import managed_server

    assert directory is not None
    async with (
        managed_server(settings.command_line, directory, settings.child_environ) as server,
        OpenCode(server, catalog, directory) as opencode,
    ):
        yield opencode
