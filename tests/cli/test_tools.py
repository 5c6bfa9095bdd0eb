"""`opencode-mcp tools`: the list with its cost, and one tool in full."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.tools import ToolRegistry, select_tools
from tests.tools.test_budget import listed_bytes

from .command_process import run_command, run_in_terminal

pytestmark = pytest.mark.anyio


@pytest.fixture
def bare(environ: Mapping[str, str], tmp_path: Path) -> Mapping[str, str]:
    """An environment without any OpenCode: a list needs none."""
    return {**environ, "OPENCODE_MCP_COMMAND": str(tmp_path / "no-opencode")}


async def test_the_list_has_every_tool_with_its_toolset_hints_and_cost(
    bare: Mapping[str, str], catalog: Catalog
) -> None:
    """One line for each tool, and a last one with the sum."""
    done = await run_command(bare, "tools")

    assert (done.returncode, done.stderr) == (0, "")
    head, *lines, last = done.stdout.splitlines()
    listed = ToolRegistry(catalog, select_tools(catalog), 40_000).listed
    assert head.split() == ["tool", "toolset", "hints", "tokens", "bytes"]
    assert [line.split()[0] for line in lines] == [tool.name for tool in listed]
    [find_text] = [line.split() for line in lines if line.startswith("find_text ")]
    assert find_text[1:3] == ["find", "read-only"]
    assert round(int(find_text[-1]) / 4) == int(find_text[-2])
    size = listed_bytes(listed)
    assert last.split() == [str(len(listed)), "tools", str(round(size / 4)), str(size)]


async def test_the_json_list_is_complete(bare: Mapping[str, str], catalog: Catalog) -> None:
    """A program gets the same facts."""
    done = await run_command(bare, "tools", "--json", "--toolsets", "essential")

    listed = json.loads(done.stdout)
    size = listed_bytes(ToolRegistry(catalog, select_tools(catalog, ["essential"]), 40_000).listed)
    assert listed["total"] == {"tools": 21, "tokens": round(size / 4), "bytes": size}
    assert sum(tool["bytes"] for tool in listed["tools"]) == size
    assert listed["tools"][0].keys() == {"name", "title", "toolset", "hints", "tokens", "bytes"}
    assert listed["tools"][0]["hints"].keys() == {"read_only", "destructive", "idempotent", "open_world"}


async def test_the_settings_choose_what_is_listed(bare: Mapping[str, str]) -> None:
    """Read-only tools of two toolsets, without one of them."""
    flags = ("--toolsets", "find,file", "--read-only", "--exclude-tools", "find_symbols")
    done = await run_command(bare, "tools", "--json", *flags)

    tools = json.loads(done.stdout)["tools"]
    assert {tool["toolset"] for tool in tools} == {"find", "file"}
    assert all(tool["hints"]["read_only"] for tool in tools)
    assert "find_symbols" not in {tool["name"] for tool in tools}


async def test_one_tool_is_shown_in_full(bare: Mapping[str, str], catalog: Catalog) -> None:
    """Its description, the schema that a model is given, and the one that checks calls."""
    done = await run_command(bare, "tools", "session_prompt")

    assert done.returncode == 0
    assert catalog["session_prompt"].description in done.stdout
    assert "Schema that a model sees:" in done.stdout
    assert json.dumps(catalog["session_prompt"].input_schema, indent=2, ensure_ascii=False) in done.stdout


async def test_one_tool_as_json_has_both_schemas(bare: Mapping[str, str], catalog: Catalog) -> None:
    """A workflow has its output schema besides."""
    one = json.loads((await run_command(bare, "tools", "session_prompt", "--json")).stdout)
    task = json.loads((await run_command(bare, "tools", "run_task", "--json")).stdout)

    assert one["fullInputSchema"] == catalog["session_prompt"].input_schema
    assert one["inputSchema"]["type"] == "object"
    assert "outputSchema" not in one
    assert task["outputSchema"]["properties"]["state"]
    assert task["toolset"] == "tasks"


async def test_an_unknown_tool_is_wrong_usage_and_the_nearest_are_named(bare: Mapping[str, str]) -> None:
    """A tool that the settings leave out is unknown too."""
    misspelt = await run_command(bare, "tools", "find_txt")
    left_out = await run_command(bare, "tools", "session_prompt", "--read-only")

    assert (misspelt.returncode, misspelt.stdout) == (2, "")
    assert "find_text" in misspelt.stderr
    assert left_out.returncode == 2


async def test_a_terminal_gets_colours(bare: Mapping[str, str]) -> None:
    """The same text with escape sequences in it."""
    with run_in_terminal(bare, "tools", "--toolsets", "essential") as shell:
        assert await shell.wait() == 0

    assert "\x1b[" in shell.raw
    assert "21 tools" in shell.output
