"""Which generation's tools are listed, and what is said about an OpenCode of another one."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from opencode_mcp import OpenCode
from opencode_mcp.catalog import Catalog
from opencode_mcp.catalog.generations import GENERATIONS
from opencode_mcp.connect import connect, expected_generation, find_generation, make_endpoint, name_servers
from opencode_mcp.exceptions import APIError, UnsupportedServer
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient
from opencode_mcp.opencode.expected_generation import MAX_SEEN, note_seen_generation, read_seen_generation
from opencode_mcp.server.lifespan import known_secrets
from opencode_mcp.settings import Settings
from tests.contract_server import ContractServer, serve_contract

from .conftest import Wire
from .process.data_folders import use_opencode_1, write_program

pytestmark = pytest.mark.anyio

URL = "http://127.0.0.1:4096"
HEALTH = {"healthy": True, "version": "1.18.33"}
INFO: Mapping[str, Any] = {"version": "2.1.2", "pid": 7, "urls": [], "paths": {"tmp": "/tmp"}}
PAGE = httpx2.Response(200, headers={"content-type": "text/html"}, text="<!doctype html>")


def load(tmp_path: Path, environ: Mapping[str, str] | None = None, **options: Any) -> Settings:
    """Return settings with a cache folder of the test's own."""
    return Settings.load({"url": URL, **options}, {"XDG_CACHE_HOME": str(tmp_path), **(environ or {})})


def make_client(wire: Wire, generation: int, answers: Mapping[str, httpx2.Response]) -> OpenCodeClient:
    """Return a client of a server with these answers by path, and a web page at every other one."""
    wire.answer = lambda request: answers.get(request.url.path, PAGE)
    server = AttachedServer(Endpoint(httpx2.URL(URL), password="secret"))
    transport = httpx2.MockTransport(wire.handle)
    return OpenCodeClient(server, Catalog.from_snapshot(generation), "/w", transport=transport)


def paths(wire: Wire) -> list[str]:
    """The paths that were requested."""
    return [request.url.path for request in wire.requests]


def test_the_tools_are_those_of_the_generation_that_was_chosen_else_seen_last_else_of_opencode_1(
    tmp_path: Path,
) -> None:
    """By server: what was seen at one address says nothing about another."""
    settings = load(tmp_path)
    assert expected_generation(settings) == 1
    note_seen_generation(tmp_path / "opencode-mcp", URL, 2)

    assert expected_generation(settings) == 2
    assert expected_generation(load(tmp_path, generation="1")) == 1
    assert expected_generation(load(tmp_path, url="http://127.0.0.1:5000")) == 1
    assert expected_generation(load(tmp_path, {"OPENCODE_MCP_GENERATION": "2"}, url="http://127.0.0.1:5000")) == 2
    assert "2" not in (tmp_path / "opencode-mcp" / "generations.json").read_text().replace(f'"{URL}": 2', "")


def test_a_background_service_that_comes_and_goes_does_not_change_the_tools_without_sharing(tmp_path: Path) -> None:
    """With --no-share it is never used, so what it was says nothing about the OpenCode that is started then."""
    shared, own = [Settings.load(options, {"XDG_CACHE_HOME": str(tmp_path)}) for options in ({}, {"no_share": "true"})]
    note_seen_generation(tmp_path / "opencode-mcp", name_servers(shared), 2)

    assert [expected_generation(settings) for settings in (shared, own)] == [2, 1]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"x": "2"}', '{"x": 3}', '{"x": null}'])
def test_a_broken_note_counts_as_none(tmp_path: Path, text: str) -> None:
    """It is written anew."""
    (tmp_path / "generations.json").write_text(text)
    assert read_seen_generation(tmp_path, "x") is None
    note_seen_generation(tmp_path, "x", 2)
    assert read_seen_generation(tmp_path, "x") == 2


def test_the_oldest_notes_are_forgotten(tmp_path: Path) -> None:
    """The file does not grow without end, and what is noted again is new."""
    note_seen_generation(tmp_path, "kept", 2)
    note_seen_generation(tmp_path, "kept", 1)
    for number in range(MAX_SEEN - 1):
        note_seen_generation(tmp_path, f"server {number}", 2)
    note_seen_generation(tmp_path, "kept", 2)
    note_seen_generation(tmp_path, "one more", 2)

    assert len(json.loads((tmp_path / "generations.json").read_text())) == MAX_SEEN
    assert read_seen_generation(tmp_path, "server 0") is None
    assert read_seen_generation(tmp_path, "kept") == 2


