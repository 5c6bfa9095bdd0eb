"""The tools as other clients' own converters make them: each one is taken, and stays what it is.

A converter's result is compared with what the server lists: every argument, which of them are required, their types
and values. If the client checks a call before it sends it, valid calls of each tool must get through unchanged.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.tools import select_tools
from tests import pypi
from tests.conftest import RecordFigure

from .server_process import ROOT, SERVER_COMMAND, run_server

pytestmark = [pytest.mark.clients, pytest.mark.anyio]

PROGRAMS = ("sdk1", "sdk2")
PATHS = {"all": "", "essential": "/essential"}
"""Where a server lists each preset, below its address."""


@pytest.fixture(scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[str]:
    """The address of a server. It lists its tools without an OpenCode."""
    folder = str(tmp_path_factory.mktemp("home"))
    environ = {
        "HOME": folder,
        "OPENCODE_MCP_URL": "http://127.0.0.1:9",
        "OPENCODE_MCP_DIRECTORY": folder,
        "OPENCODE_MCP_NO_AUTH": "1",
    }
    async with run_server(SERVER_COMMAND, environ) as url:
        yield url


@pytest.mark.parametrize("program", PROGRAMS)
async def test_every_client_converts_every_tool(
    url: str, program: str, tmp_path: Path, catalog: Catalog, record_figure: RecordFigure
) -> None:
    """Nothing is refused, lost or changed in any client, with all tools and with the preset."""
    folder = Path(__file__).parent / "converters"
    python = pypi.install_environment("converters", folder / f"{program}.txt")
    command = [str(python), "-m", f"tests.e2e.converters.{program}", *(url + path for path in PATHS.values())]
    done = await anyio.run_process(command, env={"HOME": str(tmp_path)}, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr.decode()

    found = json.loads(done.stdout)
    for client, failures in found["failures"].items():
        record_figure(f"converters, {client}: {sum(found['tools'])} tools, {len(failures)} failures")

    assert found["tools"] == [len(select_tools(catalog, [preset]).listed) for preset in PATHS]
    assert {client: failures for client, failures in found["failures"].items() if failures} == {}
