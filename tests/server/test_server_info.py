"""What the server says of itself when a client connects."""

from __future__ import annotations

import json

import pytest
from mcp import Client

from opencode_mcp import __version__
from opencode_mcp.server.instructions import ALL_LISTED

pytestmark = [pytest.mark.anyio, pytest.mark.unchanged_project]


async def test_the_server_introduces_itself(client: Client) -> None:
    """Its name, title, version and icon, and instructions that clients do not cut, in both protocol eras."""
    info = client.server_info
    assert info is not None

    assert (info.name, info.title, info.version) == ("opencode", "OpenCode", __version__)
    assert info.icons is not None
    assert [icon.mime_type for icon in info.icons] == ["image/svg+xml"]
    assert len(info.icons[0].src) < 300
    assert client.instructions == ALL_LISTED


async def test_tools_have_search_phrases(client: Client) -> None:
    """Claude Code looks for tools that it has not loaded by their names and by this hint."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}

    assert json.loads(json.dumps(tools["vcs_diff"].meta)) == {"anthropic/searchHint": "git diff status"}
    assert tools["run_task"].meta == {"anthropic/alwaysLoad": True}
