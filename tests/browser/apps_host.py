"""A client with MCP Apps: a page in which an AppBridge of `@modelcontextprotocol/ext-apps` shows the app of a tool."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import uvicorn
from anyio import to_thread
from mcp import Client, MCPError
from mcp.client.extension import ClientExtension
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from examples.scripted_model import GuestServer
from opencode_mcp.opencode.concurrency import background_task_group
from tests import npm

APP_TYPE = "text/html;profile=mcp-app"
PACKAGES = (
    "@modelcontextprotocol/ext-apps@2.0.4",
    "@modelcontextprotocol/client@2.4.0",
    "zod@4.6.7",
    "esbuild@0.28.2",
    "axe-core@4.14.1",
)
SOURCE = Path(__file__).with_name("apps_host.js")
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; font-src data:; media-src data:; connect-src 'none'; frame-src 'none'; base-uri 'self'"
)
"""What an app may do whose resource names no domains, as the specification of MCP Apps has it."""

PAGE = """<!doctype html><meta charset="utf-8"><title>A client</title><link rel="icon" href="data:,">
<style>body{margin:0}iframe{border:0;width:100%;height:200px}</style>
<iframe sandbox="allow-scripts" title="App"></iframe><script type="module" src="/apps_host.js"></script>
"""


class AppsExtension(ClientExtension):
    """Says that the client shows apps."""

    identifier = "io.modelcontextprotocol/ui"

    def settings(self) -> dict[str, Any]:
        """Return what it can show."""
        return {"mimeTypes": [APP_TYPE]}


class AppsHost:
    """What the page of the host asks for. `calls` has the tools that apps have called, oldest first."""

    def __init__(self, client: Client, url: str) -> None:
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self._client = client
        self._url = url

    def address(
        self,
        tool: str = "list_tasks",
        arguments: Mapping[str, Any] | None = None,
        *,
        theme: str = "light",
        variables: Mapping[str, str] | None = None,
        server_tools: bool = True,
    ) -> str:
        """Return the address of the page that calls a tool and shows its app."""
        options = {
            "tool": tool,
            "arguments": arguments or {},
            "theme": theme,
            "variables": variables or {},
            "serverTools": server_tools,
        }
        return f"{self._url}/?{urlencode({'options': json.dumps(options)})}"

    async def find_tool_settings(self, name: str) -> Mapping[str, Any]:
        """Return what a tool says to clients with apps."""
        tools = {tool.name: tool for tool in (await self._client.list_tools()).tools}
        return (tools[name].meta or {}).get("ui", {})

    async def read_app(self, request: Request) -> Response:
        """Answer with the app of a tool, under the policy that the host sets."""
        settings = await self.find_tool_settings((await request.json())["tool"])
        (content,) = (await self._client.read_resource(settings["resourceUri"])).contents
        resource = content.model_dump(mode="json", by_alias=True)
        assert resource["mimeType"] == APP_TYPE
        assert "csp" not in resource["_meta"]["ui"], "POLICY is for apps that ask for nothing"
        policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        html, count = re.subn("(?i)<!doctype html>", lambda found: found[0] + policy, resource["text"], count=1)
        assert count == 1
        return JSONResponse({"html": html})

    async def call_for_app(self, request: Request) -> Response:
        """Call a tool for the app, if apps may call it."""
        params = await request.json()
        settings = await self.find_tool_settings(params["name"])
        if "app" not in settings.get("visibility", ["model", "app"]):
            return JSONResponse({"error": f"{params['name']} is not for apps"})
        self.calls.append((params["name"], params.get("arguments") or {}))
        return await self.call(params)

    async def call_for_model(self, request: Request) -> Response:
        """Call the tool whose app is shown."""
        return await self.call(await request.json())

    async def call(self, params: Mapping[str, Any]) -> Response:
        """Call a tool, and answer with its result."""
        try:
            result = await self._client.call_tool(params["name"], params.get("arguments"))
        except MCPError as error:
            return JSONResponse({"error": str(error)})
        return JSONResponse(result.model_dump(mode="json", by_alias=True, exclude_none=True))


def install_modules() -> Path:
    """Return the `node_modules` with the AppBridge and axe-core."""
    return npm.install_packages("browser", PACKAGES)


def bundle_script() -> str:
    """Return the host's script as one file."""
    modules = install_modules()
    command = (
        str(modules / ".bin" / "esbuild"),
        str(SOURCE),
        "--bundle",
        "--minify",
        "--format=esm",
        "--target=chrome120",
    )
    return subprocess.run(command, env={"NODE_PATH": str(modules)}, check=True, capture_output=True, text=True).stdout


@asynccontextmanager
async def serve(routes: Sequence[Route], listener: socket.socket) -> AsyncGenerator[None]:
    """Serve routes while the block lasts."""
    app = Starlette(routes=routes)
    config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
    server = GuestServer(config)
    async with background_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        try:
            yield
        finally:
            server.should_exit = True


@asynccontextmanager
async def run_apps_host(client: Client) -> AsyncGenerator[AppsHost]:
    """Serve the page of a client with apps; `client` is its connection to the server."""
    script = await to_thread.run_sync(bundle_script)
    listener = socket.create_server(("127.0.0.1", 0))
    host = AppsHost(client, f"http://127.0.0.1:{listener.getsockname()[1]}")

    async def read_page(_: Request) -> Response:
        return HTMLResponse(PAGE)

    async def read_script(_: Request) -> Response:
        return Response(script, media_type="text/javascript")

    routes = [
        Route("/", read_page),
        Route(f"/{SOURCE.name}", read_script),
        Route("/app", host.read_app, methods=["POST"]),
        Route("/call", host.call_for_app, methods=["POST"]),
        Route("/first-call", host.call_for_model, methods=["POST"]),
    ]
    async with serve(routes, listener):
        yield host
