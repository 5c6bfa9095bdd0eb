"""The server of `opencode-mcp board`: the page for this machine's browser, the endpoint for that page alone."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from opencode_mcp.board import read_page
from opencode_mcp.catalog import Catalog
from opencode_mcp.cli import browser
from opencode_mcp.server import create_server
from opencode_mcp.server.http.board import (
    MAX_TOKEN_BYTES,
    MIN_RESULT_CHARS,
    BoardTokens,
    board_settings,
    create_board_app,
)
from opencode_mcp.settings import Settings
from opencode_mcp.tasks import TASK_TOOLS
from opencode_mcp.tools import VIEWS

pytestmark = pytest.mark.anyio

PORT = 8123
ORIGIN = f"http://127.0.0.1:{PORT}"
OWN = {"origin": ORIGIN}
VERSION = "2026-07-28"


@dataclass
class Board:
    """A board: an HTTP client without any token, and the tokens."""

    http: httpx2.AsyncClient
    tokens: BoardTokens

    async def post_token(self, token: str, headers: Mapping[str, str] = OWN) -> tuple[int, str]:
        """Post what stands behind the # of an address."""
        response = await self.http.post("/session", content=token, headers=headers)
        return response.status_code, response.text

    async def list_tools(self, **headers: str) -> httpx2.Response:
        """Send tools/list, as the page does."""
        meta: dict[str, Any] = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        sent = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": VERSION,
            "mcp-method": "tools/list",
            "authorization": f"Bearer {self.tokens.bearer}",
        }
        request: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
        return await self.http.post("/mcp", json=request, headers={**sent, **headers})


@asynccontextmanager
async def serve_board(settings: Settings | None = None, port: int = PORT) -> AsyncGenerator[Board]:
    """Serve a board with these settings."""
    tokens = BoardTokens()
    settings = board_settings(settings or Settings(), tokens.bearer)
    app = create_board_app(create_server(settings, Catalog.from_snapshot()), settings, port, tokens)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=f"http://127.0.0.1:{port}") as http,
    ):
        yield Board(http, tokens)


@pytest.fixture
async def board() -> AsyncGenerator[Board]:
    """A board with the default settings."""
    async with serve_board() as board:
        yield board


def tool_names(response: httpx2.Response) -> set[str]:
    """The names of the tools that were listed, in an answer or an event."""
    assert response.status_code == 200, response.text
    [line] = [line for line in response.text.splitlines() if "jsonrpc" in line]
    return {tool["name"] for tool in json.loads(line.removeprefix("data: "))["result"]["tools"]}


async def test_an_address_opens_the_board_once(board: Board) -> None:
    """Wrong tokens before it change nothing; a second exchange is refused."""
    token = board.tokens.renew()

    for wrong in ("", token[:-1], f"{token}x", token.lower(), board.tokens.bearer, "é"):
        assert (await board.post_token(wrong))[0] == 403, wrong
    assert await board.post_token(token) == (200, board.tokens.bearer)
    again, text = await board.post_token(token)
    assert again == 403
    assert board.tokens.bearer not in text


async def test_a_board_without_an_address_is_open_to_none(board: Board) -> None:
    """Before the first token is made, an empty one is refused too."""
    assert [(await board.post_token(token))[0] for token in ("", "None")] == [403, 403]


async def test_a_new_address_ends_the_one_before_it(board: Board) -> None:
    """Used or not: what has scrolled away opens nothing."""
    first = board.tokens.renew()
    void = board.tokens.void
    second = board.tokens.renew()

    assert void.is_set()
    assert not board.tokens.void.is_set()
    assert (await board.post_token(first))[0] == 403
    assert (await board.post_token(second))[0] == 200
    assert board.tokens.void.is_set()


async def test_tokens_cannot_be_guessed() -> None:
    """256 random bits each, another one for each board and address."""
    boards = [BoardTokens() for _ in range(4)]
    tokens = {token for board in boards for token in (board.bearer, board.renew(), board.renew())}

    assert len(tokens) == 12
    assert all(len(token) == 43 for token in tokens)


