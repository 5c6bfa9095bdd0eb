"""Which of several servers has a session, asked and remembered; and one list of what all of them list."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import httpx2
import pytest

from opencode_mcp.exceptions import APIError, TransportError
from opencode_mcp.openapi import SNAPSHOT_VERSION, Catalog
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient, ServerPool
from opencode_mcp.opencode import servers as module
from opencode_mcp.opencode.execute import list_sessions
from opencode_mcp.opencode.server import ignore_progress

from .conftest import Wire

pytestmark = pytest.mark.anyio

NAMES = ("one", "two")
Answers = Callable[[httpx2.Request], httpx2.Response]


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


def missing(request: httpx2.Request) -> httpx2.Response:
    """Know no session."""
    return httpx2.Response(404, json={"name": "NotFoundError", "data": {"message": "Session not found"}})


def lost(request: httpx2.Request) -> httpx2.Response:
    """Be out of reach."""
    raise httpx2.ConnectError("refused")


def listing(*times: int, cursor: str = "") -> Answers:
    """List sessions that were updated then."""
    sessions = [{"id": f"ses_{time}", "time": {"updated": time}} for time in times]
    headers = {"x-next-cursor": cursor} if cursor else {}
    return lambda request: httpx2.Response(200, json=sessions, headers=headers)


async def home(servers: ServerPool) -> str:
    """Ask where a session is."""
    async with servers.for_session("ses_1") as found:
        (name,) = found.clients
        return name


async def test_a_session_is_asked_for_once(servers: ServerPool, wires: dict[str, Wire]) -> None:
    """Of every server; where it was found is kept, for every caller."""
    wires["one"].answer = missing

    assert [await home(servers), await home(servers.with_options(caller="somebody"))] == ["two", "two"]
    assert [len(wire.requests) for wire in wires.values()] == [1, 1]


async def test_a_session_that_its_server_no_longer_knows_is_asked_for_again(
    servers: ServerPool, wires: dict[str, Wire]
) -> None:
    """A 404 of whatever was wanted of it ends what is remembered."""
    wires["one"].answer = missing
    with pytest.raises(APIError):
        async with servers.for_session("ses_1"):
            raise APIError("session_get", 404, "NotFoundError", "")
    with pytest.raises(APIError):
        async with servers.for_session("ses_1"):
            raise APIError("session_get", 500, "UnknownError", "")
    await home(servers)

    assert [len(wire.requests) for wire in wires.values()] == [2, 2]


async def test_a_single_server_is_not_asked(servers: ServerPool, wires: dict[str, Wire]) -> None:
    """There is nothing to find out."""
    assert await home(servers.select("two")) == "two"
    assert [wire.requests for wire in wires.values()] == [[], []]


async def test_a_server_out_of_reach_does_not_hide_the_one_that_has_it(
    servers: ServerPool, wires: dict[str, Wire]
) -> None:
    """Nobody needs its answer."""
    wires["one"].answer = lost

    assert await home(servers) == "two"


async def test_a_server_that_is_silent_is_not_waited_for(servers: ServerPool, catalog: Catalog) -> None:
    """The first that has it is enough."""

    async def asked(opencode: OpenCodeClient) -> str | None:
        if opencode.server.name == "one":
            await anyio.sleep_forever()
        return opencode.server.name

    with anyio.fail_after(30):
        assert (await servers.find_first(asked))[1] == "two"


async def test_nothing_is_said_to_be_nowhere_that_not_all_were_asked_for(
    servers: ServerPool, wires: dict[str, Wire]
) -> None:
    """Who was not asked may have it."""
    wires["one"].answer, wires["two"].answer = missing, lost
    with pytest.raises(TransportError, match=r"one responded and does not have it; server two failed") as of:
        await home(servers)
    assert "OpenCode server two at http://two.test is not reachable" in str(of.value)

    wires["two"].answer = missing
    with pytest.raises(APIError, match="Session not found"):
        await home(servers)


async def test_no_server_keeps_the_others_waiting_for_ever(
    servers: ServerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is silent is told of like one that is not there."""
    monkeypatch.setattr(module, "ASK_SECONDS", 0.1)

    async def asked(opencode: OpenCodeClient) -> str | None:
        if opencode.server.name == "one":
            await anyio.sleep_forever()
        return opencode.server.name

    with anyio.fail_after(30):
        answers, failures = await servers.gather(asked)

    assert answers == {"two": "two"}
    assert str(failures["one"]) == "OpenCode server one at http://one.test did not respond within 0.1 s"


async def listed(
    servers: ServerPool, catalog: Catalog, tool: str, **arguments: Any
) -> tuple[list[str], dict[str, str]]:
    """List sessions; return `id@server` of each, and what came beside them."""
    answer = await list_sessions(servers, servers.default.prepare(catalog[tool], arguments), ignore_progress)
    return [f"{item['id']}@{item['server']}" for item in answer.value], dict(answer.fields)


async def test_lists_are_made_one(servers: ServerPool, wires: dict[str, Wire], catalog: Catalog) -> None:
    """By time, as many as one server would list; -1 is as many as there are (1.18.33)."""
    wires["one"].answer, wires["two"].answer = listing(50, 20), listing(40, 30, 10)
    whole = ["ses_50@one", "ses_40@two", "ses_30@two", "ses_20@one", "ses_10@two"]

    assert await listed(servers, catalog, "session_list", limit=3) == (whole[:3], {})
    assert await listed(servers, catalog, "session_list", limit=-1) == (whole, {})
    assert await listed(servers, catalog, "session_list") == (whole, {})
    wires["one"].answer = listing(*range(1000, 900, -1))
    assert len((await listed(servers, catalog, "session_list"))[0]) == 100


async def test_a_page_tells_where_the_next_begins(
    servers: ServerPool, wires: dict[str, Wire], catalog: Catalog
) -> None:
    """Where one server has more, as nothing that comes then may be newer, and where some were too many."""
    wires["one"].answer, wires["two"].answer = listing(50, 20), listing(40, cursor="40")
    tool = "experimental_session_list"

    assert (await listed(servers, catalog, tool, limit=2))[1] == {"next_cursor": "40"}
    assert await listed(servers, catalog, tool) == (["ses_50@one", "ses_40@two"], {"next_cursor": "40"})
    wires["two"].answer = listing(40)
    assert (await listed(servers, catalog, tool, limit=2))[1] == {"next_cursor": "40"}
    assert (await listed(servers, catalog, tool, limit=3))[1] == {}


async def test_a_list_tells_who_is_missing(servers: ServerPool, wires: dict[str, Wire], catalog: Catalog) -> None:
    """And is an error when nobody could be asked."""
    wires["one"].answer, wires["two"].answer = listing(50), lost
    sessions, beside = await listed(servers, catalog, "session_list")
    assert sessions == ["ses_50@one"]
    assert "server two failed: OpenCode server two at http://two.test" in beside["unreachable"]

    wires["one"].answer = lost
    with pytest.raises(TransportError, match="OpenCode server one"):
        await listed(servers, catalog, "session_list")
