"""Mount the server in your own web application, and use it from a client over HTTP.

python examples/serve_http.py
"""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import httpx2
from mcp import Client
from scripted_model import GuestServer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from uvicorn import Config
from workbench import Workbench, call, expect, run

from opencode_mcp.catalog import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings


async def hello(request: Request) -> PlainTextResponse:
    """Answer a request to the application's own route."""
    return PlainTextResponse("hello from the application")


def application(settings: Settings) -> Starlette:
    """Return an application with its own route, and the server at /opencode/mcp."""
    server = create_server(settings, Catalog.from_snapshot()).streamable_http_app(streamable_http_path="/mcp")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        # Starlette does not run the lifespan of a mounted application, and the server needs it.
        async with server.router.lifespan_context(server):
            yield

    return Starlette(routes=[Route("/hello", hello), Mount("/opencode", server)], lifespan=lifespan)


async def call_both(url: str) -> None:
    """Call the application's route and a tool."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"{url}/hello")).text
        expect(text == "hello from the application", f"/hello says {text!r}")
        print(f"/hello: {text}")
    async with Client(f"{url}/opencode/mcp") as client:
        tools = (await client.list_tools()).tools
        session = await call(client, "session_create", title="over HTTP")
        expect(session["title"] == "over HTTP", f"the session is {session}")
        print(f"/opencode/mcp: {len(tools)} tools, session {session['id']} created")


async def serve_http(bench: Workbench) -> None:
    """Serve on a free port, use it, and stop."""
    app = application(Settings.load({"directory": str(bench.project)}, bench.environ))
    listener = socket.create_server(("127.0.0.1", 0))
    server = GuestServer(Config(app, log_config=None, ws="none", timeout_graceful_shutdown=3))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        try:
            await call_both(f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            server.should_exit = True


if __name__ == "__main__":
    sys.exit(run(serve_http))
