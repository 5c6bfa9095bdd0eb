"""Who gets in over HTTP: whoever has the token, by a name of this server, and no web page of another site."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from opencode_mcp.cli import main
from opencode_mcp.openapi import Catalog
from opencode_mcp.server import authorization as module
from opencode_mcp.server import create_server
from opencode_mcp.server.transports import http_application, serve_http
from opencode_mcp.settings import Settings
from opencode_mcp.tools import VIEWS

pytestmark = pytest.mark.anyio

TOKEN = "a token of thirty-two characters"
VERSIONS = ("2025-11-25", "2026-07-28")
ISSUER, AUDIENCE = "https://issuer.test", "http://127.0.0.1:8000/mcp"
KEY, OTHER_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


@asynccontextmanager
async def served(host: str = "127.0.0.1", **given: str) -> AsyncGenerator[httpx2.AsyncClient]:
    """Serve with these settings and provide an HTTP client without any token."""
    settings = Settings.load(given, {})
    app = http_application(create_server(settings, Catalog.bundled()), settings, host, "/mcp")
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1:8000") as http,
    ):
        yield http


async def test_the_process_ends_when_what_is_behind_it_breaks_off(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would answer every request with an error, and /healthz well."""
    monkeypatch.setattr(AppStatus, "should_exit", False)  # set by the end, and this process lives on

    async def fail() -> None:
        await anyio.sleep(0.2)
        raise RuntimeError("broke off")

    @asynccontextmanager
    async def breaking(application: Starlette) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
            yield

    with anyio.fail_after(30), pytest.raises(ExceptionGroup) as raised:
        await serve_http(create_server(Settings(), catalog), Starlette(lifespan=breaking), "127.0.0.1", 0)
    assert raised.group_contains(RuntimeError, match="broke off")


async def listed(http: httpx2.AsyncClient, path: str = "/mcp", version: str = VERSIONS[0], **headers: str) -> int:
    """Ask what a client asks first, and return the status of the answer."""
    info = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}
    method, params = ("initialize", info) if version < "2026" else ("server/discover", MODERN)
    sent = {"accept": "application/json, text/event-stream", "mcp-protocol-version": version, "mcp-method": method}
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return (await http.post(path, json=request, headers={**sent, **headers})).status_code


MODERN: dict[str, Any] = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": VERSIONS[1],
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
}


def bearer(token: str) -> dict[str, str]:
    """The header with a token."""
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_endpoint_is_for_those_who_have_the_token(version: str) -> None:
    """At every path of it; a token anywhere but in the header is none."""
    async with served(token=TOKEN) as http:
        for path in ("/mcp", *(f"/mcp/{view}" for view in VIEWS)):
            assert await listed(http, path, version, **bearer(TOKEN)) == 200, path
            assert await listed(http, path, version) == 401, path
            for wrong in (TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "", "é"):
                sent = {"authorization": f"Bearer {wrong}".encode()}
                assert await listed(http, path, version, **sent) == 401, (path, wrong)  # pyright: ignore[reportArgumentType]
        assert await listed(http, f"/mcp?token={TOKEN}", version) == 401
        assert await listed(http, version=version, authorization=f"Basic {TOKEN}") == 401


async def test_a_refusal_tells_what_is_missing_and_nothing_else() -> None:
    """401 with the scheme, and no OAuth server that is not there."""
    async with served(token=TOKEN) as http:
        answer = await http.post("/mcp", json={})
        metadata = await http.get("/.well-known/oauth-protected-resource/mcp")

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert "resource_metadata" not in answer.headers["www-authenticate"]
    assert answer.json() == {"error": "invalid_token", "error_description": "Authentication required"}
    assert metadata.status_code == 404


async def test_a_sign_of_life_needs_no_token_and_tells_nothing() -> None:
    """For whoever watches the process."""
    async with served(token=TOKEN) as http:
        answer = await http.get("/healthz")

    assert (answer.status_code, answer.text) == (200, "ok")


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("host", "evil.test", 421),
        ("host", "evil.test:8000", 421),
        ("host", "127.0.0.1.evil.test", 421),
        ("origin", "http://evil.test", 403),
        ("origin", "http://127.0.0.1.evil.test", 403),
        ("origin", "null", 403),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_a_web_page_of_another_site_cannot_reach_the_endpoint(
    header: str, value: str, status: int, version: str, host: str
) -> None:
    """Neither by a name that resolves to this machine (DNS rebinding) nor by a cross-site request."""
    async with served(host, token=TOKEN, allow_host="bridge.test", allow_origin="https://page.test") as http:
        assert await listed(http, version=version, **bearer(TOKEN), **{header: value}) == status


@pytest.mark.parametrize("name", ["localhost", "localhost:8000", "[::1]:8000", "bridge.test", "bridge.test:443"])
async def test_the_names_of_the_server_are_known(name: str) -> None:
    """Those of this machine, and those that were allowed."""
    async with served(token=TOKEN, allow_host="bridge.test") as http:
        assert await listed(http, **bearer(TOKEN), host=name) == 200