async def test_the_page_holds_no_secret_and_cannot_be_framed(board: Board) -> None:
    """It is the page that clients show, and has its policy."""
    board.tokens.renew()
    response = await board.http.get("/")
    policy = response.headers["content-security-policy"]

    assert response.text == read_page("'self'")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "; connect-src 'self'; " in policy
    assert policy.endswith("; frame-ancestors 'none'")
    assert "unsafe-eval" not in policy
    assert board.tokens.bearer not in response.text
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("POST", "/session", 403),
        ("POST", "/mcp", 401),
        ("GET", "/mcp", 401),
        ("GET", "/nothing", 404),
        ("POST", "/", 405),
        ("PUT", "/session", 405),
    ],
)
async def test_every_response_has_the_headers(board: Board, method: str, path: str, status: int) -> None:
    """No other page reads, embeds, frames, caches or sniffs it, or learns its address."""
    response = await board.http.request(method, path, headers=OWN)

    assert response.status_code == status
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["cross-origin-opener-policy"] == "same-origin"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"
    assert [name for name in response.headers if name.startswith("access-control-")] == []


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("evil.test", PORT),
        (f"evil.test:{PORT}", PORT),
        (f"127.0.0.1.evil.test:{PORT}", PORT),
        (f"127.0.0.1:{PORT}.evil.test", PORT),
        (f"evil.test@127.0.0.1:{PORT}", PORT),
        ("127.0.0.1", PORT),
        (f"127.0.0.1:{PORT + 1}", PORT),
        (f"[::1]:{PORT}", PORT),
        (f"0.0.0.0:{PORT}", PORT),
        ("", PORT),
        ("evil.test", 80),
    ],
)
async def test_another_host_is_refused(host: str, port: int) -> None:
    """A name of an attacker's that resolves to this machine (DNS rebinding) reaches nothing, not even the page."""
    async with serve_board(port=port) as board:
        token = board.tokens.renew()
        same_origin = {"host": host, "origin": f"http://{host}"}
        assert (await board.http.get("/", headers={"host": host})).status_code == 421
        assert (await board.list_tools(host=host)).status_code == 421
        for headers in (same_origin, {**same_origin, "origin": f"http://127.0.0.1:{port}"}):
            assert (await board.post_token(token, headers))[0] == 421
        own = {"origin": "http://127.0.0.1" if port == 80 else ORIGIN}
        assert (await board.post_token(token, own))[0] == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_the_board_has_two_names(board: Board, host: str) -> None:
    """A forwarded port is `localhost` on the other machine."""
    own = {"host": f"{host}:{PORT}", "origin": f"http://{host}:{PORT}"}

    assert (await board.http.get("/", headers=own)).status_code == 200
    assert await board.post_token(board.tokens.renew(), own) == (200, board.tokens.bearer)
    assert tool_names(await board.list_tools(**own)) == {*TASK_TOOLS}


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.test",
        f"http://evil.test:{PORT}",
        f"http://localhost:{PORT}",
        f"http://localhost:{PORT + 1}",
        f"http://127.0.0.1:{PORT + 1}",
        "http://127.0.0.1",
        f"http://[::1]:{PORT}",
        f"https://127.0.0.1:{PORT}",
        f"{ORIGIN}/",
        f"{ORIGIN}.evil.test",
        "null",
        "",
        "file://",
    ],
)
async def test_a_page_of_another_origin_is_refused(board: Board, origin: str) -> None:
    """Also with both tokens, and a page of another port of this machine is as foreign as any other."""
    token = board.tokens.renew()

    assert (await board.post_token(token, {"origin": origin}))[0] == 403
    assert (await board.list_tools(origin=origin)).status_code == 403
    assert (await board.http.get("/", headers={"origin": origin})).status_code == 403
    assert (await board.post_token(token))[0] == 200


async def test_a_session_needs_an_origin(board: Board) -> None:
    """Every browser sends one with POST; two are none."""
    token = board.tokens.renew()
    twice = await board.http.post(
        "/session", content=token, headers=[("origin", ORIGIN), ("origin", "http://evil.test")]
    )

    assert (await board.post_token(token, {}))[0] == 403
    assert twice.status_code == 403
    assert (await board.post_token(token))[0] == 200


async def test_there_is_no_cors(board: Board) -> None:
    """A preflight of another page fails, so its request with a token is never sent."""
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    for path in ("/", "/session", "/mcp"):
        for origin in (ORIGIN, "http://evil.test"):
            response = await board.http.options(path, headers={"origin": origin, **asked})
            assert response.status_code in {401, 403, 405}
            assert not any(name.startswith("access-control-") for name in response.headers)


async def test_the_endpoint_takes_the_bearer_token_alone(board: Board) -> None:
    """Neither the token of the address, nor one in the URL or a cookie."""
    one_time, bearer = board.tokens.renew(), board.tokens.bearer

    assert tool_names(await board.list_tools()) == {*TASK_TOOLS}
    for authorization in (f"Bearer {one_time}", f"Bearer {bearer}x", "Bearer ", "", f"Basic {bearer}"):
        assert (await board.list_tools(authorization=authorization)).status_code == 401
    assert (await board.list_tools(authorization="", cookie=f"token={bearer}")).status_code == 401
    assert (await board.http.post(f"/mcp?token={bearer}", json={})).status_code == 401


async def test_nothing_else_is_served(board: Board) -> None:
    """No view, no probe, no metrics, no metadata, not even for the page."""
    paths = [f"/mcp/{view}" for view in VIEWS] + [
        "/mcp/",
        "/session/",
        "/healthz",
        "/metrics",
        "/index.html",
        "/favicon.ico",
        "/.well-known/oauth-protected-resource/mcp",
    ]
    bearer = {"authorization": f"Bearer {board.tokens.bearer}"}
    for path in paths:
        for method in ("GET", "POST"):
            assert (await board.http.request(method, path, headers=bearer)).status_code == 404, path


