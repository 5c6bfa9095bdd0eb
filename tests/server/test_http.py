"""Access over HTTP: with the token, by a name of this server, and from no web page of another site."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import anyio.lowlevel
import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from mcp_types import INVALID_REQUEST
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from opencode_mcp.catalog import Catalog
from opencode_mcp.cli import main
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.server import create_server
from opencode_mcp.server.http import app as http_app
from opencode_mcp.server.http import auth as module
from opencode_mcp.server.http.app import create_http_app
from opencode_mcp.server.http.request_validation import is_allowed
from opencode_mcp.server.http.serve import serve_http
from opencode_mcp.settings import Settings
from opencode_mcp.tools import VIEWS
from tests.eventually import eventually

pytestmark = pytest.mark.anyio

TOKEN = "a token of thirty-two characters"
VERSIONS = ("2025-11-25", "2026-07-28")
ISSUER, AUDIENCE = "https://issuer.test", "http://127.0.0.1:8000/mcp"
KEY, OTHER_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


@asynccontextmanager
async def serve_app(host: str = "127.0.0.1", **given: str) -> AsyncGenerator[httpx2.AsyncClient]:
    """Serve with these settings and provide an HTTP client without any token."""
    settings = Settings.load(given, {})
    app = create_http_app(create_server(settings, Catalog.from_snapshot()), settings, host, "/mcp")
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1:8000") as http,
    ):
        yield http


async def test_the_process_ends_when_a_background_task_fails(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
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

    with anyio.fail_after(60), pytest.raises(ExceptionGroup) as raised:
        await serve_http(create_server(Settings(), catalog), Starlette(lifespan=breaking), "127.0.0.1", 0)
    assert raised.group_contains(RuntimeError, match="broke off")


async def list_tools_status(
    http: httpx2.AsyncClient, path: str = "/mcp", version: str = VERSIONS[0], **headers: str
) -> int:
    """Ask what a client asks first, and return the status of the answer."""
    return (await send_first_request(http, path, version, **headers)).status_code


async def send_first_request(http: httpx2.AsyncClient, path: str, version: str, **headers: str) -> httpx2.Response:
    """Send initialize or server/discover, by the protocol version."""
    info = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}
    method, params = ("initialize", info) if version < "2026" else ("server/discover", MODERN)
    sent = {"accept": "application/json, text/event-stream", "mcp-protocol-version": version, "mcp-method": method}
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return await http.post(path, json=request, headers={**sent, **headers})


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
async def test_the_endpoint_requires_the_token(version: str) -> None:
    """At every path of it; a token anywhere but in the header is none."""
    async with serve_app(token=TOKEN) as http:
        for path in ("/mcp", *(f"/mcp/{view}" for view in VIEWS)):
            assert await list_tools_status(http, path, version, **bearer(TOKEN)) == 200, path
            assert await list_tools_status(http, path, version) == 401, path
            for wrong in (TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "", "é"):
                sent = {"authorization": f"Bearer {wrong}".encode()}
                assert await list_tools_status(http, path, version, **sent) == 401, (path, wrong)  # pyright: ignore[reportArgumentType]
        assert await list_tools_status(http, f"/mcp?token={TOKEN}", version) == 401
        assert await list_tools_status(http, version=version, authorization=f"Basic {TOKEN}") == 401


async def test_a_refusal_names_the_scheme_and_nothing_else() -> None:
    """401 with the scheme, and no OAuth server that is not there."""
    async with serve_app(token=TOKEN) as http:
        answer = await http.post("/mcp", json={})
        metadata = await http.get("/.well-known/oauth-protected-resource/mcp")

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert "resource_metadata" not in answer.headers["www-authenticate"]
    assert answer.json() == {"error": "invalid_token", "error_description": "Authentication required"}
    assert metadata.status_code == 404


async def test_healthz_needs_no_token_and_reveals_nothing() -> None:
    """For a supervisor of the process."""
    async with serve_app(token=TOKEN) as http:
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
        ("host", "127.0.0.1:evil.test", 421),
        ("host", "localhost:8000@evil.test", 421),
        ("host", "localhost:", 421),
        ("host", "localhost:80:80", 421),
        ("host", "localhost:99999", 421),
        ("origin", "http://127.0.0.1:80.evil.test", 403),
        ("origin", "http://localhost:8000/path", 403),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_a_foreign_origin_is_refused(header: str, value: str, status: int, version: str, host: str) -> None:
    """Neither by a name that resolves to this machine (DNS rebinding) nor by a cross-site request."""
    async with serve_app(host, token=TOKEN, allow_host="bridge.test", allow_origin="https://page.test") as http:
        assert await list_tools_status(http, version=version, **bearer(TOKEN), **{header: value}) == status


@pytest.mark.parametrize("name", ["localhost", "localhost:8000", "[::1]:8000", "bridge.test", "bridge.test:443"])
async def test_the_server_s_host_names_are_accepted(name: str) -> None:
    """Those of this machine, and those that were allowed."""
    async with serve_app(token=TOKEN, allow_host="bridge.test") as http:
        assert await list_tools_status(http, **bearer(TOKEN), host=name) == 200


async def test_only_an_allowed_origin_can_use_the_endpoint() -> None:
    """Without --allow-origin there are no CORS headers at all."""
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    async with serve_app(token=TOKEN, allow_origin="https://page.test") as http:
        allowed = await http.options("/mcp", headers={"origin": "https://page.test", **asks})
        other = await http.options("/mcp", headers={"origin": "https://other.test", **asks})
        assert await list_tools_status(http, **bearer(TOKEN), origin="https://page.test") == 200
    async with serve_app(token=TOKEN) as http:
        none = await http.options("/mcp", headers={"origin": "https://page.test", **asks})

    assert allowed.headers["access-control-allow-origin"] == "https://page.test"
    assert [name for one in (other, none) for name in one.headers if name == "access-control-allow-origin"] == []


async def open_session(http: httpx2.AsyncClient, **headers: str) -> httpx2.Response:
    """Begin a session of the handshake era."""
    params = {"protocolVersion": VERSIONS[0], "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    return await http.post("/mcp", json=request, headers={**bearer(TOKEN), **ACCEPT, **headers})


async def ping(http: httpx2.AsyncClient, session: str, number: Any = 2) -> httpx2.Response:
    """Send a request in a session."""
    request = {"jsonrpc": "2.0", "id": number, "method": "ping"}
    return await http.post("/mcp", json=request, headers={**bearer(TOKEN), **ACCEPT, "mcp-session-id": session})


ACCEPT = {"accept": "application/json, text/event-stream"}


async def test_a_client_with_an_ended_session_starts_a_new_one() -> None:
    """`initialize` with an id that is not known any more, or still is, opens a session; a request with it gets 404."""
    async with serve_app(token=TOKEN) as http:
        stale = await open_session(http, **{"mcp-session-id": "0123456789abcdef"})
        assert stale.status_code == 200
        first = stale.headers["mcp-session-id"]
        second = (await open_session(http, **{"mcp-session-id": first})).headers["mcp-session-id"]
        assert len({first, second, "0123456789abcdef"}) == 3
        assert [(await ping(http, session)).status_code for session in (first, second)] == [200, 200]
        assert (await ping(http, "0123456789abcdef")).status_code == 404


@pytest.mark.parametrize("number", [2.5, None, True, {}, []], ids=repr)
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_request_with_an_invalid_id_gets_an_error(version: str, number: Any) -> None:
    """With an error, as the SDK takes it for a notification in the handshake era; its arguments may hold any id."""
    sent = {**bearer(TOKEN), **ACCEPT, "mcp-protocol-version": version, "mcp-method": "ping"}
    async with serve_app(token=TOKEN) as http:
        session = {"mcp-session-id": (await open_session(http)).headers["mcp-session-id"]} if version < "2026" else {}
        request = {"jsonrpc": "2.0", "id": number, "method": "ping"}
        answer = await http.post("/mcp", json=request, headers={**sent, **session})
        nested = {"jsonrpc": "2.0", "id": 7, "result": {"id": number}}
        response = await http.post("/mcp", json=nested, headers={**sent, **session})
    assert answer.status_code == 400
    assert (answer.json()["error"]["code"], answer.json()["id"]) == (INVALID_REQUEST, None)
    if version < "2026":
        assert response.status_code == 202


async def test_a_resumed_stream_starts() -> None:
    """There is no store of events to repeat; a GET with Last-Event-ID is a GET."""
    async with serve_app(token=TOKEN) as http:
        session = (await open_session(http)).headers["mcp-session-id"]
        sent = {**bearer(TOKEN), "accept": "text/event-stream", "mcp-session-id": session, "last-event-id": "7"}
        scope = {"type": "http", "method": "GET", "path": "/mcp", "raw_path": b"/mcp", "query_string": b""}
        headers = [(b"host", b"127.0.0.1:8000"), *((name.encode(), value.encode()) for name, value in sent.items())]
        started = await first_message(http, {**scope, "headers": headers, "http_version": "1.1", "scheme": "http"})
    assert started["type"] == "http.response.start"
    assert started["status"] == 200
    assert (b"content-type", b"text/event-stream") in started["headers"]


async def first_message(http: httpx2.AsyncClient, scope: dict[str, Any]) -> dict[str, Any]:
    """Send a request to the application, and return what it sends first: its stream has no end."""
    transport = http._transport  # pyright: ignore[reportPrivateUsage]
    assert isinstance(transport, httpx2.ASGITransport)
    messages: list[dict[str, Any]] = []
    sent = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        for message in sent:
            return message
        return await anyio.sleep_forever()

    async def send(message: Any) -> None:
        messages.append(message)

    with anyio.fail_after(60):
        async with background_task_group() as tasks:
            tasks.start_soon(cast("Callable[..., Coroutine[Any, Any, None]]", transport.app), scope, receive, send)
            await eventually(lambda: messages)
    return messages[0]


async def test_sessions_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more gets 503 while the others go on; when one has ended there is room again."""
    monkeypatch.setattr(http_app, "MAX_SESSIONS", 3)
    async with serve_app(token=TOKEN) as http:
        sessions = [(await open_session(http)).headers["mcp-session-id"] for _ in range(3)]
        refused = await open_session(http)
        assert (refused.status_code, refused.json()["error"]["message"]) == (503, "Too many open sessions")
        assert [(await ping(http, session)).status_code for session in sessions] == [200] * 3
        ended = await http.delete("/mcp", headers={**bearer(TOKEN), "mcp-session-id": sessions[0]})
        assert ended.status_code == 200
        assert (await open_session(http)).status_code == 200
        assert (await open_session(http)).status_code == 503


