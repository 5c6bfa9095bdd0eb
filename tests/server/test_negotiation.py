"""Which protocol era a connection speaks: the first request after any server/discover decides."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp.shared.message import SessionMessage

from opencode_mcp.catalog import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.server.mcp_tasks.extension import EXTENSION_ID
from opencode_mcp.settings import Settings
from tests.bridge import run_bridge

from .connections import open_memory_streams

pytestmark = pytest.mark.anyio

INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "0"},
}


def meta(version: str = "2026-07-28") -> dict[str, Any]:
    """What every request of a modern version bears."""
    return {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    }


class RawConnection:
    """A client that sends single messages."""

    def __init__(self, read: Any, write: Any) -> None:
        self._read, self._write = read, write

    async def send(self, method: str, params: Mapping[str, Any], number: int | None = None) -> None:
        """Send a request, or without a number a notification."""
        fields = dict(params)
        message = (
            types.JSONRPCNotification(jsonrpc="2.0", method=method, params=fields)
            if number is None
            else types.JSONRPCRequest(jsonrpc="2.0", id=number, method=method, params=fields)
        )
        await self._write.send(SessionMessage(message))

    async def answer(self) -> tuple[int, dict[str, Any] | int]:
        """Return the id of the next answer, with its result or its error's code."""
        item = await self._read.receive()
        assert isinstance(item, SessionMessage)
        match item.message:
            case types.JSONRPCResponse(id=int(number), result=result):
                return number, result
            case types.JSONRPCError(id=int(number), error=error):
                return number, error.code
            case other:
                raise AssertionError(other)


@pytest.fixture
async def raw(anyio_backend: str, catalog: Catalog, tmp_path: Path) -> AsyncGenerator[RawConnection]:
    """A client of a server in this process, which needs no OpenCode for what is asked here."""
    async with raw_client(create_server(Settings(directory=str(tmp_path)), catalog)) as client:
        yield client


@asynccontextmanager
async def raw_client(server: Any) -> AsyncGenerator[RawConnection]:
    """Connect to a server."""
    with anyio.fail_after(30):
        async with open_memory_streams(server) as (read, write):
            yield RawConnection(read, write)


@pytest.mark.parametrize("discoveries", [0, 1, 3])
async def test_initialize_is_accepted_after_discovery(raw: RawConnection, discoveries: int) -> None:
    """Every message is answered, in order, and the connection is one of the handshake era."""
    async with anyio.create_task_group() as tasks:

        async def send_all() -> None:
            for number in range(discoveries):
                await raw.send("server/discover", meta(), number)
                await raw.send("notifications/cancelled", {"requestId": number})
            await raw.send("initialize", INITIALIZE, 10)
            await raw.send("notifications/initialized", {})
            await raw.send("tools/list", {}, 11)

        tasks.start_soon(send_all)
        for number in range(discoveries):
            found, result = await raw.answer()
            assert found == number
            assert isinstance(result, dict)
            assert result["supportedVersions"] == ["2026-07-28"]
        number, result = await raw.answer()
        assert number == 10
        assert isinstance(result, dict)
        assert result["protocolVersion"] == "2025-11-25"
        number, result = await raw.answer()
        assert number == 11
        assert isinstance(result, dict)
        assert len(result["tools"]) > 100


async def test_a_client_with_tasks_stays_in_their_era_although_it_sends_initialize(raw: RawConnection) -> None:
    """As Claude Code does whose server was slow to start: the era of the handshake has no tasks."""
    params = meta()
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = {"extensions": {EXTENSION_ID: {}}}
    await raw.send("server/discover", params, 1)
    await raw.send("initialize", INITIALIZE, 2)
    number, result = await raw.answer()
    assert isinstance(result, dict)
    assert (number, EXTENSION_ID in result["capabilities"]["extensions"]) == (1, True)
    assert await raw.answer() == (2, types.UNSUPPORTED_PROTOCOL_VERSION)
    await raw.send("tools/list", params, 3)
    number, result = await raw.answer()
    assert (number, isinstance(result, dict)) == (3, True)


async def test_initialize_is_accepted_after_an_unknown_version(raw: RawConnection) -> None:
    """It is refused with the versions that there are, and falls back."""
    await raw.send("server/discover", meta("2031-01-01"), 1)
    assert await raw.answer() == (1, types.UNSUPPORTED_PROTOCOL_VERSION)
    await raw.send("initialize", INITIALIZE, 2)
    number, result = await raw.answer()
    assert (number, isinstance(result, dict)) == (2, True)


async def test_a_modern_client_continues_after_discovery(raw: RawConnection) -> None:
    """And once it has sent a request of its era, `initialize` is refused."""
    await raw.send("server/discover", meta(), 1)
    await raw.answer()
    await raw.send("tools/list", meta(), 2)
    number, result = await raw.answer()
    assert isinstance(result, dict)
    assert (number, result["resultType"]) == (2, "complete")
    await raw.send("server/discover", meta(), 3)
    number, result = await raw.answer()
    assert (number, isinstance(result, dict)) == (3, True)
    await raw.send("initialize", INITIALIZE, 4)
    assert await raw.answer() == (4, types.UNSUPPORTED_PROTOCOL_VERSION)


async def test_discovery_is_refused_after_a_handshake(raw: RawConnection) -> None:
    """And so is every other request of its version; the connection goes on serving those of its own."""
    await raw.send("initialize", {**INITIALIZE, **meta()}, 1)
    number, result = await raw.answer()
    assert (number, isinstance(result, dict)) == (1, True)
    for number, method in enumerate(("server/discover", "tools/list", "no/such"), 2):
        await raw.send(method, meta(), number)
        assert await raw.answer() == (number, types.INVALID_REQUEST)
    await raw.send("tools/list", {"_meta": {"progressToken": 1}}, 5)
    number, result = await raw.answer()
    assert (number, isinstance(result, dict)) == (5, True)


async def test_discovery_and_handshake_in_one_write_over_stdio(environ: Mapping[str, str], tmp_path: Path) -> None:
    """As a client does whose server was slow to start."""
    async with run_bridge(environ, tmp_path) as running:
        await running.start_request("server/discover", meta())
        with anyio.fail_after(60):
            shaken = await running.initialize()
            listed = await running.request("tools/list", {})
    assert shaken["protocolVersion"] == "2025-11-25"
    assert len(listed["result"]["tools"]) > 100
