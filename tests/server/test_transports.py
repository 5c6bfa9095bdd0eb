"""The same server over memory, stdio and HTTP, in every version of the protocol that clients speak."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import ClientSession, MCPError

from examples.scripted_model import Request, ScriptedModel
from opencode_mcp import __version__
from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient
from tests.bridge import run_bridge
from tests.conftest import make_project
from tests.eventually import eventually
from tests.facts import facts

from .connections import (
    HANDSHAKE_VERSIONS,
    MODERN_VERSION,
    TRANSPORTS,
    connect_over,
    negotiate,
    open_authorized_streams,
    run_http_bridge,
)

pytestmark = pytest.mark.anyio

VERSIONS = (*HANDSHAKE_VERSIONS, MODERN_VERSION)


@pytest.fixture(scope="module")
def shared_project(module_environ: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project for all bridges of this module."""
    return make_project(tmp_path_factory.mktemp("transports") / "project", module_environ)


@pytest.fixture(scope="module")
def attached_environ(
    module_environ: Mapping[str, str], module_endpoint: Endpoint, shared_project: Path
) -> Mapping[str, str]:
    """The environment of a bridge that is attached to the running OpenCode."""
    return {
        **module_environ,
        "OPENCODE_MCP_URL": str(module_endpoint.url),
        "OPENCODE_SERVER_PASSWORD": module_endpoint.password or "",
        "OPENCODE_MCP_DIRECTORY": str(shared_project),
    }


@pytest.fixture
def bare_environ(environ: Mapping[str, str], tmp_path: Path) -> Mapping[str, str]:
    """The environment of a machine that has no OpenCode and nothing to fetch it with."""
    kept = {name: value for name, value in environ.items() if not name.startswith("OPENCODE")}
    return {**kept, "PATH": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_connects_lists_calls_and_gets_errors(
    transport: str, version: str, attached_environ: Mapping[str, str], catalog: Catalog
) -> None:
    """What a client does first works over every transport in every version."""
    async with connect_over(transport, version, attached_environ) as session:
        assert session.protocol_version == version
        assert session.server_info is not None
        assert (session.server_info.name, session.server_info.version) == ("opencode", __version__)

        tools = (await session.list_tools()).tools
        assert {tool.name for tool in tools} >= set(catalog)
        assert [tool.name for tool in tools if not tool.description or not tool.title or not tool.annotations] == []

        healthy = await session.call_tool("global_health")
        assert not healthy.is_error
        assert facts(healthy) == {"healthy": True, "version": "1.18.33"}

        with pytest.raises(MCPError, match="Unknown tool: no_such_tool") as caught:
            await session.call_tool("no_such_tool")
        assert caught.value.error.code == types.INVALID_PARAMS

        invalid = await session.call_tool("session_get", {"sessionID": "abc"})
        assert invalid.is_error
        assert 'which starts with ses; got "abc"' in result_text(invalid)


@pytest.mark.parametrize("version", [HANDSHAKE_VERSIONS[-1], MODERN_VERSION])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_tools_are_listed_without_opencode(
    transport: str, version: str, bare_environ: Mapping[str, str], catalog: Catalog
) -> None:
    """A client that connects is answered before OpenCode is found; only a call needs it."""
    with anyio.fail_after(60):
        async with connect_over(transport, version, bare_environ) as session:
            assert {tool.name for tool in (await session.list_tools()).tools} >= set(catalog)
            shown = await session.call_tool("global_health")

    assert shown.is_error
    assert "OpenCode is not installed" in result_text(shown)


async def test_stdout_has_only_protocol_messages(environ: Mapping[str, str], shared_project: Path) -> None:
    """Neither logs of every level nor what OpenCode prints get between the messages."""
    noisy = "sh -c 'echo on stdout; echo on stderr >&2'"
    async with run_bridge(environ, shared_project, "--log-level", "debug", "--command", noisy) as running:
        await running.initialize()
        await running.request("tools/list", {})
        shown = await running.call("global_health")
        assert running.process.stdin is not None
        await running.process.stdin.aclose()
        await running.process.wait()

    assert "on stdout" in shown["content"][0]["text"]
    messages = [json.loads(line) for line in running.lines]
    assert {message["jsonrpc"] for message in messages} == {"2.0"}
    assert [message["id"] for message in messages if "id" in message] == [1, 2, 3]


@pytest.mark.parametrize("version", [HANDSHAKE_VERSIONS[-1], MODERN_VERSION])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_long_call_reports_progress_and_stops_the_session_when_cancelled(
    transport: str,
    version: str,
    attached_environ: Mapping[str, str],
    module_endpoint: Endpoint,
    catalog: Catalog,
    shared_project: Path,
    model: ScriptedModel,
) -> None:
    """A client sees what the model does, and one that cancels does not leave it working, and costing, unseen."""
    told = anyio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        if re.fullmatch(r".+ \[\d+ tokens, \$\d\.\d\d\]", message or ""):
            told.set()

    async with (
        OpenCodeClient(AttachedServer(module_endpoint), catalog, str(shared_project)) as opencode,
        connect_over(transport, version, attached_environ) as session,
    ):
        created = await opencode.call("session_create")
        before = len(model.requests)
        asked: list[Request] = []
        arguments: dict[str, Any] = {
            "sessionID": created["id"],
            "parts": [{"type": "text", "text": "script:slow 120 1"}],
        }
        async with anyio.create_task_group() as tasks:

            async def prompt() -> None:
                await session.call_tool("session_prompt", arguments, progress_callback=hear)

            tasks.start_soon(prompt)
            with anyio.fail_after(60):  # at least every 10 s, once OpenCode has begun, which takes its time
                await told.wait()
            asked += await eventually(lambda: [each for each in model.requests[before:] if each.script == "slow"])
            assert created["id"] in await opencode.call("session_status")
            tasks.cancel_scope.cancel()

        await eventually(lambda: opencode.call("session_status"), until=lambda busy: created["id"] not in busy)
        with anyio.fail_after(60):
            await asked[0].disconnected.wait()


@pytest.fixture(scope="module")
async def url(anyio_backend: str, attached_environ: Mapping[str, str]) -> AsyncGenerator[str]:
    """The endpoint of a bridge that serves HTTP."""
    async with run_http_bridge(attached_environ) as url:
        yield url


async def test_one_http_server_serves_clients_of_every_version_at_once(url: str) -> None:
    """Which version is spoken is decided by each request, not by the server's start."""
    async with anyio.create_task_group() as tasks:

        async def connect(version: str) -> None:
            async with open_authorized_streams(url) as (read, write), ClientSession(read, write) as session:
                await negotiate(session, version)
                assert not (await session.call_tool("global_health")).is_error
                assert session.protocol_version == version

        for version in VERSIONS * 2:
            tasks.start_soon(connect, version)


def result_text(shown: types.CallToolResult) -> str:
    """Return the text of a result."""
    [content] = shown.content
    assert isinstance(content, types.TextContent)
    return content.text
