"""The full definition of every tool is a file: a change of what clients see shows as a diff.

Update them with `pytest tests/tools/test_snapshots.py --update-snapshots`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.tools import ToolRegistry, select_tools

FOLDER = Path(__file__).parent / "snapshots"
OPENCODE_2 = Path(__file__).parent / "snapshots_of_opencode_2.json"
TOOLS = {
    tool.name: tool.model_dump(by_alias=True, exclude_none=True)
    for catalog in [Catalog.from_snapshot()]
    for tool in ToolRegistry(catalog, select_tools(catalog), 40_000).listed
}


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_matches_its_snapshot(name: str, pytestconfig: pytest.Config) -> None:
    """Name, title, description, schemas, annotations and _meta are those of the file."""
    file = FOLDER / f"{name}.json"
    if pytestconfig.getoption("--update-snapshots"):
        FOLDER.mkdir(exist_ok=True)
        file.write_text(json.dumps(TOOLS[name], indent=1, ensure_ascii=False) + "\n")

    assert json.loads(file.read_text()) == TOOLS[name]


def test_the_operations_of_opencode_2_match_their_snapshot(pytestconfig: pytest.Config) -> None:
    """The same in one file, as it changes with a release."""
    catalog = Catalog.from_snapshot(2)
    listed = ToolRegistry(catalog, select_tools(catalog), 40_000).listed
    tools = {tool.name: tool.model_dump(by_alias=True, exclude_none=True) for tool in listed if tool.name in catalog}
    if pytestconfig.getoption("--update-snapshots"):
        OPENCODE_2.write_text(json.dumps(tools, indent=1, ensure_ascii=False) + "\n")

    assert json.loads(OPENCODE_2.read_text()) == tools


def test_every_snapshot_has_a_tool() -> None:
    """The file of a tool that no longer exists must be deleted."""
    assert {file.stem for file in FOLDER.glob("*.json")} == TOOLS.keys()