async def test_a_web_page_that_was_allowed_can_use_it_and_no_other() -> None:
    """Without --allow-origin there are no CORS headers at all."""
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    async with served(token=TOKEN, allow_origin="https://page.test") as http:
        allowed = await http.options("/mcp", headers={"origin": "https://page.test", **asks})
        other = await http.options("/mcp", headers={"origin": "https://other.test", **asks})
        assert await listed(http, **bearer(TOKEN), origin="https://page.test") == 200
    async with served(token=TOKEN) as http:
        none = await http.options("/mcp", headers={"origin": "https://page.test", **asks})

    assert allowed.headers["access-control-allow-origin"] == "https://page.test"
    assert [name for one in (other, none) for name in one.headers if name == "access-control-allow-origin"] == []


async def test_a_body_has_a_limit() -> None:
    """Of 4 MiB."""
    async with served(token=TOKEN) as http:
        answer = await http.post("/mcp", content=b"x" * (4 * 1024 * 1024 + 1), headers=bearer(TOKEN))

    assert answer.status_code == 413


@pytest.fixture
async def issuer(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An OAuth issuer; returns the paths that it was asked for."""
    asked: list[str] = []
    public = json.loads(RSAAlgorithm.to_jwk(KEY.public_key()))

    async def metadata(request: Request) -> JSONResponse:
        asked.append(request.url.path)
        return JSONResponse({"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"})

    async def keys(request: Request) -> JSONResponse:
        asked.append(request.url.path)
        return JSONResponse({"keys": [{**public, "kid": "one", "use": "sig", "alg": "RS256"}]})

    app = Starlette(routes=[Route("/.well-known/oauth-authorization-server", metadata), Route("/keys", keys)])
    make = httpx2.AsyncClient

    def client(**_: Any) -> httpx2.AsyncClient:
        return make(transport=httpx2.ASGITransport(app))

    monkeypatch.setattr(module, "httpx2", SimpleNamespace(AsyncClient=client, HTTPError=httpx2.HTTPError))
    return asked


def issued(key: Any = KEY, kid: str = "one", algorithm: str = "RS256", **claims: Any) -> str:
    """A token; good unless something is said otherwise."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "exp": time.time() + 60}
    kept = {name: value for name, value in {**good, **claims}.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers={"kid": kid})


async def test_a_token_of_the_issuer_for_this_server_is_taken(issuer: list[str]) -> None:
    """Its keys are read once; clients are told where tokens are to be had."""
    async with served(oauth_issuer=ISSUER, oauth_audience=AUDIENCE) as http:
        for _ in range(3):
            assert await listed(http, **bearer(issued())) == 200
        refused = await http.post("/mcp", json={})
        told = (await http.get("/.well-known/oauth-protected-resource/mcp")).json()

    assert issuer.count("/keys") == 1
    assert "/.well-known/oauth-protected-resource/mcp" in refused.headers["www-authenticate"]
    assert (told["resource"], told["authorization_servers"]) == (AUDIENCE, [ISSUER])


REFUSED: Mapping[str, str] = {
    "for another server": issued(aud="https://other.test/mcp"),
    "for nobody in particular": issued(aud=None),
    "of another issuer": issued(iss="https://other.test"),
    "of no issuer": issued(iss=None),
    "expired": issued(exp=time.time() - 60),
    "for ever": issued(exp=None),
    "not valid yet": issued(nbf=time.time() + 600),
    "signed with another key": issued(OTHER_KEY),
    "signed with an unknown key": issued(OTHER_KEY, kid="two"),
    "not signed": issued(None, algorithm="none"),
    "signed with a shared secret": issued("a secret that is shared by both sides", algorithm="HS256"),
    "no token at all": "x.y.z",
}


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED)
async def test_any_other_token_is_refused(issuer: list[str], token: str) -> None:
    """Above all one that was made for somebody else."""
    async with served(oauth_issuer=ISSUER, oauth_audience=AUDIENCE) as http:
        assert await listed(http, **bearer(token)) == 401
        assert await listed(http, **bearer(token)) == 401
        assert await listed(http) == 401

    assert issuer.count("/keys") <= 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--host", "0.0.0.0"], "--allow-remote"),
        (["--host", "example.com", "--token", TOKEN], "--allow-remote"),
        (["--host", "0.0.0.0", "--allow-remote", "--no-auth"], "--no-auth is for loopback addresses"),
        (["--no-auth", "--token", TOKEN], "exclude each other"),
        (["--token", "short"], "16 are the least"),
        (["--oauth-issuer", ISSUER], "go together"),
    ],
)
def test_what_would_let_others_in_is_refused(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A client that reaches the endpoint runs commands as this user."""
    status = main(["http", *flags])

    printed = capsys.readouterr()
    assert (status, printed.out) == (2, "")
    assert words in printed.err
    assert TOKEN not in printed.err


@pytest.mark.usefixtures("spawns")
@pytest.mark.parametrize("flags", [[], ["--no-auth"]])
async def test_a_token_is_made_and_told_once(flags: list[str]) -> None:
    """Unless none is wanted, which is said as well."""
    command = (sys.executable, "-m", "opencode_mcp", "http", "--port", "0", *flags)
    async with await anyio.open_process(command) as process:
        assert process.stderr is not None
        told = b""
        with anyio.fail_after(30):
            while told.count(b"\n") < 2:
                told += await process.stderr.receive()
        process.terminate()

    assert b"http://127.0.0.1:0/mcp\n" in told
    assert told.count(b"Authorization: Bearer ") == (0 if flags else 1)
    assert (b"no token is asked for" in told) == bool(flags)
