"""From the settings to the clients of OpenCode, for the MCP server and for the library."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx2

from opencode_mcp.exceptions import SettingsError
from opencode_mcp.openapi import Catalog
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCode, Servers
from opencode_mcp.opencode.allowlist import Allowlist
from opencode_mcp.opencode.background import background
from opencode_mcp.opencode.install import cache_folder
from opencode_mcp.opencode.opening import Openers
from opencode_mcp.opencode.server import RefusedServer
from opencode_mcp.settings import DEPTH_VARIABLE, Settings


def allowlist_of(settings: Settings) -> Allowlist:
    """Return the allowlist of `--allow-directory`.

    Raises:
        SettingsError: what is done without a directory would be done outside.
    """
    allowlist = Allowlist.of(settings.allowed_directories)
    directory = settings.project_directory
    if directory is not None and not allowlist.allows(directory):
        raise SettingsError(f"--directory {directory!r} {allowlist.outside()}")
    return allowlist


def openers_of(settings: Settings) -> Openers:
    """Return which operations of an MCP server may open a directory."""
    if settings.is_on("read_only"):
        return "none strictly"
    return "none" if settings.is_on("no_destructive") else "writes"


def empty_folder(settings: Settings) -> str:
    """Return a folder for an OpenCode without a project: in / or the home folder it would search everything below."""
    folder = cache_folder(settings.environ) / "no-project"
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


@asynccontextmanager
async def connected(settings: Settings, catalog: Catalog, openers: Openers = "all") -> AsyncGenerator[Servers]:
    """Provide the clients of the OpenCode that the settings choose. Nothing is started or sent yet.

    `openers` are the operations that may name a directory which OpenCode has not opened.
    """
    directory, allowlist = settings.project_directory, allowlist_of(settings)
    if settings.urls:
        several = len(settings.urls) > 1
        async with AsyncExitStack() as stack:
            clients: dict[str, OpenCode] = {}
            for name, url in settings.urls.items():
                endpoint = Endpoint(
                    httpx2.URL(url), settings.username, settings.password_of(name), ca_file=settings.trusted
                )
                server = AttachedServer(endpoint, name if several else None)
                client = OpenCode(server, catalog, directory, allowlist, openers=openers, environ=settings.environ)
                clients[name] = await stack.enter_async_context(client)
            yield Servers(clients, tasks=await stack.enter_async_context(background()))
        return
    if settings.depth:
        async with OpenCode(RefusedServer(recursion(settings.depth)), catalog, directory, allowlist) as opencode:
            yield Servers({"": opencode})
        return
    from opencode_mcp.opencode.process import managed_server

    place = directory or empty_folder(settings)
    async with (
        managed_server(settings.command_line, place, settings.child_environ) as server,
        OpenCode(
            server,
            catalog,
            directory,
            allowlist,
            lacks_project=directory is None,
            openers=openers,
            environ=settings.environ,
        ) as opencode,
        background() as tasks,
    ):
        yield Servers({"": opencode}, tasks=tasks)


def recursion(depth: int) -> str:
    """Say why no OpenCode is started below one that a bridge has started: it has the same servers configured."""
    return (
        f"This server runs inside an OpenCode that opencode-mcp started ({DEPTH_VARIABLE}={depth} in its environment), "
        "so it starts no OpenCode: that one would start this server again. Nothing was sent. Do the work with the "
        "other tools of this session; or have the user attach this server to a running OpenCode with --url."
    )
