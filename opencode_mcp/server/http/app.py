"""The Starlette application: streamable HTTP in both protocol eras, views, /healthz and /metrics."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from opencode_mcp.server.bridge_server import BridgeServer
from opencode_mcp.settings import Settings

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from .request_validation import HostPolicy
    from .sessions import SessionRouter

    StarletteLifespan = Callable[[Starlette], AbstractAsyncContextManager[Any]]

IDLE_SECONDS = 30 * 60.0
"""A session (protocol up to 2025-11-25) without a request for this time is closed; the client gets 404 and initializes
again."""
MAX_SESSIONS = 2_000
"""Maximum number of open sessions, about 42 KB each; beyond it `initialize` gets 503."""


def create_http_app(server: BridgeServer, settings: Settings, host: str, path: str) -> Starlette:
    """Return the application: the endpoint at `path`, the views below it, /healthz, and /metrics."""
    from .auth import IssuerUnavailableMiddleware, JWTVerifier, make_auth_options
    from .request_validation import RequestValidationMiddleware, make_host_policy
    from .sessions import SDK_CHECKS_DISABLED, SessionRouter

    policy, auth_options = make_host_policy(settings, host), make_auth_options(settings)
    # Not json_response: from 2026-07-28 on a disconnect cancels the call, but not there.
    application = server.streamable_http_app(
        streamable_http_path=path,
        transport_security=SDK_CHECKS_DISABLED,
        **auth_options,
    )
    limited = server.session_manager.asgi_app
    sessions = SessionRouter(server, limited.app, IDLE_SECONDS, MAX_SESSIONS)
    limited.app = RequestValidationMiddleware(sessions, policy)
    if isinstance(verifier := auth_options.get("token_verifier"), JWTVerifier):
        application.add_middleware(IssuerUnavailableMiddleware)
        application.router.lifespan_context = extend_lifespan(
            application.router.lifespan_context, verifier.keys.refresh_in_background
        )
    add_routes(application, server, path, policy, sessions)
    if origins := settings.allow_origin:
        allow_origins(application, origins)
    return application


def add_routes(
    application: Starlette, server: BridgeServer, path: str, policy: HostPolicy, sessions: SessionRouter
) -> None:
    """Add the views below the endpoint, /healthz, and /metrics if the server has metrics."""
    from starlette.routing import Route

    from opencode_mcp.tools import VIEWS

    endpoint = next(route for route in application.routes if isinstance(route, Route) and route.path == path).endpoint
    application.routes.extend(Route(f"{path.rstrip('/')}/{view}", endpoint) for view in VIEWS)
    application.routes.append(Route("/healthz", healthz))
    if server.metrics is not None:
        from .metrics import metrics_route

        server.metrics.count_sessions(sessions)
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
