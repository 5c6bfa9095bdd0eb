"""An assistant that calls five hundred operations at once; through MCP clients, on a real OpenCode."""

from __future__ import annotations

import time

import anyio
import httpx2
import pytest
from mcp import Client

from opencode_mcp.opencode import Endpoint
from tests.conftest import Connect

pytestmark = pytest.mark.anyio

CALLS = 500
MIXED: tuple[tuple[str, dict[str, str]], ...] = (
    ("session_list", {}),
    ("find_text", {"pattern": "hello"}),
    ("file_read", {"path": "README.md"}),
    ("vcs_status", {}),
    ("session_create", {}),
)


@pytest.fixture(params=["auto"])
def mode(request: pytest.FixtureRequest) -> str:
    """One protocol era: what is tried lies behind both."""
    return request.param


@pytest.mark.slow
async def test_five_hundred_concurrent_calls_are_answered(connect: Connect, client: Client, endpoint: Endpoint) -> None:
    """All are answered, and neither OpenCode nor another client has to wait for them."""
    latencies: list[float] = []
    direct: list[float] = []
    failed: list[object] = []
    began, seconds = time.monotonic(), 0.0

    async def call(number: int) -> None:
        tool, arguments = MIXED[number % len(MIXED)]
        result = await client.call_tool(tool, arguments)
        if result.is_error:
            failed.append(result.content)

    async def look_in(other: Client, http: httpx2.AsyncClient) -> None:
        while True:
            began = time.monotonic()
            assert not (await other.call_tool("global_health", {})).is_error
            latencies.append(time.monotonic() - began)
            began = time.monotonic()
            (await http.get("/global/health", auth=endpoint.auth)).raise_for_status()
            direct.append(time.monotonic() - began)
            await anyio.sleep(0.1)

    async with connect() as other, httpx2.AsyncClient(base_url=endpoint.url, timeout=60) as http:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look_in, other, http)
            async with anyio.create_task_group() as calls:
                for number in range(CALLS):
                    calls.start_soon(call, number)
            seconds = time.monotonic() - began
            tasks.cancel_scope.cancel()

    assert failed == []
    assert len(latencies) >= 3
    assert max(latencies) < max(5.0, seconds / 2)
    assert max(direct) < max(5.0, seconds / 2)
