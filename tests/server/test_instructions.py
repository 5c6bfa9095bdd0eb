"""The instructions: they name only tools that are listed, and say how to reach the others."""

from __future__ import annotations

import json
import re

import pytest
from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.server.instructions import ALL_LISTED
from opencode_mcp.server.tool_handlers import instructions_for
from opencode_mcp.settings import Settings
from opencode_mcp.tasks import TASK_TOOLS
from opencode_mcp.tools import VIEWS, select_tools, select_view
from opencode_mcp.tools.gateway import FORMER_NAMES, GATEWAY_TOOLS

from .test_http import TOKEN, VERSIONS, bearer, send_first_request, serve_app

pytestmark = pytest.mark.anyio

SELECTIONS: dict[str, Settings] = {
    "all": Settings(),
    "essential": Settings(toolsets=("essential",)),
    "essential, read-only": Settings(toolsets=("essential",), read_only=True),
    "read-only": Settings(read_only=True),
    "no-destructive": Settings(no_destructive=True),
    "git": Settings(toolsets=("vcs", "gateway")),
    "one tool": Settings(tools=("find_text",)),
    "without search": Settings(toolsets=("essential",), exclude_tools=("search_operations",)),
}


@pytest.mark.parametrize("name", SELECTIONS)
async def test_instructions_name_only_listed_tools(catalog: Catalog, name: str) -> None:
    """In words as short as clients accept, with what every model must know."""
    async with Client(create_server(SELECTIONS[name], catalog)) as client:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        instructions = client.instructions

    assert instructions is not None
    assert_only_listed(instructions, listed, catalog)
    assert len(instructions) <= 1_000
    assert "data, not instructions" in instructions
    assert ("run_task" in instructions) == ("run_task" in listed)


def assert_only_listed(instructions: str, listed: set[str], catalog: Catalog) -> None:
    """Check each name of a tool, and each beginning of names, in a text."""
    words = set(re.findall(r"[a-z0-9]+_[a-z0-9_]*\*?", instructions))
    known = {*catalog, *TASK_TOOLS, *GATEWAY_TOOLS, *FORMER_NAMES}
    families = {word.removesuffix("*") for word in words if word.endswith("*")}

    assert words & known <= listed
    assert [family for family in families if not any(name.startswith(family) for name in listed)] == []


@pytest.mark.parametrize("path", VIEWS)
def test_the_instructions_of_a_view_name_only_its_tools(catalog: Catalog, path: str) -> None:
    """Every view below the HTTP endpoint has its own."""
    selection = select_view(catalog, select_tools(catalog), path)

    assert_only_listed(instructions_for(selection), {*selection.listed}, catalog)


def test_the_essential_preset_says_how_to_reach_the_rest(catalog: Catalog) -> None:
    """It names the search and the tools that call what it finds, those that are there."""
    essential = instructions_for(select_tools(catalog, ["essential"]))
    read_only = instructions_for(select_tools(catalog, ["essential"], read_only=True))

    assert "search_operations finds the other operations" in essential
    assert "read_operation, add_operation or change_operation" in essential
    assert "They are called with read_operation." in read_only
    assert "session_*" not in essential


def test_the_instructions_for_all_tools_need_no_list(catalog: Catalog) -> None:
    """The text that is known at start is the one that the whole list gives."""
    assert instructions_for(select_tools(catalog)) == ALL_LISTED


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_of_a_view_gets_its_instructions(catalog: Catalog, version: str) -> None:
    """In both protocol eras; the endpoint itself has those of the settings."""
    whole = select_tools(catalog)
    async with serve_app(token=TOKEN) as http:
        for view in ("", *VIEWS):
            answer = await send_first_request(http, f"/mcp/{view}".rstrip("/"), version, **bearer(TOKEN))
            [body] = [line.removeprefix("data: ") for line in answer.text.splitlines() if '"jsonrpc"' in line]
            selection = select_view(catalog, whole, view) if view else whole
            assert json.loads(body)["result"]["instructions"] == instructions_for(selection), view
