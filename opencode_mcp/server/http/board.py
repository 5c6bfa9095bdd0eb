"""The application of `opencode-mcp board`: the page, what gives it its token, and the endpoint that it calls.

    GET  /         the page, in which nothing is secret
    POST /session  the one-time token of the printed address -> the bearer token
    /mcp           the endpoint of `opencode-mcp http`, for that bearer token

There is nothing else. Each request must name this address as its host, and a web page must be of this very origin.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from opencode_mcp.board import read_page
from opencode_mcp.server.bridge_server import BridgeServer
from opencode_mcp.settings import Settings

from .app import create_http_app
from .request_validation import HostPolicy

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOST = "127.0.0.1"
"""The address to listen on, and that of the printed URL: a number needs no name resolution, which may be spoofed."""
NAMES = (HOST, "localhost")
"""The hosts that a request may name. The second one is for a forwarded port."""

ENDPOINT = "/mcp"
TOOLSETS = ("tasks",)
"""All that the page calls."""
MIN_RESULT_CHARS = 2_000_000
"""A person reads whole diffs, which cost no model anything."""
MAX_TOKEN_BYTES = 256
"""Maximum length of the body of POST /session."""

PAGE_POLICY = re.compile('<meta http-equiv="Content-Security-Policy" content="([^"]*)">')
HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every response."""

REFUSED = (
    "This address does not work any more: it has been opened before, or a newer one has been printed. "
    "If it was not you who opened it, end the board now."
)


class BoardTokens:
    """The bearer token of the endpoint, and the one-time token in the printed address that is exchanged for it."""

    def __init__(self) -> None:
        self.bearer = secrets.token_urlsafe(32)
        self.void = anyio.Event()
        """Set when the newest one-time token has been used or replaced."""
        self._one_time: bytes | None = None

    def renew(self) -> str:
        """Return a new one-time token; the one before it is void from now on."""
        token = secrets.token_urlsafe(32)
        self.void.set()
        self._one_time, self.void = token.encode(), anyio.Event()
        return token

    def redeem(self, token: bytes) -> str | None:
        """Return the bearer token for the one-time token, once; None for anything else, which uses nothing up."""
        if self._one_time is None or not hmac.compare_digest(token, self._one_time):
            return None
        self._one_time = None
        self.void.set()
        return self.bearer


def board_settings(settings: Settings, bearer: str) -> Settings:
    """Return the settings of the board's server: the tools that the page calls, for its bearer token and no other.

    What the user forbids stays forbidden. What `opencode-mcp http` can be opened with has no effect.
    """
    return replace(
        settings,
        toolsets=TOOLSETS,
        tools=(),
        max_result_chars=max(settings.max_result_chars, MIN_RESULT_CHARS),
        token=bearer,
        no_auth=False,
        oauth_issuer=None,
        oauth_audience=None,
        allow_remote=False,
        allow_host=(),
        allow_origin=(),
        metrics=False,
        redis=None,
    )


def create_board_app(server: BridgeServer, settings: Settings, port: int, tokens: BoardTokens) -> Starlette:
    """Return the application for a port of 127.0.0.1. `server` has `settings`, which are those of `board_settings`."""
    application = create_http_app(server, settings, HOST, ENDPOINT)
    router = application.router
    router.redirect_slashes = False
    endpoint = [route for route in router.routes if isinstance(route, Route) and route.path == ENDPOINT]
    routes = BoardRoutes(tokens)
    router.routes[:] = [
        Route("/", routes.send_page),
        Route("/session", routes.open_session, methods=["POST"]),
        *endpoint,
    ]
    application.add_middleware(BoardGuard, authorities=authorities(port))
    return application


def authorities(port: int) -> list[str]:
    """Return the Host headers that requests to a port may have; browsers leave out the port 80."""
    return [f"{name}:{port}" for name in NAMES] + ([*NAMES] if port == 80 else [])


class BoardRoutes:
    """The handlers of the page and of its token."""

    def __init__(self, tokens: BoardTokens) -> None:
        self._tokens = tokens
        self._page = read_page("'self'")
        policy = PAGE_POLICY.search(self._page)
        assert policy is not None
        # A page cannot say by itself that no other page may frame it.
        self._page_headers = {"Content-Security-Policy": f"{policy[1]}; frame-ancestors 'none'"}

    async def send_page(self, request: Request) -> Response:
        """GET /: the page."""
        return HTMLResponse(self._page, headers=self._page_headers)

    async def open_session(self, request: Request) -> Response:
        """POST /session: exchange the one-time token in the body for the bearer token."""
        if "origin" not in request.headers:  # the guard has checked one that is there
            return PlainTextResponse("Only the board's page may open a session", 403)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_TOKEN_BYTES:
                return PlainTextResponse("Request body too large", 413)
        bearer = self._tokens.redeem(body)
        return PlainTextResponse(REFUSED, 403) if bearer is None else PlainTextResponse(bearer)


class BoardGuard:
    """ASGI middleware: refuses requests for another host or from another origin, and adds `HEADERS` to each response.

    An origin is that of the very host that the request names. `http://localhost:PORT` may be a page of another user's
    process, which listens on another address of this machine: to `127.0.0.1` it is as foreign as any other.
    """

    def __init__(self, app: ASGIApp, authorities: Collection[str]) -> None:
        self._app = app
        self._policies = {
            authority: HostPolicy(hosts=[authority], origins=[f"http://{authority}"]) for authority in authorities
        }
        self._refusing = HostPolicy(hosts=[], origins=[])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        policy = self._policies.get(Headers(scope=scope).get("host", ""), self._refusing)
        refusal = policy.error_response(scope)
        await (self._app if refusal is None else refusal)(scope, receive, send_with_headers)