@pytest.mark.parametrize(("method", "path"), [("POST", "/"), ("DELETE", "/"), ("GET", "/session"), ("PUT", "/session")])
async def test_another_method_is_refused(board: Board, method: str, path: str) -> None:
    """Above all a GET, which a link can send."""
    response = await board.http.request(method, path, headers=OWN, content=board.tokens.renew())

    assert response.status_code == 405
    assert not board.tokens.void.is_set()


async def test_a_long_body_is_refused(board: Board) -> None:
    """As soon as it is too long, in parts too; the address stays good."""
    token = board.tokens.renew()
    received = 0

    async def send_parts() -> AsyncGenerator[bytes]:
        nonlocal received
        for _ in range(1_000):
            received += 1
            yield b"x" * MAX_TOKEN_BYTES

    response = await board.http.post("/session", content=send_parts(), headers=OWN)
    assert response.status_code == 413
    assert (await board.post_token(token + "x" * MAX_TOKEN_BYTES))[0] == 413
    endless = {"authorization": f"Bearer {board.tokens.bearer}"}
    long = await board.http.post("/mcp", content=b"x" * (4 * 1024 * 1024 + 1), headers=endless)
    assert long.status_code == 413
    assert (await board.post_token(token))[0] == 200


OPENED: Mapping[str, Any] = {
    "no_auth": True,
    "allow_remote": True,
    "allow_host": ("evil.test",),
    "allow_origin": ("http://evil.test",),
    "metrics": True,
}
"""What opens `opencode-mcp http`."""


@pytest.mark.parametrize(
    "settings",
    [
        Settings(**OPENED),
        Settings(oauth_issuer="https://issuer.test", oauth_audience="https://bridge.test/mcp"),
        Settings(token="a token that others know, as it is for the other server"),
    ],
    ids=["open", "oauth", "token"],
)
async def test_settings_of_the_other_server_open_nothing(settings: Settings) -> None:
    """They are for `opencode-mcp http`."""
    async with serve_board(settings) as board:
        assert tool_names(await board.list_tools()) == {*TASK_TOOLS}
        for authorization in ("", f"Bearer {settings.token}"):
            assert (await board.list_tools(authorization=authorization)).status_code == 401
        assert (await board.list_tools(host="evil.test")).status_code == 421
        assert (await board.list_tools(origin="http://evil.test")).status_code == 403
        assert (await board.http.get("/metrics")).status_code == 404


async def test_settings_of_the_other_server_are_not_read() -> None:
    """Neither valid nor invalid ones: the command does not have them."""
    environ = {
        "OPENCODE_MCP_TOKEN": "short",
        "OPENCODE_MCP_NO_AUTH": "true",
        "OPENCODE_MCP_ALLOW_ORIGIN": "http://evil.test",
        "OPENCODE_MCP_OAUTH_ISSUER": "https://issuer.test",
    }
    settings = Settings.load({}, environ, "board")

    assert (settings.token, settings.no_auth, settings.allow_origin, settings.oauth_issuer) == (None, False, (), None)


@pytest.mark.parametrize(
    "chosen", [{"toolsets": ("files",)}, {"tools": ("find_text",)}, {"toolsets": ("all",)}], ids=str
)
async def test_the_page_has_its_tools_whatever_is_listed_elsewhere(chosen: dict[str, Any]) -> None:
    """And no others: it calls no operation."""
    async with serve_board(Settings(**chosen)) as board:
        assert tool_names(await board.list_tools()) == {*TASK_TOOLS}


async def test_what_is_forbidden_stays_so() -> None:
    """Without what changes something, or what was left out."""
    async with serve_board(Settings(read_only=True)) as board:
        reading = tool_names(await board.list_tools())
    async with serve_board(Settings(exclude_tools=("start_task",))) as board:
        chosen = tool_names(await board.list_tools())

    assert {"report_task", "read_transcript", "collect_changes"} <= reading
    assert not {"start_task", "answer_permission", "stop_task"} & reading
    assert chosen == {*TASK_TOOLS} - {"start_task"}


def test_results_are_long_enough_for_a_reader() -> None:
    """A diff of thousands of lines is whole; a higher limit stays."""
    for limit, effective in ((40_000, MIN_RESULT_CHARS), (MIN_RESULT_CHARS + 1, MIN_RESULT_CHARS + 1)):
        assert board_settings(Settings(max_result_chars=limit), "token").max_result_chars == effective


def test_the_file_for_the_browser_is_private() -> None:
    """The address is in no argument of a process, and the file ends with its use."""
    address = f"{ORIGIN}/#token"
    with browser.redirect_file(address) as path:
        modes = [stat.S_IMODE(entry.stat().st_mode) for entry in (path.parent, path)]
        text = path.read_text(encoding="utf-8")

    assert modes == [0o700, 0o600]
    assert f'content="0; url={address}"' in text
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"BROWSER": "firefox"}, "linux", True),
        ({"DISPLAY": ""}, "linux", False),
        ({}, "darwin", True),
        ({}, "win32", True),
    ],
)
def test_a_browser_is_opened_where_there_is_a_screen(environ: dict[str, str], platform: str, expected: bool) -> None:
    """A browser for terminals would take the terminal of the board."""
    assert browser.has_browser(environ, platform) is expected
