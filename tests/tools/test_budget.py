"""What the tools cost a model's context, in bytes of minified JSON."""

from __future__ import annotations

import json

import mcp_types as types
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.tools import ToolRegistry, select_tools


def listed_bytes(tools: list[types.Tool]) -> int:
    """Count what a model receives: name, description and input schema of every tool."""
    seen = [{"name": one.name, "description": one.description, "inputSchema": one.input_schema} for one in tools]
    return sum(len(json.dumps(one, separators=(",", ":"), ensure_ascii=False).encode()) for one in seen)


@pytest.mark.parametrize(("toolset", "count", "most_bytes"), [("all", 203, 72_000), ("essential", 20, 14_000)])
def test_a_preset_stays_within_its_budget(catalog: Catalog, toolset: str, count: int, most_bytes: int) -> None:
    """All operations with tasks and gateway in 72,000 bytes; twenty tools that reach everything in 14,000."""
    selection = select_tools(catalog, [toolset])
    tools = ToolRegistry(catalog, selection, 40_000).listed

    assert len(tools) == count
    assert listed_bytes(tools) <= most_bytes
    assert selection.reachable == set(catalog)


def test_the_full_list_stays_within_its_budget(catalog: Catalog) -> None:
    """The answer to tools/list with titles, annotations and output schemas is at most 120,000 bytes."""
    tools = ToolRegistry(catalog, select_tools(catalog), 40_000).listed
    answer = types.ListToolsResult(tools=tools).model_dump_json(by_alias=True, exclude_none=True)

    assert len(answer.encode()) <= 120_000