async def test_the_next_start_has_the_tools_of_the_opencode_that_was_seen(tmp_path: Path) -> None:
    """The first connection says to reconnect, and sends nothing; the second one works."""
    server = ContractServer(2)
    with serve_contract(server) as url:
        settings = load(tmp_path, url=url)
        for number in (1, 2):
            assert expected_generation(settings) == number
            async with connect(settings, Catalog.from_snapshot(expected_generation(settings))) as servers:
                call = servers.default.call
                if number == 1:
                    with pytest.raises(UnsupportedServer, match=r"restart this MCP server .* the tools of OpenCode 2"):
                        await call("session_get", sessionID="ses_1")
                else:
                    await call("session_get", sessionID="ses_1")

    assert set(server.requests) == {"server.info", "session.get"}
    assert server.faults == []


@pytest.mark.parametrize("generation", ["1", "2"])
async def test_a_chosen_generation_is_never_changed(tmp_path: Path, generation: str) -> None:
    """The error names the flag, and the next start has the same tools."""
    other = 3 - int(generation)
    with serve_contract(ContractServer(other, answers={"global.health": HEALTH})) as url:
        settings = load(tmp_path, url=url, generation=generation)
        async with connect(settings, Catalog.from_snapshot(expected_generation(settings))) as servers:
            with pytest.raises(UnsupportedServer, match=f"set --generation {other} "):
                await servers.default.call("session_get", sessionID="ses_1")

    assert not (tmp_path / "opencode-mcp").exists()


async def test_the_generation_is_found_without_a_client(tmp_path: Path) -> None:
    """For a command at the terminal, whose tools are not listed before: it is noted, and nothing else is sent."""
    server = ContractServer(2)
    with serve_contract(server) as url:
        settings = load(tmp_path, url=url)
        assert await find_generation(load(tmp_path, url=url, generation="1")) == 1
        assert server.requests == []
        assert await find_generation(settings) == 2
    assert server.requests == ["server.info"]
    assert expected_generation(settings) == 2

    assert await find_generation(settings) == 2  # it has ended: what was seen last
    assert await find_generation(load(tmp_path, url="http://127.0.0.1:9")) == 1


async def test_the_generation_of_a_program_is_found_without_starting_it(tmp_path: Path) -> None:
    """A folder with data of OpenCode 1 is left to OpenCode 1."""
    write_program(tmp_path / "bin" / "opencode", tmp_path / "opencode-mcp", "2.1.2")
    environ = {"HOME": str(tmp_path), "PATH": str(tmp_path / "bin")}
    settings = load(tmp_path, environ, url=None)
    assert await find_generation(settings) == 2
    use_opencode_1(tmp_path / ".local" / "share" / "opencode")

    assert await find_generation(settings) == 1
    assert expected_generation(settings) == 1
    assert await find_generation(load(tmp_path, {**environ, "OPENCODE_MCP_DEPTH": "1"}, url=None)) == 1


def test_the_login_of_either_generation_is_redacted() -> None:
    """A request's header has the user name and the password together."""
    environ = {"OPENCODE_SERVER_USERNAME": "me", "OPENCODE_PASSWORD": "kT9v-Xq2w-Lm5z"}
    settings = Settings.load({"url": URL}, environ)
    values = known_secrets(settings).values

    assert {base64.b64encode(f"{user}:kT9v-Xq2w-Lm5z".encode()).decode() for user in ("me", "opencode")} <= {*values}


