"""Which of several servers has a session, asked and remembered; and one list of what all of them list."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import httpx2
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import APIError, TransportError
from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient, ServerPool
from opencode_mcp.opencode import pool as module
from opencode_mcp.opencode.endpoint import ignore_progress
from opencode_mcp.opencode.execute import list_sessions

from .conftest import Wire

pytestmark = pytest.mark.anyio

NAMES = ("one", "two")
AnswerRequest = Callable[[httpx2.Request], httpx2.Response]


@pytest.fixture
def wires() -> dict[str, Wire]:
    """What goes over the wire to each server."""
    return {name: Wire() for name in NAMES}


@pytest.fixture
async def servers(wires: dict[str, Wire], catalog: Catalog) -> AsyncGenerator[ServerPool]:
    """Two servers that are not there; nothing is asked for twice."""
    async with AsyncExitStack() as stack:
        clients: dict[str, OpenCodeClient] = {}
        for name, wire in wires.items():
            server = AttachedServer(Endpoint(httpx2.URL(f"http://{name}.test"), version=SNAPSHOT_VERSION), name)
            client = OpenCodeClient(server, catalog, transport=httpx2.MockTransport(wire.handle))
            clients[name] = (await stack.enter_async_context(client)).with_options(retry_seconds=())
        yield ServerPool(clients)


def answer_missing(request: httpx2.Request) -> httpx2.Response:
    """Know no session."""
    return httpx2.Response(404, json={"name": "NotFoundError", "data": {"message": "Session not found"}})


def refuse_connection(request: httpx2.Request) -> httpx2.Response:
    """Be out of reach."""
    raise httpx2.ConnectError("refused")


def answer_sessions(*times: int, cursor: str = "") -> AnswerRequest:
    """List sessions that were updated then."""
    sessions = [{"id": f"ses_{time}", "time": {"updated": time}} for time in times]
    headers = {"x-next-cursor": cursor} if cursor else {}
    return lambda request: httpx2.Response(200, json=sessions, headers=headers)


async def find_server(servers: ServerPool) -> str:
    """Ask where a session is."""
    async with servers.for_session("ses_1") as found:
        (name,) = found.clients
        return name


async def test_a_session_is_located_once(servers: ServerPool, wires: dict[str, Wire]) -> None:
    """Of every server; where it was found is kept, for every caller."""
    wires["one"].answer = answer_missing

    assert [await find_server(servers), await find_server(servers.with_options(caller="somebody"))] == ["two", "two"]
    assert [len(wire.requests) for wire in wires.values()] == [1, 1]


async def test_a_session_is_located_again_after_a_404(servers: ServerPool, wires: dict[str, Wire]) -> None:
    """A 404 removes the session from the cache."""
    wires["one"].answer = answer_missing
    with pytest.raises(APIError):
        async with servers.for_session("ses_1"):
            raise APIError("session_get", 404, "NotFoundError", "")
    with pytest.raises(APIError):
        async with servers.for_session("ses_1"):
            raise APIError("session_get", 500, "UnknownError", "")
    await find_server(servers)

    assert [len(wire.requests) for wire in wires.values()] == [2, 2]


async def test_a_single_server_is_not_searched(servers: ServerPool, wires: dict[str, Wire]) -> None:
    """There is nothing to find out."""
    assert await find_server(servers.select("two")) == "two"
    assert [wire.requests for wire in wires.values()] == [[], []]


async def test_a_server_out_of_reach_does_not_hide_the_one_that_has_it(
    servers: ServerPool, wires: dict[str, Wire]
) -> None:
    """No caller needs its response."""
    wires["one"].answer = refuse_connection

    assert await find_server(servers) == "two"


async def test_a_silent_server_does_not_block_the_search(servers: ServerPool, catalog: Catalog) -> None:
    """The first that has it is enough."""

    async def asked(opencode: OpenCodeClient) -> str | None:
        if opencode.server.name == "one":
            await anyio.sleep_forever()
        return opencode.server.name

    with anyio.fail_after(30):
        assert (await servers.find_first(asked))[1] == "two"


async def test_a_session_is_not_reported_missing_unless_every_server_answered(
    servers: ServerPool, wires: dict[str, Wire]
) -> None:
    """Who was not asked may have it."""
    wires["one"].answer, wires["two"].answer = answer_missing, refuse_connection
    with pytest.raises(TransportError, match=r"one responded and does not have it; server two failed") as of:
        await find_server(servers)
    assert "OpenCode server two at http://two.test is not reachable" in str(of.value)

    wires["two"].answer = answer_missing
    with pytest.raises(APIError, match="Session not found"):
        await find_server(servers)


async def test_a_search_has_a_time_limit(servers: ServerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent server is reported like an unreachable one."""
    monkeypatch.setattr(module, "SERVER_SECONDS", 0.1)

    async def asked(opencode: OpenCodeClient) -> str | None:
        if opencode.server.name == "one":
            await anyio.sleep_forever()
        return opencode.server.name

    with anyio.fail_after(30):
        answers, failures = await servers.gather(asked)

    assert answers == {"two": "two"}
    assert str(failures["one"]) == "OpenCode server one at http://one.test did not respond within 0.1 s"


