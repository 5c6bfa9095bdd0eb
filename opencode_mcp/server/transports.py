"""stdio and streamable HTTP."""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.transport_security import TransportSecuritySettings

from opencode_mcp.settings import Settings

from .server import BridgeServer
from .stdio import stdio_streams

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from .requests import HostPolicy

    StarletteLifespan = Callable[[Starlette], AbstractAsyncContextManager[Any]]

IDLE_SECONDS = 30 * 60.0
"""A session (protocol up to 2025-11-25) without a request for this time is closed; the client gets 404 and initializes
again."""
MAX_SESSIONS = 2_000
"""Maximum number of open sessions, about 42 KB each; beyond it `initialize` gets 503."""
SDK_CHECKS_DISABLED = TransportSecuritySettings(enable_dns_rebinding_protection=False)
"""`HostPolicy` checks Host and Origin: the SDK accepts any text as a port."""

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


async def serve_stdio(server: BridgeServer) -> None:
    """Serve one client over stdin and stdout until stdin ends, or a signal comes and the calls have ended.

    Raises no error for a signal: cleaned up, the process dies of it, as its parent expects. (A thread
    that reads a stdin which is no pipe cannot be cancelled, so the process could not end otherwise.)
    """
    async with stdio_streams() as (read, write):
        signum = await serve_until_signal(
            lambda: server.run(read, write, server.create_initialization_options()), server.shutdown.drain
        )
        if signum is not None:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)


async def serve_until_signal(
    serve: Callable[[], Awaitable[None]], drain: Callable[[], Awaitable[None]]
) -> signal.Signals | None:
    """Run `serve` until it returns, or until a signal arrives and `drain` returns; return the signal."""
    received: list[signal.Signals] = []

    async def watch_signals(scope: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(*STOP_SIGNALS) as signals:
            async for signum in signals:
                if received:  # a second signal cancels at once
                    scope.cancel()
                received.append(signum)
                tasks.start_soon(drain_and_cancel, scope)

    async def drain_and_cancel(scope: anyio.CancelScope) -> None:
        await drain()
        scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_signals, tasks.cancel_scope)
        await serve()
        tasks.cancel_scope.cancel()
    return received[0] if received else None


async def serve_http(server: BridgeServer, application: Starlette, host: str, port: int) -> None:
    """Serve the application until a signal arrives and the calls are drained.

    Raises:
        Exception: the application's lifespan failed.
    """
    http_server = make_uvicorn_server(application, host, port, server.shutdown.drain)
    lifespan = application.router.lifespan_context
    failures: list[Exception] = []

    @asynccontextmanager
    async def stop_on_failure(application: Starlette) -> AsyncGenerator[Any]:
        try:
            async with lifespan(application) as state:
                yield state
        except Exception as error:
            failures.append(error)
            http_server.should_exit = True  # else uvicorn would keep serving without a lifespan
            raise

    application.router.lifespan_context = stop_on_failure
    await http_server.serve()
    if failures:
        raise failures[0]


def make_uvicorn_server(
    application: Starlette, host: str, port: int, drain: Callable[[], Awaitable[None]]
) -> uvicorn.Server:
    """Return the HTTP server. After a signal it accepts no connection, and closes none before `drain` returns."""
    import uvicorn
    from sse_starlette.sse import AppStatus

    from .patience import RequestTimeoutProtocol

    class DrainingServer(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            for listener in self.servers:
                listener.close()
            await drain()
            AppStatus.should_exit = True
            await super().shutdown(sockets)

    AppStatus.disable_automatic_graceful_drain()  # it would close the responses at the first signal
    return DrainingServer(
        uvicorn.Config(
            application,
            host=host,
            port=port,
            log_config=None,
            timeout_graceful_shutdown=1,
            http=RequestTimeoutProtocol,
            ws="none",
        )
    )


def create_http_app(server: BridgeServer, settings: Settings, host: str, path: str) -> Starlette:
    """Return the application: streamable HTTP (SSE mode, both protocol eras), and what is beside it.

    The endpoint, the views below it, a sign of life that tells nothing else, and metrics.
    """
    from .authorization import IssuerUnavailableMiddleware, JWTVerifier, make_auth_options, make_host_policy
    from .requests import RequestCheckMiddleware

    policy, auth_options = make_host_policy(settings, host), make_auth_options(settings)
    # Not json_response: a disconnect would not cancel the call there.
    application = server.streamable_http_app(
        streamable_http_path=path,
        transport_security=SDK_CHECKS_DISABLED,
        session_idle_timeout=IDLE_SECONDS,
        max_sessions=MAX_SESSIONS,
        **auth_options,
    )
    limited = server.session_manager.asgi_app
    limited.app = RequestCheckMiddleware(limited.app, policy)
    if isinstance(verifier := auth_options.get("token_verifier"), JWTVerifier):
        application.add_middleware(IssuerUnavailableMiddleware)
        application.router.lifespan_context = extend_lifespan(
            application.router.lifespan_context, verifier.keys.refresh_in_background
        )
    add_routes(application, server, path, policy)
    if origins := settings.allow_origin:
        allow_origins(application, origins)
    return application


def add_routes(application: Starlette, server: BridgeServer, path: str, policy: HostPolicy) -> None:
    """Add the views below the endpoint, /healthz, and /metrics if the server has metrics."""
    from starlette.routing import Route

    from opencode_mcp.tools import VIEWS

    endpoint = next(route for route in application.routes if isinstance(route, Route) and route.path == path).endpoint
    application.routes.extend(Route(f"{path.rstrip('/')}/{view}", endpoint) for view in VIEWS)
    application.routes.append(Route("/healthz", healthz))
    if server.metrics is not None:
        from .metrics import metrics_route

        server.metrics.count_sessions(server.session_manager)
        application.routes.append(metrics_route(server.metrics, endpoint, policy))


def allow_origins(application: Starlette, origins: Sequence[str]) -> None:
    """Let pages of these origins send requests (CORS)."""
    from starlette.middleware.cors import CORSMiddleware

    application.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        expose_headers=["Mcp-Session-Id", "WWW-Authenticate"],
    )


def extend_lifespan(
    lifespan: StarletteLifespan, block: Callable[[], AbstractAsyncContextManager[None]]
) -> StarletteLifespan:
    """Return an application lifespan that also holds `block` open."""

    @asynccontextmanager
    async def extended(application: Starlette) -> AsyncGenerator[Any]:
        async with block(), lifespan(application) as state:
            yield state

    return extended


async def healthz(request: Request) -> Response:
    """Liveness probe: 200 while this process serves."""
    from starlette.responses import PlainTextResponse

    return PlainTextResponse("ok")