async def test_of_several_servers_the_first_one_is_noted(tmp_path: Path) -> None:
    """All have one list of tools, so another server of another generation is refused, with the flag."""
    with (
        serve_contract(ContractServer(1, answers={"global.health": HEALTH})) as first,
        serve_contract(ContractServer(2)) as second,
    ):
        settings = load(tmp_path, url=None, server=[f"one={first}", f"two={second}"])
        async with connect(settings, Catalog.from_snapshot(1)) as servers:
            with pytest.raises(UnsupportedServer, match="set --generation 2 "):
                await servers.clients["two"].call("session_get", sessionID="ses_1")
            assert expected_generation(settings) == 1
            await servers.clients["one"].call("session_get", sessionID="ses_1")

    assert expected_generation(settings) == 1


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        pytest.param({"/global/health": httpx2.Response(200, json=HEALTH)}, r"is OpenCode 1\.18\.33", id="1"),
        pytest.param({"/path": httpx2.Response(200, json={"directory": "/w"})}, r"is OpenCode 1\.0,", id="1.0"),
        pytest.param({"/api/info": httpx2.Response(200, json={**INFO, "version": "3.0.0"})}, "is OpenCode 3", id="3"),
    ],
)
async def test_the_tools_of_opencode_2_are_not_sent_to_another_one(
    wire: Wire, answers: Mapping[str, httpx2.Response], words: str
) -> None:
    """Its web page at /api/info is no information."""
    async with make_client(wire, 2, answers) as opencode:
        with pytest.raises(UnsupportedServer, match=f"{words}.* Nothing was sent"):
            await opencode.call("session_active")

    assert {*paths(wire)} <= {"/api/info", "/global/health", "/path"}


async def test_an_expected_opencode_2_is_asked_once(wire: Wire) -> None:
    """For its own path only."""
    answers = {
        "/api/info": httpx2.Response(200, json=INFO),
        "/api/session/active": httpx2.Response(200, json={"data": {}}),
    }
    async with make_client(wire, 2, answers) as opencode:
        for _ in range(2):
            assert await opencode.call("session_active") == {"data": {}}

    assert paths(wire) == ["/api/info", "/api/session/active", "/api/session/active"]


async def test_an_opencode_2_that_wants_another_password_says_which_variable_to_set(wire: Wire) -> None:
    """Its user name is fixed."""
    refusal = httpx2.Response(401, headers={"www-authenticate": 'Basic realm="Secure Area"'})
    answers: Mapping[str, httpx2.Response] = dict.fromkeys(("/api/info", "/api/session/active"), refusal)
    async with make_client(wire, 2, answers) as opencode:
        with pytest.raises(APIError, match="set OPENCODE_PASSWORD to"):
            await opencode.call("session_active")


@pytest.mark.parametrize(
    ("generation", "environ", "credentials"),
    [
        (1, {"OPENCODE_SERVER_PASSWORD": "one", "OPENCODE_SERVER_USERNAME": "me"}, "me:one"),
        (1, {"OPENCODE_SERVER_PASSWORD": "one", "OPENCODE_PASSWORD": "two"}, "opencode:one"),
        (1, {"OPENCODE_PASSWORD": "two"}, None),
        (2, {"OPENCODE_SERVER_PASSWORD": "one", "OPENCODE_SERVER_USERNAME": "me"}, "opencode:one"),
        (2, {"OPENCODE_SERVER_PASSWORD": "one", "OPENCODE_PASSWORD": "two"}, "opencode:two"),
    ],
)
def test_each_generation_gets_the_credentials_that_it_reads(
    generation: int, environ: Mapping[str, str], credentials: str | None
) -> None:
    """OpenCode 2 reads OPENCODE_PASSWORD before the older variable, and no user name."""
    settings = Settings.load({"url": URL}, environ)
    endpoint = make_endpoint(settings, "", GENERATIONS[generation])
    header = None
    if endpoint.auth is not None:
        request = next(endpoint.auth.auth_flow(httpx2.Request("GET", URL)))
        header = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()

    assert header == credentials


def test_a_server_s_own_password_comes_first() -> None:
    """For both generations."""
    environ = {"OPENCODE_SERVER_PASSWORD_TWO": "own", "OPENCODE_SERVER_PASSWORD": "one", "OPENCODE_PASSWORD": "two"}
    settings = Settings.load({"server": [f"one={URL}", f"two={URL}"]}, environ)
    found = [
        [make_endpoint(settings, name, generation).password for name in ("one", "two")]
        for generation in GENERATIONS.values()
    ]

    assert found == [["one", "own"], ["two", "own"]]
    assert settings.secrets == {"own", "one", "two"}


async def test_a_program_has_the_operations_of_the_generation_that_it_names() -> None:
    """OpenCode 1 unless it names another: it is written for one."""
    with serve_contract(ContractServer(2)) as url:
        async with OpenCode(url=url, environ={}, generation=2) as opencode:
            await opencode.session.get(sessionID="ses_1")
        async with OpenCode(url=url, environ={}) as opencode:
            with pytest.raises(UnsupportedServer, match="in Python: generation=2"):
                await opencode.session.get(sessionID="ses_1")
