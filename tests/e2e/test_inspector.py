"""The MCP inspector, which judges how portable a server's tools are, over stdio and over HTTP."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from opencode_mcp import board
from opencode_mcp.catalog import Catalog
from tests.conftest import RecordFigure
from tests.facts import raw_facts

from .npm_programs import Programs
from .server_process import SERVER_COMMAND, run_server

pytestmark = [pytest.mark.clients, pytest.mark.anyio]

TRANSPORTS = ("stdio", "http")
PROTOCOL_ERAS = ("legacy", "modern")
"""The first is the inspector's default."""

SETTING_PREFIXES = ("OPENCODE_MCP_", "OPENCODE_SERVER_")
"""How the variables begin that a server is given which the inspector starts."""


@pytest.fixture(scope="module")
async def url(attached_environ: Mapping[str, str]) -> AsyncGenerator[str]:
    """The address of a server."""
    async with run_server(SERVER_COMMAND, attached_environ) as url:
        yield url


@pytest.fixture(params=TRANSPORTS)
def server(request: pytest.FixtureRequest, url: str, attached_environ: Mapping[str, str]) -> list[str]:
    """The server as the inspector is told of it; over stdio it starts one itself, in an environment of its own."""
    if request.param == "http":
        return [url, "--transport", "http"]
    given = {name: value for name, value in attached_environ.items() if name.startswith(SETTING_PREFIXES)}
    variables = [part for name, value in given.items() for part in ("-e", f"{name}={value}")]
    return [str(Path(sys.executable).with_name("opencode-mcp")), *variables]


async def run_inspector(programs: Programs, *arguments: str) -> Any:
    """Return what the inspector says; it exits with another code than 0 when something is wrong."""
    command = [*programs.command("mcp-inspector"), "--cli", *arguments, "--format", "json"]
    done = await anyio.run_process(command, env=programs.environ, cwd=programs.home, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return json.loads(done.stdout)


@pytest.mark.parametrize("era", PROTOCOL_ERAS)
async def test_the_inspector_finds_nothing_wrong_in_any_tool(
    programs: Programs, server: list[str], era: str, catalog: Catalog, record_figure: RecordFigure
) -> None:
    """It sees all tools, and judges each of their schemas."""
    said = await run_inspector(programs, *server, "--method", "tools/list", "--strict", "--protocol-era", era)
    tools = {tool["name"] for tool in said["result"]["tools"]}
    findings = [(one["toolName"], found["path"]) for one in said.get("schemaFindings", ()) for found in one["findings"]]
    transport = "http" if "--transport" in server else "stdio"
    record_figure(f"inspector, {transport}, {era}: {len(tools)} tools, {len(findings)} errors and warnings")

    assert tools > set(catalog)
    assert findings == []


@pytest.mark.parametrize("era", PROTOCOL_ERAS)
async def test_the_inspector_calls_a_tool(programs: Programs, server: list[str], era: str) -> None:
    """The running OpenCode answers through the bridge."""
    said = await run_inspector(
        programs, *server, "--method", "tools/call", "--tool-name", "global_health", "--protocol-era", era
    )

    assert raw_facts(said["result"])["healthy"] is True
    assert not said["result"].get("isError")


@pytest.mark.parametrize("era", PROTOCOL_ERAS)
async def test_the_inspector_finds_the_board_of_a_tool(programs: Programs, url: str, era: str) -> None:
    """It reads the resource that the tool names, and accepts it as a page of MCP Apps."""
    method = ("--method", "tools/call", "--tool-name", "collect_changes", "--app-info")
    said = await run_inspector(programs, url, "--transport", "http", *method, "--protocol-era", era)

    assert said["appInfo"] == {
        "toolName": "collect_changes",
        "hasApp": True,
        "resourceUri": board.URI,
        "resourceMimeType": "text/html;profile=mcp-app",
        "prefersBorder": True,
    }