async def test_an_idle_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its id gets 404, and its place is free."""
    monkeypatch.setattr(http_app, "MAX_SESSIONS", 1)
    monkeypatch.setattr(http_app, "IDLE_SECONDS", 0.5)

    async def status() -> int:
        return (await open_session(http)).status_code

    async with serve_app(token=TOKEN) as http:
        session = (await open_session(http)).headers["mcp-session-id"]
        assert await eventually(status, until=lambda code: code == 200) == 200
        assert (await ping(http, session)).status_code == 404


def test_session_limits_match_the_documentation() -> None:
    """2,000 of them, for half an hour: in docs/scaling.md and SECURITY.md."""
    root = Path(__file__).parents[2]
    for file in ("docs/scaling.md", ".github/SECURITY.md"):
        text = (root / file).read_text()
        assert f"{http_app.MAX_SESSIONS:,} sessions" in text, file
        assert f"{http_app.IDLE_SECONDS / 60:g} minutes" in text, file


@pytest.mark.parametrize("port", ["1", "80", "65535"])
def test_a_port_is_a_number(port: str) -> None:
    """And any number of one will do."""
    names = frozenset({"127.0.0.1:*", "[::1]:*", "http://localhost:*"})
    for name in ("127.0.0.1", "[::1]", "http://localhost"):
        assert is_allowed(f"{name}:{port}", names)
        assert not is_allowed(f"{name}:{port}x", names)
        assert not is_allowed(f"{name}:-{port}", names)
        assert not is_allowed(f"{name}.evil.test:{port}", names)


async def test_a_body_has_a_limit() -> None:
    """Of 4 MiB."""
    async with serve_app(token=TOKEN) as http:
        answer = await http.post("/mcp", content=b"x" * (4 * 1024 * 1024 + 1), headers=bearer(TOKEN))

    assert answer.status_code == 413


@dataclass
class FakeIssuer:
    """An OAuth issuer: the paths that it was asked for; while it `hangs` it does not answer."""

    requested_paths: list[str] = field(default_factory=list[str])
    status: int = 200
    hangs: bool = False
    kid: str = "one"

    async def answer(self, request: Request) -> JSONResponse:
        """Answer with what the path is for."""
        self.requested_paths.append(request.url.path)
        if self.hangs:
            await anyio.sleep_forever()
        key = {**json.loads(RSAAlgorithm.to_jwk(KEY.public_key())), "kid": self.kid, "use": "sig", "alg": "RS256"}
        described = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
        return JSONResponse({"keys": [key]} if request.url.path == "/keys" else described, self.status)


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> FakeIssuer:
    """An OAuth issuer in this process."""
    issuer = FakeIssuer()
    paths = ("/.well-known/oauth-authorization-server", "/keys")
    app = Starlette(routes=[Route(path, issuer.answer) for path in paths])
    make = httpx2.AsyncClient

    def client(**_: Any) -> httpx2.AsyncClient:
        return make(transport=httpx2.ASGITransport(app))

    monkeypatch.setattr(module, "httpx2", SimpleNamespace(AsyncClient=client))
    return issuer


def issue_token(
    key: Any = KEY, kid: str = "one", algorithm: str = "RS256", typ: str | None = "at+jwt", **claims: Any
) -> str:
    """A token, valid unless a claim is overridden."""
    claims_by_default = {"iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "exp": time.time() + 60}
    payload = {name: value for name, value in {**claims_by_default, **claims}.items() if value is not None}
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": kid, "typ": typ})


async def test_a_token_of_the_issuer_for_this_server_is_taken(issuer: FakeIssuer) -> None:
    """Its keys are read once; the metadata names the issuer of tokens."""
    async with serve_app(oauth_issuer=ISSUER, oauth_audience=AUDIENCE) as http:
        for _ in range(3):
            assert await list_tools_status(http, **bearer(issue_token())) == 200
        refused = await http.post("/mcp", json={})
        told = (await http.get("/.well-known/oauth-protected-resource/mcp")).json()

    assert issuer.requested_paths.count("/keys") == 1
    assert "/.well-known/oauth-protected-resource/mcp" in refused.headers["www-authenticate"]
    assert (told["resource"], told["authorization_servers"]) == (AUDIENCE, [ISSUER])


REFUSED_TOKENS: Mapping[str, str] = {
    "for another server": issue_token(aud="https://other.test/mcp"),
    "without an audience": issue_token(aud=None),
    "of another issuer": issue_token(iss="https://other.test"),
    "of no issuer": issue_token(iss=None),
    "expired": issue_token(exp=time.time() - 60),
    "without an expiry": issue_token(exp=None),
    "not valid yet": issue_token(nbf=time.time() + 600),
    "signed with another key": issue_token(OTHER_KEY),
    "signed with an unknown key": issue_token(OTHER_KEY, kid="two"),
    "not signed": issue_token(None, algorithm="none"),
    "signed with a shared secret": issue_token("a secret that is shared by both sides", algorithm="HS256"),
    "no token at all": "x.y.z",
    "a proof of possession": issue_token(typ="dpop+jwt"),
    "a logout token": issue_token(typ="logout+jwt"),
    "a logout token without its type": issue_token(
        typ="JWT", events={"http://schemas.openid.net/event/backchannel-logout": {}}
    ),
    "an ID token": issue_token(typ="JWT", at_hash="x"),
}


@pytest.mark.parametrize("token", REFUSED_TOKENS.values(), ids=REFUSED_TOKENS)
async def test_any_other_token_is_refused(issuer: FakeIssuer, token: str) -> None:
    """Above all a token that was issued for another server."""
    async with serve_app(oauth_issuer=ISSUER, oauth_audience=AUDIENCE) as http:
        assert await list_tools_status(http, **bearer(token)) == 401
        assert await list_tools_status(http, **bearer(token)) == 401
        assert await list_tools_status(http) == 401

    assert issuer.requested_paths.count("/keys") <= 1


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+JWT", "JWT", None])
async def test_a_token_is_accepted_with_or_without_an_access_token_type(issuer: FakeIssuer, typ: str | None) -> None:
    """Many issuers still name the plain type."""
    async with serve_app(oauth_issuer=ISSUER, oauth_audience=AUDIENCE) as http:
        assert await list_tools_status(http, **bearer(issue_token(typ=typ))) == 200


@pytest.mark.parametrize("claims", [{"sub": "another user"}, {"client_id": "another client"}], ids=["sub", "client_id"])
@pytest.mark.usefixtures("issuer")
async def test_a_session_serves_only_the_credential_that_opened_it(claims: Mapping[str, str]) -> None:
    """To another user, or another client of the user, it does not exist, and stays open."""
    accepts = {"accept": "application/json, text/event-stream", "mcp-protocol-version": VERSIONS[0]}
    ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    async with serve_app(oauth_issuer=ISSUER, oauth_audience=AUDIENCE) as http:
        owned = {"sub": "a user", "client_id": "a client"}
        opened = await send_first_request(http, "/mcp", VERSIONS[0], **bearer(issue_token(**owned)))
        headers = {**accepts, "mcp-session-id": opened.headers["mcp-session-id"]}
        other = {**headers, **bearer(issue_token(**{**owned, **claims}))}

        assert (await http.post("/mcp", json=ping, headers=other)).status_code == 404
        with anyio.fail_after(60):  # the stream of a session does not end
            assert (await http.get("/mcp", headers=other)).status_code == 404
        assert (await http.delete("/mcp", headers=other)).status_code == 404
        renewed = bearer(issue_token(**owned, jti="the next token"))
        pinged = await http.post("/mcp", json=ping, headers={**headers, **renewed})

    assert (pinged.status_code, pinged.json()["result"]) == (200, {})


async def test_a_hanging_issuer_does_not_delay_valid_tokens(
    issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known keys serve at once beside a hundred tokens with unknown ones, which make one reading together."""
    monkeypatch.setattr(module, "KEY_TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr(module, "FETCH_TIMEOUT_SECONDS", 600.0)
    monkeypatch.setattr(module, "MIN_REFRESH_SECONDS", 0.0)
    statuses: list[int] = []
    async with serve_app(oauth_issuer=ISSUER, oauth_audience=AUDIENCE) as http:
        assert await list_tools_status(http, **bearer(issue_token())) == 200
        issuer.hangs = True
        issuer.requested_paths.clear()

        async def unknown(number: int) -> None:
            statuses.append(await list_tools_status(http, **bearer(issue_token(OTHER_KEY, kid=f"unknown {number}"))))

        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(unknown, number)
            await eventually(lambda: issuer.requested_paths)
            assert await list_tools_status(http, **bearer(issue_token())) == 200

    assert statuses == [503] * 100
    assert issuer.requested_paths == ["/.well-known/oauth-authorization-server"]


async def test_an_unknown_key_is_not_requested_repeatedly(issuer: FakeIssuer) -> None:
    """A good token gets 503 with the time to wait, not 401; and is good once the issuer answers again."""
    issuer.status = 500
    async with serve_app(oauth_issuer=ISSUER, oauth_audience=AUDIENCE) as http:
        for _ in range(20):
            answer = await http.post("/mcp", json={}, headers=bearer(issue_token()))
            assert answer.status_code == 503
            assert answer.json()["error"] == "temporarily_unavailable"
            assert int(answer.headers["retry-after"]) > 0
    assert len(issuer.requested_paths) == 1

    issuer.status = 200
    async with serve_app(oauth_issuer=ISSUER, oauth_audience=AUDIENCE) as http:
        assert await list_tools_status(http, **bearer(issue_token())) == 200


async def test_keys_are_renewed_in_the_background(issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the issuer has withdrawn stops serving; unknown names make few readings."""
    async with serve_app(oauth_issuer=ISSUER, oauth_audience=AUDIENCE) as http:
        assert await list_tools_status(http, **bearer(issue_token())) == 200
        for number in range(50):
            assert await list_tools_status(http, **bearer(issue_token(OTHER_KEY, kid=str(number)))) == 401
        assert issuer.requested_paths.count("/keys") == 1

        issuer.kid = "two"
        monkeypatch.setattr(module, "MIN_REFRESH_SECONDS", 0.0)
        monkeypatch.setattr(module, "MAX_KEY_AGE_SECONDS", 0.0)
        await anyio.lowlevel.checkpoint()
        keys = await eventually(
            lambda: list_tools_status(http, **bearer(issue_token())), until=lambda status: status == 401
        )
        assert keys == 401
        assert await list_tools_status(http, **bearer(issue_token(kid="two"))) == 200


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--host", "0.0.0.0"], "--allow-remote"),
        (["--host", "example.com", "--token", TOKEN], "--allow-remote"),
        (["--host", "0.0.0.0", "--allow-remote", "--no-auth"], "--no-auth is allowed on loopback addresses only"),
        (["--no-auth", "--token", TOKEN], "cannot be used together"),
        (["--token", "short"], "must have at least 16"),
        (["--oauth-issuer", ISSUER], "must be given together"),
    ],
)
def test_unsafe_settings_are_refused(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A client that reaches the endpoint runs commands as this user."""
    status = main(["http", *flags])

    printed = capsys.readouterr()
    assert (status, printed.out) == (2, "")
    assert words in printed.err
    assert TOKEN not in printed.err


@pytest.mark.usefixtures("spawns")
@pytest.mark.parametrize("flags", [[], ["--no-auth"]])
async def test_a_generated_token_is_printed_once(flags: list[str]) -> None:
    """Unless none is wanted, which is said as well."""
    command = (sys.executable, "-m", "opencode_mcp", "http", "--port", "0", *flags)
    async with await anyio.open_process(command) as process:
        assert process.stderr is not None
        told = b""
        with anyio.fail_after(60):
            while told.count(b"\n") < 2:
                told += await process.stderr.receive()
        process.terminate()

    assert b"http://127.0.0.1:0/mcp\n" in told
    assert told.count(b"Authorization: Bearer ") == (0 if flags else 1)
    assert (b"no token is required" in told) == bool(flags)
