"""stdio and streamable HTTP."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from opencode_mcp.settings import Settings

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


async def serve_stdio(server: Server[Any]) -> None:
    """Serve one client over stdin and stdout until stdin ends, or a signal comes.

    Raises no error for a signal: cleaned up, the process dies of it, as its parent expects. (The
    thread that reads stdin cannot be cancelled, so the process could not end otherwise.)
    """
    async with stdio_server() as (read, write):
        caught = await until_signal(lambda: server.run(read, write, server.create_initialization_options()))
        if caught is not None:
            signal.signal(caught, signal.SIG_DFL)
            signal.raise_signal(caught)


async def until_signal(serve: Callable[[], Awaitable[None]]) -> signal.Signals | None:
    """Serve until that ends, or until a signal ends it; return the signal."""
    caught: list[signal.Signals] = []

    async def watch(scope: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(*STOP_SIGNALS) as signals:
            async for number in signals:
                caught.append(number)
                scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch, tasks.cancel_scope)
        await serve()
        tasks.cancel_scope.cancel()
    return caught[0] if caught else None


async def serve_http(server: Server[Any], settings: Settings, host: str, port: int, path: str) -> None:
    """Serve streamable HTTP (SSE mode, both protocol eras) until a signal comes."""
    import uvicorn

    config = uvicorn.Config(
        http_application(server, settings, host, path),
        host=host,
        port=port,
        log_config=None,
        timeout_graceful_shutdown=3,
        ws="none",
    )
    await uvicorn.Server(config).serve()


def http_application(server: Server[Any], settings: Settings, host: str, path: str) -> Starlette:
    """Return the application: the endpoint, the views below it, and a sign of life that tells nothing else."""
    from starlette.middleware.cors import CORSMiddleware
    from starlette.routing import Route

    from opencode_mcp.tools import VIEWS

    from .authorization import authorization, transport_security

    # Not json_response: there a client that goes away would not cancel its call.
    application = server.streamable_http_app(
        streamable_http_path=path,
        transport_security=transport_security(settings, host),
        **authorization(settings),
    )
    endpoint = next(one for one in application.routes if isinstance(one, Route) and one.path == path).endpoint
    application.routes.extend(Route(f"{path.rstrip('/')}/{view}", endpoint) for view in VIEWS)
    application.routes.append(Route("/healthz", healthy))
    if origins := settings.names("allow_origin"):
        application.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["Mcp-Session-Id", "WWW-Authenticate"],
        )
    return application


async def healthy(request: Request) -> Response:
    """Say that this process serves, and nothing else."""
    from starlette.responses import PlainTextResponse

    return PlainTextResponse("ok")
