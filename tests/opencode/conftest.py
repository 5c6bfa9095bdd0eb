"""An OpenCode that is not there, for what a real one cannot be made to do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import httpx2
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient
from opencode_mcp.opencode.http11_transport import Http11Transport
from opencode_mcp.opencode.transport import create_http_transport
from tests.raw_http_server import RawServer, raw_server

FAKE_ENDPOINT = Endpoint(httpx2.URL("http://opencode.test:4096"), "somebody", "secret", version=SNAPSHOT_VERSION)


@dataclass
class Wire:
    """Keeps every request, and answers each with what `answer` returns."""

    requests: list[httpx2.Request] = field(default_factory=list[httpx2.Request])
    answer: Callable[[httpx2.Request], httpx2.Response] = lambda _: httpx2.Response(200, json=True)

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request."""
        self.requests.append(request)
        return self.answer(request)


@pytest.fixture
def wire() -> Wire:
    """What goes over the wire to the OpenCode that is not there."""
    return Wire()


@pytest.fixture
async def opencode(wire: Wire, catalog: Catalog) -> AsyncGenerator[OpenCodeClient]:
    """A client of the OpenCode that is not there, for the project /project."""
    transport = httpx2.MockTransport(wire.handle)
    async with OpenCodeClient(AttachedServer(FAKE_ENDPOINT), catalog, "/project", transport=transport) as opencode:
        yield opencode


@pytest.fixture
async def server() -> AsyncGenerator[RawServer]:
    """A server that answers OK."""
    async with raw_server() as server:
        yield server


@pytest.fixture
async def http() -> AsyncGenerator[httpx2.AsyncClient]:
    """A client on the transport for servers without TLS."""
    transport = create_http_transport(None)
    assert isinstance(transport, Http11Transport)
    async with httpx2.AsyncClient(transport=transport, trust_env=False, timeout=60) as http:
        yield http
