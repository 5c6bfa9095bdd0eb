"""Validation of HTTP requests before the SDK, and workarounds for requests that the SDK (mcp 2.3) answers wrongly.

- Host and Origin: the SDK accepts any text as a port.
- GET with Last-Event-ID: the SDK sends no response without an event store; here the stream starts with the next event.
- `initialize` with the id of a session: a client whose session has ended would get 404 as long as it repeats that id.
  Here it starts a new session.
- A request with an invalid id: the SDK treats it as a notification.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from typing import Any, cast

import pydantic_core
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from opencode_mcp.server.jsonrpc import request_id_error
from opencode_mcp.settings import Settings

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})

PORT = re.compile(r":[0-9]{1,5}")
SESSION_ID_HEADER, LAST_EVENT_ID_HEADER = b"mcp-session-id", b"last-event-id"
INVALID_ID = re.compile(rb'"id"\s*:\s*(?:[\[{tfn]|-?[0-9]+[.eE])')
"""Matches every body whose id may be neither a string nor an integer; only such a body is parsed."""
INITIALIZE = b'"initialize"'


class HostPolicy:
    """The accepted Host and Origin headers."""

    def __init__(self, hosts: Iterable[str], origins: Iterable[str]) -> None:
        """Accept these hosts and origins; one that ends in `:*` matches any port."""
        self._hosts, self._origins = frozenset(hosts), frozenset(origins)

    def error_response(self, scope: Scope) -> Response | None:
        """Return the error response to a request for another host or from another origin, else None."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not is_allowed(hosts[0], self._hosts):
            return Response("Invalid Host header", status_code=421)
        if not all(is_allowed(origin, self._origins) for origin in headers.getlist("origin")):
            return Response("Invalid Origin header", status_code=403)
        return None


def make_host_policy(settings: Settings, host: str) -> HostPolicy:
    """Return the accepted Host and Origin headers."""
    names = ["127.0.0.1", "localhost", "[::1]"]
    if host not in LOOPBACK_HOSTS:
        names += [f"[{host}]" if ":" in host else host, socket.gethostname(), socket.getfqdn()]
    hosts = [*names, *settings.allow_host]
    return HostPolicy(
        hosts=[*hosts, *(f"{name}:*" for name in hosts)],
        origins=[*(f"http://{name}:*" for name in names[:3]), *settings.allow_origin],
    )


def is_allowed(value: str, patterns: frozenset[str]) -> bool:
    """Whether a value is one of the names, or one of those that end in `:*` with a port in place of the star."""
    if value in patterns:
        return True
    name, colon, port = value.rpartition(":")
    return f"{name}:*" in patterns and PORT.fullmatch(colon + port) is not None and int(port) <= 65_535


class RequestValidationMiddleware:
    """ASGI middleware in front of the SDK's endpoint. It runs behind the body limit, so a body is one message."""

    def __init__(self, app: ASGIApp, policy: HostPolicy) -> None:
        self._app, self._policy = app, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer invalid requests, and forward the others."""
        if (response := self._policy.error_response(scope)) is not None:
            await response(scope, receive, send)
        elif scope["method"] == "POST":
            await self._handle_post(scope, receive, send)
        else:
            await self._app(without_header(scope, LAST_EVENT_ID_HEADER), receive, send)

    async def _handle_post(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        body: bytes = message.get("body", b"")
        if INVALID_ID.search(body) and (error := request_id_error(parse_body(body))) is not None:
            text = error.model_dump_json(by_alias=True, exclude_unset=True)
            await Response(text, status_code=400, media_type="application/json")(scope, receive, send)
            return
        if (
            INITIALIZE in body
            and SESSION_ID_HEADER in dict(scope["headers"])
            and parse_body(body).get("method") == "initialize"
        ):
            scope = without_header(scope, SESSION_ID_HEADER)
        await self._app(scope, replay_first(message, receive), send)


def without_header(scope: Scope, header: bytes) -> Scope:
    """Return a request's scope without one of its headers."""
    return {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != header]}


def parse_body(body: bytes) -> dict[str, Any]:
    """Parse a body as a JSON object; return an empty one for anything else, which the SDK rejects."""
    try:
        message = pydantic_core.from_json(body)
    except ValueError:
        return {}
    return cast("dict[str, Any]", message) if isinstance(message, dict) else {}


def replay_first(first: Message, receive: Receive) -> Receive:
    """Return a `receive` that returns this message first."""
    pending = [first]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