async def call_list(
    servers: ServerPool, catalog: Catalog, tool: str, **arguments: Any
) -> tuple[list[str], dict[str, str]]:
    """List sessions; return `id@server` of each, and what came beside them."""
    answer = await list_sessions(servers, servers.default.prepare(catalog[tool], arguments), ignore_progress)
    return [f"{item['id']}@{item['server']}" for item in answer.value], dict(answer.fields)


async def test_lists_are_merged(servers: ServerPool, wires: dict[str, Wire], catalog: Catalog) -> None:
    """By time, as many as one server would list; -1 is as many as there are (1.18.33)."""
    wires["one"].answer, wires["two"].answer = answer_sessions(50, 20), answer_sessions(40, 30, 10)
    whole = ["ses_50@one", "ses_40@two", "ses_30@two", "ses_20@one", "ses_10@two"]

    assert await call_list(servers, catalog, "session_list", limit=3) == (whole[:3], {})
    assert await call_list(servers, catalog, "session_list", limit=-1) == (whole, {})
    assert await call_list(servers, catalog, "session_list") == (whole, {})
    wires["one"].answer = answer_sessions(*range(1000, 900, -1))
    assert len((await call_list(servers, catalog, "session_list"))[0]) == 100


async def test_a_merged_page_has_the_cursor_of_the_next(
    servers: ServerPool, wires: dict[str, Wire], catalog: Catalog
) -> None:
    """Where one server has more, as nothing that comes then may be newer, and where some were too many."""
    wires["one"].answer, wires["two"].answer = answer_sessions(50, 20), answer_sessions(40, cursor="40")
    tool = "experimental_session_list"

    assert (await call_list(servers, catalog, tool, limit=2))[1] == {"next_cursor": "40"}
    assert await call_list(servers, catalog, tool) == (["ses_50@one", "ses_40@two"], {"next_cursor": "40"})
    wires["two"].answer = answer_sessions(40)
    assert (await call_list(servers, catalog, tool, limit=2))[1] == {"next_cursor": "40"}
    assert (await call_list(servers, catalog, tool, limit=3))[1] == {}


async def test_a_merged_list_names_unreachable_servers(
    servers: ServerPool, wires: dict[str, Wire], catalog: Catalog
) -> None:
    """It is an error if no server could be queried."""
    wires["one"].answer, wires["two"].answer = answer_sessions(50), refuse_connection
    sessions, beside = await call_list(servers, catalog, "session_list")
    assert sessions == ["ses_50@one"]
    assert "server two failed: OpenCode server two at http://two.test" in beside["unreachable"]

    wires["one"].answer = refuse_connection
    with pytest.raises(TransportError, match="OpenCode server one"):
        await call_list(servers, catalog, "session_list")
